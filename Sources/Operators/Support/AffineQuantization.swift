import TensorCore

/// Float to integer quanta: clamp(RNE(x · inverse) + zeroPoint, quantMin, quantMax), in float as PyTorch computes it.
/// NaN becomes the zero point, infinities saturate.
///
/// Clamping before rounding gives the same, the bounds being integers, and keeps the value in the range where adding
/// 1.5 · 2²³ leaves the rounded integer in the low bits of the sum.
struct AffineQuantizer: Sendable {
  let quantMin: Int32
  let quantMax: Int32

  /// Writes `count` quanta of an 8-bit type.
  @inline(__always)
  func quantize<Quantum: FixedWidthInteger>(
    _ input: UnsafePointer<Float>, count: Int, inverse: Float, zeroPoint: Int32,
    to output: UnsafeMutablePointer<Quantum>
  ) {
    let (lower, upper) = (Float(quantMin &- zeroPoint), Float(quantMax &- zeroPoint))
    let magic: Float = 12_582_912
    let offset = zeroPoint &- Int32(bitPattern: magic.bitPattern)
    for i in 0..<count {
      let scaled = input[i] * inverse
      let number = scaled == scaled ? scaled : 0
      let bounded = clamped(number, lower, upper)
      let bits = Int32(bitPattern: (bounded + magic).bitPattern)
      output[i] = Quantum(truncatingIfNeeded: bits &+ offset)
    }
  }

  /// One quantum, from the scaled value in double precision.
  @inline(__always)
  func quantize<Quantum: FixedWidthInteger>(_ scaled: Double, zeroPoint: Double) -> Quantum {
    let quantum = (scaled == scaled ? scaled : 0).rounded(.toNearestOrEven) + zeroPoint
    return Quantum(truncatingIfNeeded: Int32(max(Double(quantMin), min(Double(quantMax), quantum))))
  }
}

/// Integer quanta to floats: (q − zeroPoint) · scale, both in float.
@inline(__always)
func dequantize<Quantum: FixedWidthInteger>(
  _ input: UnsafePointer<Quantum>, count: Int, scale: Float, zeroPoint: Float, to output: UnsafeMutablePointer<Float>
) {
  for i in 0..<count { output[i] = (Float(Int32(truncatingIfNeeded: input[i])) - zeroPoint) * scale }
}

extension OperatorCall {
  /// `quant_min`, `quant_max` and `dtype` of a quantize or dequantize operator, `dtype` being one of `types`.
  func quantizedType(_ types: Set<DataType>) throws(OperatorError) -> (dataType: DataType, bounds: ClosedRange<Int>) {
    let dataType = try dataType("dtype")
    guard types.contains(dataType), let range = dataType.quantumRange else {
      throw error("'dtype' is torch.\(dataType), which is not supported here")
    }
    let (low, high) = (try int("quant_min"), try int("quant_max"))
    try check(
      low <= high && range.contains(low) && range.contains(high),
      "quant_min \(low) and quant_max \(high) are not bounds of \(dataType)")
    return (dataType, low...high)
  }

  /// `scale` and `zero_point` of a per-tensor operator, usable in float arithmetic.
  func affineParameters(_ dataType: DataType) throws(OperatorError) -> (scale: Double, zeroPoint: Int) {
    let (scale, zeroPoint) = (try float("scale"), try int("zero_point"))
    try check(
      Float(scale) > 0 && Float(scale).isFinite && Float(1 / scale).isFinite,
      "'scale' and its inverse must be finite and greater than 0, not \(scale)")
    guard let range = dataType.quantumRange, range.contains(zeroPoint) else {
      throw error("'zero_point' \(zeroPoint) is not in the range of \(dataType)")
    }
    return (scale, zeroPoint)
  }
}

extension DataType {
  /// The values of an integer type that can hold quanta; nil for the others.
  fileprivate var quantumRange: ClosedRange<Int>? {
    switch self {
    case .uint8: 0...255
    case .int8: -128...127
    case .int16: -32_768...32_767
    case .int32: Int(Int32.min)...Int(Int32.max)
    case .int64, .float16, .bfloat16, .float32, .float64, .bool: nil
    }
  }
}
