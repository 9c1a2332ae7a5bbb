/// `torch.histc` over [`min`, `max`] with `Histogram.binCount` bins: value `v` goes to bin
/// `trunc((v − min) · bins / (max − min))` in float32, `max` itself to the last bin.
///
/// A constant (`min == max`) goes to the middle bin. Where `(v − min) · bins` overflows float32 the bin is 0, and
/// where even `max − min` does nothing is counted, as in PyTorch; such ranges end in `nonFiniteRange` or are coarse.
/// - Precondition: all values are finite and lie in [`min`, `max`].
func binCounts(of values: UnsafeBufferPointer<Float>, min: Float, max: Float) -> [Float] {
  let bins = Histogram.binCount
  let width = max - min
  if min == max {
    var counts = [Float](repeating: 0, count: bins)
    counts[bins / 2] = Float(values.count)
    return counts
  }
  guard width.isFinite else { return [Float](repeating: 0, count: bins) }
  return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: tableCount * bins) { tables in
    tables.initialize(repeating: 0)
    let done = (width * Float(bins)).isFinite ? countVectors(of: values, into: tables, min: min, width: width) : 0
    for value in values[done...] {
      let position = (value - min) * Float(bins) / width
      tables[position.isFinite ? Swift.min(Int(position), bins - 1) : 0] &+= 1
    }
    return (0..<bins).map { bin in
      var count: UInt32 = 0
      for table in 0..<tableCount { count &+= tables[table &* bins &+ bin] }
      return Float(count)
    }
  }
}

/// Tables that neighbouring values are counted in by turns. Activations after a ReLU put half of the values into one
/// bin; with a single table each increment would wait for the store of the one before.
private let tableCount = 4

/// Counts all values but the last `count % 8`; returns how many were counted. `tables` is [tableCount, bins].
private func countVectors(
  of values: UnsafeBufferPointer<Float>, into tables: UnsafeMutableBufferPointer<UInt32>, min: Float, width: Float
) -> Int {
  guard let source = UnsafeRawPointer(values.baseAddress), let table0 = tables.baseAddress else { return 0 }
  let bins = Histogram.binCount
  let (table1, table2, table3) = (table0 + bins, table0 + 2 * bins, table0 + 3 * bins)
  // Adding 2²³ leaves the nearest integer in the low mantissa bits; one less is taken where that was rounding up.
  let magic = SIMD8<Float>(repeating: 8_388_608)
  let magicBits = SIMD8<Int32>(repeating: Int32(bitPattern: Float(8_388_608).bitPattern))
  let low = SIMD8<Float>(repeating: min)
  let factor = SIMD8<Float>(repeating: Float(bins))
  let divisor = SIMD8<Float>(repeating: width)
  let ceiling = SIMD8<Float>(repeating: Float(bins) - 0.5)
  let count = values.count & ~7
  var i = 0
  while i < count {
    var position = (source.loadUnaligned(fromByteOffset: i &* 4, as: SIMD8<Float>.self) - low) * factor / divisor
    position.replace(with: ceiling, where: position .> ceiling)
    let shifted = position + magic
    var index = unsafeBitCast(shifted, to: SIMD8<Int32>.self) &- magicBits
    index.replace(with: index &- SIMD8(repeating: 1), where: (shifted - magic) .> position)
    table0[Int(index[0])] &+= 1
    table1[Int(index[1])] &+= 1
    table2[Int(index[2])] &+= 1
    table3[Int(index[3])] &+= 1
    table0[Int(index[4])] &+= 1
    table1[Int(index[5])] &+= 1
    table2[Int(index[6])] &+= 1
    table3[Int(index[7])] &+= 1
    i &+= 8
  }
  return count
}
