import TensorCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

// Activation functions of one element, f32. Sigmoid and the clamps have files of their own.

extension Operator {
  /// x brought into [0, 6]. NaN stays NaN.
  public static let relu6 = Operator(
    "aten.relu6.default(Tensor self) -> Tensor", traits: [.clamps, .sharesQuantization], bounds: { _ in (0, 6) }
  ) {
    call throws(OperatorError) in
    try call.map { clamped($0, 0, 6) }
  }

  /// tanh x, f32.
  public static let tanh = Operator(
    "aten.tanh.default(Tensor self) -> Tensor", traits: [.pointwise, .ownQuantization], resultRange: -1...1
  ) {
    call throws(OperatorError) in
    try call.map { tanhf($0) }
  }

  /// x · min(max(x + 3, 0), 6) / 6
  public static let hardswish = Operator(
    "aten.hardswish.default(Tensor self) -> Tensor", traits: [.pointwise, .ownQuantization]
  ) {
    call throws(OperatorError) in
    try call.map { $0 * clamped($0 + 3, 0, 6) / 6 }
  }

  /// min(max(x + 3, 0), 6) / 6
  public static let hardsigmoid = Operator(
    "aten.hardsigmoid.default(Tensor self) -> Tensor", traits: [.pointwise, .ownQuantization], resultRange: 0...1
  ) {
    call throws(OperatorError) in
    try call.map { clamped($0 + 3, 0, 6) / 6 }
  }

  /// x / (1 + exp(−x))
  public static let silu = Operator("aten.silu.default(Tensor self) -> Tensor", traits: [.pointwise, .ownQuantization])
  {
    call throws(OperatorError) in
    try call.map { $0 / (1 + expf(-$0)) }
  }

  /// x · Φ(x), Φ being the normal distribution: exact, or by tanh.
  public static let gelu = Operator(
    "aten.gelu.default(Tensor self, *, str approximate='none') -> Tensor", traits: [.pointwise, .ownQuantization]
  ) { call throws(OperatorError) in
    switch try call.string("approximate") {
    case "none": return try call.map { 0.5 * $0 * (1 + erff($0 * Float(0.5).squareRoot())) }
    case "tanh":
      let factor = Float((2 / Double.pi).squareRoot())
      return try call.map { 0.5 * $0 * (1 + tanhf(factor * ($0 + 0.044715 * $0 * $0 * $0))) }
    case let other: throw call.error("'approximate' must be 'none' or 'tanh', not '\(other)'")
    }
  }

  /// x above 0, weight · x elsewhere; the weight is one number, or one for each index of dimension 1; f32.
  public static let prelu = Operator("aten.prelu.default(Tensor self, Tensor weight) -> Tensor", traits: .inPlace) {
    call throws(OperatorError) in
    let (input, weight) = (try call.floatTensor("self"), try call.floatTensor("weight"))
    let channels = input.shape.rank < 2 ? 1 : input.shape[1]
    let isShared = weight.shape.elementCount == 1
    try call.check(
      weight.shape.rank <= 1 && (isShared || weight.shape.elementCount == channels),
      "'weight' must be [1] or [\(channels)], not \(weight.shape)")
    let (outer, size, inner) = input.shape.rank < 2 ? (1, 1, input.shape.elementCount) : input.shape.split(at: 1)
    return KernelPlan(input.spec) {
      PreparedKernel { buffers in
        // Of no elements, nothing bounds the sizes.
        if inner == 0 { return }
        let slopes = buffers.input(weight, as: Float.self)
        var (source, target) = (buffers.input(input, as: Float.self), buffers.output(as: Float.self))
        for line in 0..<outer &* size {
          let slope = slopes[isShared ? 0 : line % size]
          for i in 0..<inner { target[i] = source[i] > 0 ? source[i] : slope * source[i] }
          source += inner
          target += inner
        }
      }
    }
  }

  /// scale · x above 0, scale · alpha · (exp(input_scale · x) − 1) elsewhere.
  public static let elu = Operator(
    "aten.elu.default(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor",
    traits: [.pointwise, .ownQuantization]
  ) { call throws(OperatorError) in
    let (alpha, scale) = (Float(try call.float("alpha")), Float(try call.float("scale")))
    let inner = Float(try call.float("input_scale"))
    let outer = alpha * scale
    return try call.map { $0 <= 0 ? expm1f($0 * inner) * outer : $0 * scale }
  }

  /// x above 0, negative_slope · x elsewhere.
  public static let leakyRelu = Operator(
    "aten.leaky_relu.default(Tensor self, Scalar negative_slope=0.01) -> Tensor",
    traits: [.pointwise, .ownQuantization]
  ) { call throws(OperatorError) in
    let slope = Float(try call.float("negative_slope"))
    return try call.map { $0 > 0 ? $0 : $0 * slope }
  }
}
