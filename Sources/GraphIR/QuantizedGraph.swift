import Operators
import TensorCore

/// What a Q/DQ graph says about its values: who reads them, how activations bound them, how they are quantized.
package struct QuantizedGraph: Sendable {
  package let program: ExportedProgram
  package let users: [ValueID: [Int]]
  private let outputs: Set<ValueID>
  /// In the dim order that each is stored in.
  package let constants: [ValueID: Tensor]

  package init(_ program: ExportedProgram) {
    self.program = program
    users = program.graph.users()
    outputs = Set(program.graph.outputs)
    constants = program.storedConstants()
  }

  package func spec(_ id: ValueID) -> TensorSpec { program.graph.spec(id) }

  /// The only reader of a value, if there is one and the value is no output of the graph.
  package func onlyUser(of id: ValueID) -> Node? {
    guard let indices = users[id], indices.count == 1, !outputs.contains(id) else { return nil }
    return program.graph.nodes[indices[0]]
  }

  /// The node's call, for its arguments with defaults.
  package func call(_ node: Node) throws(GraphError) -> OperatorCall {
    try program.call(of: node, constants: constants).1
  }

  /// Reads a node's arguments; an argument that is missing or of another kind becomes a `GraphError`.
  package func read<R>(
    _ node: Node, _ body: (OperatorCall) throws(OperatorError) -> R
  ) throws(GraphError) -> R {
    let call = try call(node)
    do { return try body(call) } catch { throw GraphError(error, program: program.name) }
  }

  /// The bounds of a clamping activation, as reals; nil for any other node.
  package func activationBounds(_ node: Node) throws(GraphError) -> (low: Double, high: Double)? {
    guard let bounds = node.op.bounds else { return nil }
    let (low, high) = try read(node, bounds)
    // Where they cross, the upper bound wins, as in PyTorch.
    return (min(low, high), high)
  }

  /// The parameters a value is quantized with when that is all that happens to it, movement of its elements aside.
  package func quantization(of id: ValueID) throws(GraphError) -> QuantizationParameters? {
    var id = id
    while let next = onlyUser(of: id) {
      if next.op == .quantizePerTensor { return try int8Parameters(of: next) }
      guard next.op.keepsQuanta, next.outputs.count == 1, next.inputs.first == id else { return nil }
      id = next.output
    }
    return nil
  }

  /// The parameters of a per-tensor quantize or dequantize node over all of int8; nil when it is of another kind.
  package func int8Parameters(of node: Node) throws(GraphError) -> QuantizationParameters? {
    try read(node) { call throws(OperatorError) in
      guard try call.dataType("dtype") == .int8, try call.int("quant_min") == -128, try call.int("quant_max") == 127
      else { return nil }
      let (scale, zeroPoint) = (Float(try call.float("scale")), try call.int("zero_point"))
      guard scale.isFinite, scale > 0, (-128...127).contains(zeroPoint) else { return nil }
      return QuantizationParameters(scale: scale, zeroPoint: Int32(zeroPoint))
    }
  }
}

extension Operator {
  /// Whether it is the same to quantize before or after: it moves elements of its first input, or chooses among them.
  package var keepsQuanta: Bool { has(.sharesQuantization) && isAny([.movesElements, .choosesElements]) }
}
