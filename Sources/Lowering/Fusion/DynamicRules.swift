import GraphIR
import Operators
import TensorCore

/// A value that is quantized and dequantized with parameters chosen when the program runs.
struct DynamicInput {
  /// The source value that parameters are chosen for.
  let value: ValueID
  /// The arguments of the fused operator that say how.
  let arguments: [(String, Operand)]
}

extension Fuser {
  /// Parameters chosen from the data: with the pair that uses them, they become part of the layer that reads it.
  static let dynamicRules: [FusionRule] = [
    FusionRule([
      .chooseQParams, .chooseQParamsSymmetric,
      .chooseQParamsPerToken,
    ]) { fuser, node throws(GraphError) in try fuser.fuseChoice(node) }
  ]

  /// Products of a centred activation, in −255…255, and a weight, in −128…127, that Int32 can sum.
  private static let longestInt32Sum = Int(Int32.max) / (255 * 128)

  private mutating func fuseChoice(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let value = node.value("input"), node.outputs.count == 2 else { return .refused("it has no input") }
    let readers = Set(node.outputs.flatMap { users[$0] ?? [] }).map { source.graph.nodes[$0] }
    let quantizers = readers.filter { $0.op.has(.quantizes) && $0.value("input") == value }
    guard quantizers.count == 1, !node.outputs.contains(where: source.graph.outputs.contains) else {
      return .refused("its parameters are used for more than one quantize node")
    }
    let dequantizers = (users[quantizers[0].output] ?? []).map { source.graph.nodes[$0] }
    guard readers.count == 1 + dequantizers.count, !dequantizers.isEmpty,
      dequantizers.allSatisfy({ $0.op.has(.dequantizes) })
    else { return .refused("the integers are not only dequantized again") }
    let call = try call(node)
    let isPerToken = call.schema.parameter(named: "eps") == nil
    let layers = dequantizers.flatMap { dequantizer in
      (users[dequantizer.output] ?? []).map { (source.graph.nodes[$0], dequantizer.output) }
    }
    for (layer, input) in layers {
      if let reason = try reasonAgainst(layer, input, isPerToken: isPerToken) {
        return .refused("'\(layer.name)' cannot take integers quantized at run time: \(reason)")
      }
    }
    guard !layers.isEmpty, !dequantizers.contains(where: { source.graph.outputs.contains($0.output) }) else {
      return .refused("the dequantized value is a result")
    }
    let dynamic = DynamicInput(value: value, arguments: try arguments(call, isPerToken: isPerToken))
    for dequantizer in dequantizers {
      dynamicInputs[dequantizer.output] = dynamic
      covered.insert(dequantizer.name)
    }
    covered.insert(quantizers[0].name)
    return .fused
  }

  /// The rule of `fused.dynamic_linear` and `fused.dynamic_conv2d`.
  private func arguments(_ call: OperatorCall, isPerToken: Bool) throws(GraphError) -> [(String, Operand)] {
    if isPerToken { return [("rule", .attribute(.string("token")))] }
    let isSymmetric = call.schema.name == Operator.chooseQParamsSymmetric.name
    return try reading { () throws(OperatorError) in
      [
        ("rule", .attribute(.string(isSymmetric ? "symmetric" : "affine"))),
        ("quant_min", .attribute(.int(try call.int("quant_min")))),
        ("quant_max", .attribute(.int(try call.int("quant_max")))),
        ("eps", .attribute(.float(try call.float("eps")))),
      ]
    }
  }

  /// Why a layer cannot be fused with the dynamic quantization of its input; nil when it can.
  private func reasonAgainst(_ layer: Node, _ input: ValueID, isPerToken: Bool) throws(GraphError) -> String? {
    let isLinear = layer.op == .linear
    guard isLinear || layer.op.layer == .convolution(spatial: 2) else {
      return "only linear layers and 2-D convolutions can"
    }
    guard layer.value("input") == input, let id = layer.value("weight"), id != input else { return "it is its weight" }
    guard let weight = try weight(id), let quantization = weight.quantization else {
      return "its weight is not a quantized constant"
    }
    guard quantization.zeroPoint == 0, quantization.axis ?? 0 == 0 else {
      return "its weight is not quantized symmetrically along axis 0"
    }
    let depth = weight.tensor.shape.elementCount / max(weight.tensor.shape[0], 1)
    guard depth <= Fuser.longestInt32Sum else { return "sums of \(depth) products can exceed Int32" }
    if !isLinear, isPerToken { return "a convolution has no tokens" }
    if !isLinear, source.graph.spec(input).shape.rank != 4 { return "its input has no batch" }
    if let bias = layer.value("bias") {
      guard let bias = try self.weight(bias), bias.quantization == nil, bias.tensor.dataType == .float32 else {
        return "its bias is not a float32 constant"
      }
    }
    return nil
  }

  mutating func fuseDynamicLinear(
    _ node: Node, _ dynamic: DynamicInput, _ weight: Weight
  ) throws(GraphError) -> FusionOutcome {
    let input = try real(dynamic.value, .contiguous)
    let (chain, weights) = try dynamicOperands(node, weight, weight.tensor)
    finishLinear(chain, .fusedDynamicLinear, input, weights + dynamic.arguments + chain.bounds())
    return .fused
  }

  mutating func fuseDynamicConvolution(
    _ node: Node, _ dynamic: DynamicInput, _ weight: Weight
  ) throws(GraphError) -> FusionOutcome {
    let window = try window(node).arguments(of: .fusedDynamicConv2d)
    let input = try real(dynamic.value, .channelsLast)
    let (chain, weights) = try dynamicOperands(node, weight, weight.tensor.channelsLast())
    finish(
      chain,
      emit(
        .fusedDynamicConv2d, name: chain.name,
        [("input", .value(input))] + weights + window + dynamic.arguments + chain.bounds(), output: outputSpec(chain),
        sources: chain.nodes))
    return .fused
  }

  /// Where a dynamic layer's reals go, and its weight and bias as arguments.
  private mutating func dynamicOperands(
    _ node: Node, _ weight: Weight, _ tensor: Tensor
  ) throws(GraphError) -> (OutputChain, [(String, Operand)]) {
    guard let weightID = node.value("weight") else { throw error(node, "has no weight") }
    var chain = try outputChain(of: node)
    chain.quantization = nil
    var arguments: [(String, Operand)] = [
      ("weight", .value(addWeight(source.graph[weightID].name, weight, tensor)))
    ]
    if let id = node.value("bias"), let bias = try self.weight(id) {
      arguments.append(("bias", .value(addConstant(source.graph[id].name, bias.tensor))))
    }
    return (chain, arguments)
  }
}
