import TensorCore

extension Operator {
  /// max(x, 0), f32. NaN stays NaN.
  public static let relu = Operator(
    "aten.relu.default(Tensor self) -> Tensor", traits: [.clamps, .sharesQuantization], bounds: { _ in (0, .infinity) },
    plan: { call throws(OperatorError) in try clampPlan(call, lower: 0, upper: .infinity) })

  /// x brought into [min_val, max_val], f32. NaN stays NaN.
  public static let hardtanh = Operator(
    "aten.hardtanh.default(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor",
    traits: [.clamps, .sharesQuantization],
    bounds: { call throws(OperatorError) in (try call.float("min_val"), try call.float("max_val")) },
    plan: { call throws(OperatorError) in
      let (lower, upper) = (try call.float("min_val"), try call.float("max_val"))
      try call.check(lower <= upper, "min_val \(lower) must not be above max_val \(upper)")
      return try clampPlan(call, lower: lower, upper: upper)
    })

  /// min(max(x, min), max), f32, int8 or int32 (whole bounds); with min above max the result is max. NaN stays NaN.
  public static let clamp = Operator(
    "aten.clamp.default(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor",
    traits: [.clamps, .ownQuantization],
    bounds: { call throws(OperatorError) in
      (try call.optionalFloat("min") ?? -.infinity, try call.optionalFloat("max") ?? .infinity)
    },
    plan: { call throws(OperatorError) in
      let (lower, upper) = (try call.optionalFloat("min"), try call.optionalFloat("max"))
      try call.check(lower != nil || upper != nil, "at least one of 'min' and 'max' must be given")
      try call.check(!(lower ?? 0).isNaN && !(upper ?? 0).isNaN, "a bound is NaN")
      switch try call.spec("self").dataType {
      case .int8: return try integerClampPlan(call, Int8.self, lower, upper)
      case .int32: return try integerClampPlan(call, Int32.self, lower, upper)
      default: break
      }
      return try clampPlan(call, lower: lower ?? -.infinity, upper: upper ?? .infinity)
    })
}

private func clampPlan(_ call: OperatorCall, lower: Double, upper: Double) throws(OperatorError) -> KernelPlan {
  let input = try call.floatTensor("self")
  let count = input.shape.elementCount
  let (lower, upper) = (Float(lower), Float(upper))
  return KernelPlan(TensorSpec(.float32, input.shape)) {
    PreparedKernel { buffers in clampElements(buffers.input(input), count, lower, upper, buffers.output()) }
  }
}

private func clampElements(
  _ input: UnsafePointer<Float>, _ count: Int, _ lower: Float, _ upper: Float, _ output: UnsafeMutablePointer<Float>
) {
  for i in 0..<count { output[i] = clamped(input[i], lower, upper) }
}

/// Bounds outside the type bound nothing, or everything.
private func integerClampPlan<Element: TensorElement & FixedWidthInteger>(
  _ call: OperatorCall, _ type: Element.Type, _ lower: Double?, _ upper: Double?
) throws(OperatorError) -> KernelPlan {
  let input = try call.tensor("self")
  for bound in [lower, upper].compactMap({ $0 }) {
    try call.check(Int32(exactly: bound) != nil, "a bound of \(input.dataType) must be an integer, not \(bound)")
  }
  let count = input.shape.elementCount
  return KernelPlan(TensorSpec(input.dataType, input.shape)) {
    let low = Element(clamping: Int(lower ?? Double(Element.min)))
    let high = Element(clamping: Int(upper ?? Double(Element.max)))
    return PreparedKernel { buffers in
      let (source, target) = (buffers.input(input, as: Element.self), buffers.output(as: Element.self))
      for i in 0..<count { target[i] = min(max(source[i], low), high) }
    }
  }
}
