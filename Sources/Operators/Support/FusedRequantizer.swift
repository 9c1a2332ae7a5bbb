import TensorCore

/// Brings a real multiple of the output scale to an int8 quantum: clamp in float, round half to even, add the zero
/// point.
///
/// Clamping to integer bounds before rounding gives what rounding first would, and keeps the value in the range where
/// adding 1.5·2²³ leaves the rounded integer in the low bits of the sum.
struct Requantizer: Sendable {
  /// The output's bounds less its zero point, in −255…255.
  let lower: Float
  let upper: Float
  let zeroPoint: Int32

  /// - Precondition: the bounds are in −128…127.
  @inline(__always)
  init(_ parameters: Int8Parameters, lower: Int32 = -128, upper: Int32 = 127) {
    self.lower = Float(lower &- parameters.zeroPoint)
    self.upper = Float(upper &- parameters.zeroPoint)
    self.zeroPoint = parameters.zeroPoint
  }

  private static let magic: Float = 12_582_912
  private static let magicBits: Int32 = 0x4B40_0000

  /// - Precondition: `value` is not NaN.
  @inline(__always)
  func round(_ value: Float) -> Int8 {
    let bounded = value < lower ? lower : value
    let clamped = bounded > upper ? upper : bounded
    let bits = Int32(bitPattern: (clamped + Requantizer.magic).bitPattern)
    return Int8(truncatingIfNeeded: bits &- Requantizer.magicBits &+ zeroPoint)
  }

  @inline(__always)
  func round(_ low: SIMD4<Float>, _ high: SIMD4<Float>) -> SIMD8<Int8> {
    let values = SIMD8(lowHalf: clamped(low, lower, upper), highHalf: clamped(high, lower, upper)) + Requantizer.magic
    let bits = unsafeBitCast(values, to: SIMD8<Int32>.self)
    return SIMD8<Int8>(truncatingIfNeeded: bits &- Requantizer.magicBits &+ zeroPoint)
  }

  /// `sum · scale`, multiplied as Float, in the output's quanta.
  @inline(__always)
  func requantize(_ sum: Int32, scale: Float) -> Int8 { round(Float(sum) * scale) }
}
