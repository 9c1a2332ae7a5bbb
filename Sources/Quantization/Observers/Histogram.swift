/// Counts of values in 2048 equal bins over [`min`, `max`], in float32 as torchao's `HistogramObserver` keeps them.
///
/// Bit-equal to `torch.histc` and to torchao's rebinning on x86-64: bin indices, weights and sums use the same types
/// and the same order of operations. (One call that puts more than 2²⁴ values into one bin is counted right here,
/// while float32 counters stop growing there.)
struct Histogram {
  static let binCount = 2048
  /// Parts that a bin is split into when its mass moves to the bins of a wider range.
  static let upsampleRate = 16

  private(set) var counts: [Float]
  private(set) var min: Float
  private(set) var max: Float

  /// The histogram of finite values over their own range.
  init(_ values: UnsafeBufferPointer<Float>, min: Float, max: Float) {
    self.counts = binCounts(of: values, min: min, max: max)
    self.min = min
    self.max = max
  }

  /// Counts as they were before.
  /// - Precondition: 2048 of them, and `min ≤ max`, both finite.
  init(counts: [Float], min: Float, max: Float) {
    (self.counts, self.min, self.max) = (counts, min, max)
  }

  /// The sum of two histograms over the union of their ranges.
  func merged(with other: Histogram) -> Histogram {
    let (low, high) = (Swift.min(min, other.min), Swift.max(max, other.max))
    var (a, b) = (widened(low, high), other.widened(low, high))
    if !(high - low).isFinite { (a, b) = (counts, other.counts) }
    return Histogram(counts: zip(a, b).map(+), min: low, max: high)
  }

  private func widened(_ newMin: Float, _ newMax: Float) -> [Float] {
    if newMin == min && newMax == max { return counts }
    return min == max ? massOfConstant(newMin: newMin, newMax: newMax) : rebinned(newMin: newMin, newMax: newMax)
  }

  /// Adds finite values that lie in [`low`, `high`], widening the range to include them.
  mutating func add(_ values: UnsafeBufferPointer<Float>, low: Float, high: Float) {
    let newMin = Swift.min(min, low)
    let newMax = Swift.max(max, high)
    let update = binCounts(of: values, min: newMin, max: newMax)
    counts = widened(newMin, newMax)
    (min, max) = (newMin, newMax)
    for bin in 0..<Histogram.binCount { counts[bin] += update[bin] }
  }

  /// All counts in the one bin of a wider range that holds the constant `min`.
  private func massOfConstant(newMin: Float, newMax: Float) -> [Float] {
    let total = cascadeSum(counts)
    return withUnsafePointer(to: min) { constant in
      binCounts(of: UnsafeBufferPointer(start: constant, count: 1), min: newMin, max: newMax)
    }.map { $0 * total }
  }

  /// The counts moved to the bins of a wider range: each bin is cut into 16 parts, and each part goes whole into the
  /// bin that holds its middle.
  private func rebinned(newMin: Float, newMax: Float) -> [Float] {
    let bins = Histogram.binCount
    let rate = Histogram.upsampleRate
    let halfPart = 0.5 * ((max - min) / Float(bins * rate))
    let parts = LinearSpace(from: min, to: max, count: bins * rate + 1)
    let edges = LinearSpace(from: newMin, to: newMax, count: bins + 1)
    let boundaries = (0...bins).map { edges[$0] }
    var result = [Float](repeating: 0, count: bins)
    var bucket = -1
    boundaries.withUnsafeBufferPointer { boundaries in
      for bin in 0..<bins where counts[bin] != 0 {
        let weight = counts[bin] / Float(rate)
        for part in (bin &* rate)..<((bin &+ 1) &* rate) {
          let middle = parts[part] + halfPart
          while bucket < bins && boundaries[bucket &+ 1] <= middle { bucket &+= 1 }
          while bucket >= 0 && boundaries[bucket] > middle { bucket &-= 1 }
          result[Swift.min(Swift.max(bucket, 0), bins &- 1)] += weight
        }
      }
    }
    return result
  }
}

/// `torch.linspace` for float32: counted from both ends, each product and sum rounded once (fused multiply-add on
/// AVX2). The double product is exact, so rounding its sum to float gives the fused result but for ties that double
/// rounding creates (1 in about 2²⁹).
private struct LinearSpace {
  let start: Float
  let end: Float
  let step: Float
  let last: Int

  init(from start: Float, to end: Float, count: Int) {
    self.start = start
    self.end = end
    self.last = count - 1
    self.step = (end - start) / Float(count - 1)
  }

  subscript(index: Int) -> Float {
    index < (last &+ 1) / 2
      ? Float(Double(start) + Double(step) * Double(index))
      : Float(Double(end) - Double(step) * Double(last &- index))
  }
}

/// `torch.sum` of 2048 floats, to the bit: its cascade of 8-lane partial sums (AVX2 kernel) fixes the order.
///
/// - Precondition: `values.count` is a multiple of 512, at most 8192.
func cascadeSum(_ values: [Float]) -> Float {
  values.withUnsafeBytes { raw in
    typealias Lanes = SIMD8<Float>
    var upper = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
    for chunk in stride(from: 0, to: raw.count, by: 16 * 128) {
      var lower = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
      for offset in stride(from: chunk, to: chunk + 16 * 128, by: 128) {
        lower.0 += raw.loadUnaligned(fromByteOffset: offset, as: Lanes.self)
        lower.1 += raw.loadUnaligned(fromByteOffset: offset + 32, as: Lanes.self)
        lower.2 += raw.loadUnaligned(fromByteOffset: offset + 64, as: Lanes.self)
        lower.3 += raw.loadUnaligned(fromByteOffset: offset + 96, as: Lanes.self)
      }
      upper.0 += lower.0
      upper.1 += lower.1
      upper.2 += lower.2
      upper.3 += lower.3
    }
    let lanes = upper.0 + upper.1 + upper.2 + upper.3
    var total: Float = 0
    for lane in 0..<8 { total += lanes[lane] }
    return total
  }
}
