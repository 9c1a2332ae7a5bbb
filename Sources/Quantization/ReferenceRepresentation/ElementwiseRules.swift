import GraphIR
import Operators
import TensorCore

extension ReferenceRewriter {
  static let elementwiseRules: [ReferenceRule] = [
    ReferenceRule([.add, .sub]) { rewriter, node throws(GraphError) in
      try rewriter.rewriteSum(node)
    },
    ReferenceRule([.mul, .matmul, .bmm, .mm]) {
      rewriter, node throws(GraphError) in try rewriter.rewriteProduct(node)
    },
    ReferenceRule(.traits(.clamps)) {
      rewriter, node throws(GraphError) in
      try rewriter.rewriteClamp(node)
    },
  ]

  static let operandReason = "an operand is not int8 with constant per-tensor parameters"

  /// With ra = self scale / output scale and rb likewise, both in [2⁻¹⁰, 2⁸):
  ///
  ///     shift = 20 − exponent(max(ra, rb))
  ///     q = clamp(((a − za) · RNE(ra · 2^shift) + (b − zb) · RNE(rb · 2^shift) + 2^(shift − 1)) >> shift) + zp
  ///
  /// (XNNPACK's fixed point, which rounds half up); with other ratios RNE(clamp((a − za) · ra + (b − zb) · rb)) + zp in
  /// float32. A difference has − in place of the first +.
  private mutating func rewriteSum(_ node: Node) throws(GraphError) -> String? {
    guard let a = activation(node.value("self")), let b = activation(node.value("other")) else {
      return Self.operandReason
    }
    let alpha = try source.read(node) { call throws(OperatorError) in try call.float("alpha") }
    guard alpha == 1 else { return "alpha is \(alpha), not 1" }
    guard let chain = try chain(of: node) else { return "its output is not quantized" }
    let scale = chain.quantization.scale
    let (ratioA, ratioB) = (a.parameters.scale / scale, b.parameters.scale / scale)
    guard max(ratioA, ratioB) < 0x1p64 else { return "its operands' scales are too large for the output's" }
    let (x, y) = (centered(a.id, a.parameters, node), centered(b.id, b.parameters, node))
    let shape = source.spec(node.output).shape
    guard min(ratioA, ratioB) >= 0x1p-10, max(ratioA, ratioB) < 0x1p8 else {
      let sum = emitScaledSum(x, .float(Double(ratioA)), y, .float(Double(ratioB)), .float32, shape, node)
      let target = AffineParameters(chain.quantization)
      finish(chain, emitRounding(sum, target, bounds: chain.bounds, chain.last, name: chain.last.name))
      return nil
    }
    let shift = 20 - Int(max(ratioA, ratioB).exponent)
    let power = Float(sign: .plus, exponent: shift, significand: 1)
    let multipliers = [ratioA, ratioB].map { Attribute.int(Int(($0 * power).rounded(.toNearestOrEven))) }
    var sum = emitScaledSum(x, multipliers[0], y, multipliers[1], .int32, shape, node)
    sum = emit(.add, sum, [("other", .attribute(.int(1 << (shift - 1))))], node)
    sum = emit(.bitwiseRightShift, sum, [("other", .attribute(.int(shift)))], node)
    finish(chain, emitInteger(sum, chain))
    return nil
  }

  /// x · a + y · b, or x · a − y · b, in the given type.
  private mutating func emitScaledSum(
    _ x: ValueID, _ a: Attribute, _ y: ValueID, _ b: Attribute, _ dataType: DataType, _ shape: Shape, _ node: Node
  ) -> ValueID {
    let terms = [(x, a), (y, b)].map { value, factor in
      let typed = dataType == .int32 ? value : emitConversion(value, dataType, node)
      return emit(.mul, typed, [("other", .attribute(factor))], node)
    }
    return emit(
      node.op, name: node.name + "_sum", [("self", .value(terms[0])), ("other", .value(terms[1]))],
      output: TensorSpec(dataType, shape), metadata: node.inheritedMetadata)
  }

  /// int32 multiples of the output's scale to its quanta.
  private mutating func emitInteger(_ sum: ValueID, _ chain: ReferenceChain) -> ValueID {
    let node = chain.last
    var sum = sum
    if chain.quantization.zeroPoint != 0 {
      sum = emit(.add, sum, [("other", .attribute(.int(Int(chain.quantization.zeroPoint))))], node)
    }
    let clamped = emit(
      .clamp, sum,
      [
        ("min", .attribute(.int(chain.bounds.lowerBound))), ("max", .attribute(.int(chain.bounds.upperBound))),
      ], node)
    return emitConversion(clamped, .int8, node, name: node.name)
  }

  /// RNE(clamp((a − za) · (b − zb) · s)) + zp, the product being one of elements or of matrices, with s = self scale · other scale / output scale in float32.
  private mutating func rewriteProduct(_ node: Node) throws(GraphError) -> String? {
    let second = node.operand("mat2") == nil ? "other" : "mat2"
    guard let a = activation(node.value("self")), let b = activation(node.value(second)) else {
      return Self.operandReason
    }
    guard let chain = try chain(of: node) else { return "its output is not quantized" }
    let factor = a.parameters.scale * b.parameters.scale / chain.quantization.scale
    guard factor.isFinite, factor > 0 else {
      return "self scale · other scale / output scale is not a positive finite number"
    }
    let (x, y) = (centered(a.id, a.parameters, node), centered(b.id, b.parameters, node))
    let product = emit(
      node.op, name: node.name + "_product", [("self", .value(x)), (second, .value(y))],
      output: TensorSpec(.int32, source.spec(node.output).shape), metadata: node.inheritedMetadata)
    finish(chain, emitRequantize(product, by: [factor], axis: nil, chain))
    return nil
  }

  /// A clamp that could not be fused into what computes its input: on the quanta, when the result keeps the parameters.
  private mutating func rewriteClamp(_ node: Node) throws(GraphError) -> String? {
    guard let input = node.inputs.first, let x = activation(input), let bounds = try source.activationBounds(node)
    else {
      return Self.inputReason
    }
    let target = try source.quantization(of: node.output)
    // A bound inside the grid changes reals off the grid unless the result is quantized again; 0 is always on it.
    guard target == x.parameters || (target == nil && bounds == (0, .infinity)) else {
      return target == nil
        ? "its result is not quantized"
        : "its result has other parameters; dequantized before it and quantized after it, which is exact"
    }
    let quanta = x.parameters.quanta(from: bounds.low, to: bounds.high)
    let clamped = emit(
      .clamp, name: node.name,
      [
        ("self", .value(x.id)), ("min", .attribute(.int(quanta.lowerBound))),
        ("max", .attribute(.int(quanta.upperBound))),
      ], output: spec(x.id), metadata: node.metadata)
    self.quanta[node.output] = Quanta(id: clamped, parameters: AffineParameters(x.parameters))
    return nil
  }
}
