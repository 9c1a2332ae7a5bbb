import TensorCore

extension OperatorCall {
  /// The two operands of an elementwise operator: equal in type, shape and layout, each with its own parameters.
  func elementwiseOperands() throws(OperatorError) -> (TensorSpec, TensorSpec) {
    let (a, b) = (try activation("self"), try activation("other"))
    try check(
      a.dataType == b.dataType && a.shape == b.shape && a.dimOrder == b.dimOrder,
      "'self' \(a) and 'other' \(b) must agree in type, shape and layout")
    _ = try outputBounds(a.dataType)
    return (a, b)
  }

  /// The output of an elementwise operator whose int8 parameters are its own.
  func elementwiseOutputs() throws(OperatorError) -> [TensorSpec] {
    let (a, _) = try elementwiseOperands()
    return [TensorSpec(a.dataType, a.shape, dimOrder: a.dimOrder)]
  }
}

/// Clamps; NaN stays NaN.
@inline(__always)
func clamped(_ value: Float, _ lower: Float, _ upper: Float) -> Float {
  let bounded = value < lower ? lower : value
  return bounded > upper ? upper : bounded
}

/// Clamps each lane; NaN stays NaN. Lane by lane, which becomes one instruction a bound; masks do not.
@inline(__always)
func clamped(_ value: SIMD4<Float>, _ lower: Float, _ upper: Float) -> SIMD4<Float> {
  SIMD4<Float>(
    clamped(value[0], lower, upper), clamped(value[1], lower, upper), clamped(value[2], lower, upper),
    clamped(value[3], lower, upper))
}

@inline(__always)
func clamped(_ value: SIMD4<Int32>, _ lower: Int32, _ upper: Int32) -> SIMD4<Int32> {
  SIMD4<Int32>(
    max(lower, min(upper, value[0])), max(lower, min(upper, value[1])), max(lower, min(upper, value[2])),
    max(lower, min(upper, value[3])))
}
