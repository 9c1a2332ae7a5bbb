import GraphIR
import Operators
import TensorCore

extension ReferenceRewriter {
  static let movementRules: [ReferenceRule] = [
    ReferenceRule(.condition { $0.keepsQuanta }) { rewriter, node throws(GraphError) in
      try rewriter.rewriteMovement(node)
    },
    ReferenceRule([.pad, .constantPadNd]) { rewriter, node throws(GraphError) in
      try rewriter.rewritePad(node)
    },
    ReferenceRule([.cat, .stack]) { rewriter, node throws(GraphError) in
      try rewriter.rewriteCat(node)
    },
    ReferenceRule([
      .chunk, .split, .splitWithSizes, .unbind,
    ]) { rewriter, node throws(GraphError) in rewriter.rewriteCut(node) },
  ]

  /// The same node on the quanta.
  private mutating func rewriteMovement(_ node: Node) throws(GraphError) -> String? {
    guard let input = node.inputs.first, node.inputs.count == 1,
      let parameters = try parametersOfMovement(node, input)
    else { return Self.inputReason }
    let integers = try quantized(input, parameters, node)
    var copy = node
    copy.mapInputs { _ in integers }
    emitMovement(node, copy.arguments.map { ($0.name, $0.operand) }, node.op, parameters)
    return nil
  }

  /// The same node on the quanta, with the input's parameters for each piece.
  private mutating func rewriteCut(_ node: Node) -> String? {
    guard let x = activation(node.value("self")) else { return Self.inputReason }
    let arguments = node.arguments.map { ($0.name, $0.name == "self" ? .value(x.id) : $0.operand) }
    for (piece, integers) in zip(node.outputs, emit(node, arguments, as: .int8)) {
      quanta[piece] = Quanta(id: integers, parameters: AffineParameters(x.parameters))
    }
    return nil
  }

  /// The input's parameters. Of an input in reals, the parameters that the result is quantized with: quantizing before
  /// the movement is the same. Not so for a maximum, which a NaN wins.
  private func parametersOfMovement(_ node: Node, _ input: ValueID) throws(GraphError) -> QuantizationParameters? {
    if let x = activation(input) { return x.parameters }
    guard source.spec(input).dataType == .float32, !node.op.has(.choosesElements) else { return nil }
    return try source.quantization(of: node.output)
  }

  private mutating func quantized(
    _ input: ValueID, _ parameters: QuantizationParameters, _ node: Node
  ) throws(GraphError) -> ValueID {
    if let x = activation(input) { return x.id }
    return emitQuantize(try value(input), AffineParameters(parameters), node, name: node.name + "_quantize")
  }

  /// Constant padding with the quantum that stands for the value.
  private mutating func rewritePad(_ node: Node) throws(GraphError) -> String? {
    guard let input = node.value("self"), let parameters = try parametersOfMovement(node, input) else {
      return Self.inputReason
    }
    let (pads, fill) = try source.read(node) { call throws(OperatorError) in
      (try call.ints("pad"), Float(try call.optionalFloat("value") ?? 0))
    }
    let quantum = parameters.quantize(fill)
    guard (Float(quantum) - Float(parameters.zeroPoint)) * parameters.scale == fill else {
      return "int8 cannot hold the padding value \(fill) exactly"
    }
    emitMovement(
      node,
      [
        ("self", .value(try quantized(input, parameters, node))), ("pad", .attribute(.ints(pads))),
        ("value", .attribute(.int(Int(quantum)))),
      ], .constantPadNd, parameters)
    return nil
  }

  /// Operands of other parameters than the result's are requantized.
  private mutating func rewriteCat(_ node: Node) throws(GraphError) -> String? {
    guard case .values(let inputs) = node.operand("tensors") else { return "it has no operands" }
    let operands = inputs.compactMap { activation($0) }
    guard operands.count == inputs.count, let first = operands.first else {
      return Self.operandReason
    }
    let isShared = operands.allSatisfy { $0.parameters == first.parameters }
    guard let target = isShared ? first.parameters : try source.quantization(of: node.output) else {
      return "its operands differ in parameters and its output is not quantized"
    }
    let values = operands.map { requantized($0.id, from: $0.parameters, to: target, node) }
    let rest = node.arguments.filter { $0.name != "tensors" }.map { ($0.name, $0.operand) }
    emitMovement(node, [("tensors", .values(values))] + rest, node.op, target)
    return nil
  }

  private mutating func emitMovement(
    _ node: Node, _ arguments: [(String, Operand)], _ op: Operator, _ parameters: QuantizationParameters
  ) {
    let moved = emit(
      op, name: node.name, arguments, output: TensorSpec(.int8, source.spec(node.output).shape),
      metadata: node.metadata)
    quanta[node.output] = Quanta(id: moved, parameters: AffineParameters(parameters))
  }
}
