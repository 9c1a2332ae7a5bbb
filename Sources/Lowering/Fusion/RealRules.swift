import GraphIR
import Operators
import TensorCore

extension Fuser {
  /// Operators on int8 that are computed on reals inside, and products of activations: contiguous.
  static let realRules: [FusionRule] = [
    .int8Form(of: .softmax, .fusedSoftmax, operands: ["self"]),
    .int8Form(of: .layerNorm, .fusedLayerNorm, operands: ["input"]),
    .int8Form(of: .upsampleNearest2d, .fusedUpsampleNearest2d, operands: ["input"]),
    .int8Form(of: .upsampleBilinear2d, .fusedUpsampleBilinear2d, operands: ["input"]),
    FusionRule([.matmul, .bmm, .mm]) { fuser, node throws(GraphError) in
      try fuser.fuseReal(node, .fusedMatmul, ["self", "other", "mat2"])
    },
  ]

  /// The operator of that name on int8 `operands`; other tensors of the node must be constants, and stay as they are.
  mutating func fuseReal(
    _ node: Node, _ op: Operator, _ operands: [String]
  ) throws(GraphError) -> FusionOutcome {
    guard let target = try quantization(of: node.output) else { return .refused("its output is not quantized") }
    var arguments: [(String, Operand)] = []
    for argument in node.arguments {
      guard case .value(let id) = argument.operand else {
        arguments.append((argument.name, argument.operand))
        continue
      }
      if operands.contains(argument.name) {
        guard let value = try int8Operand(id) else {
          return .refused("'\(source.graph[id].name)' is not quantized")
        }
        // `bmm` and `mm` call their second operand `mat2`.
        arguments.append((argument.name == "mat2" ? "other" : argument.name, .value(convert(value, to: .contiguous))))
      } else {
        guard let tensor = constant(id) else { return .refused("'\(source.graph[id].name)' is not a constant") }
        arguments.append((argument.name, .value(addConstant(source.graph[id].name, tensor.rowMajor()))))
      }
    }
    let output = TensorSpec(.int8, source.graph.spec(node.output).shape, quantization: target)
    forms[node.output] = Form(emit(op, name: node.name, arguments, output: output, sources: [node]))
    return .fused
  }

  /// A computed int8 value, or a constant with one scale.
  mutating func int8Operand(_ id: ValueID) throws(GraphError) -> ValueID? {
    guard let constant = try weight(id) else { return try int8(id) }
    guard let quantization = constant.quantization, !quantization.isPerChannel else { return nil }
    let spec = TensorSpec(.int8, constant.tensor.shape, quantization: quantization)
    return addConstant(source.graph[id].name, constant.tensor.rowMajor().reinterpreted(as: spec))
  }
}
