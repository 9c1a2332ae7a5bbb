/// The smallest and the largest of some values, and whether a NaN is among them.
struct ValueRange {
  /// +∞ when there is no number.
  var min = Float.infinity
  /// −∞ when there is no number.
  var max = -Float.infinity
  /// NaNs take no part in `min` and `max`.
  var hasNaN = false

  var hasInfinity: Bool { min == -.infinity || max == .infinity }

  init() {}

  /// One pass over contiguous values in any order. Comparisons are lane-wise "replace where less": unlike
  /// `pointwiseMin` that is one instruction, and a NaN never replaces anything.
  init(_ values: UnsafeBufferPointer<Float>) {
    guard let base = values.baseAddress else { return }
    let raw = UnsafeRawPointer(base)
    let count = values.count
    var low0 = SIMD8<Float>(repeating: .infinity)
    var low1 = low0
    var high0 = -low0
    var high1 = high0
    var unordered = SIMDMask<SIMD8<Int32>>(repeating: false)
    var i = 0
    while i &+ 16 <= count {
      let v0 = raw.loadUnaligned(fromByteOffset: i &* 4, as: SIMD8<Float>.self)
      let v1 = raw.loadUnaligned(fromByteOffset: i &* 4 &+ 32, as: SIMD8<Float>.self)
      low0.replace(with: v0, where: v0 .< low0)
      low1.replace(with: v1, where: v1 .< low1)
      high0.replace(with: v0, where: v0 .> high0)
      high1.replace(with: v1, where: v1 .> high1)
      let isNaN = (v0 .!= v0) .| (v1 .!= v1)
      unordered .|= isNaN
      i &+= 16
    }
    for lane in 0..<8 {
      merge(low0[lane], high0[lane])
      merge(low1[lane], high1[lane])
      hasNaN = hasNaN || unordered[lane]
    }
    while i < count {
      merge(base[i], base[i])
      hasNaN = hasNaN || base[i].isNaN
      i &+= 1
    }
  }

  mutating func formUnion(_ other: ValueRange) {
    merge(other.min, other.max)
    hasNaN = hasNaN || other.hasNaN
  }

  private mutating func merge(_ low: Float, _ high: Float) {
    if low < min { min = low }
    if high > max { max = high }
  }
}
