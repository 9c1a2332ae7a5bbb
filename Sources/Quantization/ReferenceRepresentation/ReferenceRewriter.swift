import GraphIR
import Operators
import TensorCore

/// Integers that stand for a real value of the Q/DQ graph.
struct Quanta {
  /// The integer tensor in the reference program.
  let id: ValueID
  let parameters: AffineParameters
}

/// One line of the rewrite table: the operators it takes, and what it emits for a node. It returns nil when the node is
/// rewritten, else the reason why it stays in float; it emits nothing then.
struct ReferenceRule: Sendable {
  let pattern: OperatorPattern
  let apply: @Sendable (inout ReferenceRewriter, Node) throws(GraphError) -> String?

  init(
    _ pattern: OperatorPattern,
    _ apply: @escaping @Sendable (inout ReferenceRewriter, Node) throws(GraphError) -> String?
  ) {
    self.pattern = pattern
    self.apply = apply
  }
}

/// Walks a Q/DQ graph once, in order, and builds the reference program beside it.
struct ReferenceRewriter {
  static let rules: [ReferenceRule] =
    quantizationRules + convolutionRules + elementwiseRules + poolingRules + movementRules

  private static let table = OperatorTable(rules, by: \.pattern)

  let source: QuantizedGraph
  private(set) var result: ExportedProgram
  private(set) var notRewritten: [NotRewritten] = []
  private(set) var quantizedNames: [String: String] = [:]
  /// Source value → the same value in the result.
  var values: [ValueID: ValueID] = [:]
  /// Real source value → the integers that stand for it.
  var quanta: [ValueID: Quanta] = [:]
  /// Activations that an earlier rule has already covered.
  private var covered: Set<String> = []
  /// int8 value and zero point → their difference in int32.
  private var centered: [Centered: ValueID] = [:]

  private struct Centered: Hashable {
    let value: ValueID
    let zeroPoint: Int32
  }

  init(_ source: QuantizedGraph) {
    self.source = source
    let program = source.program
    result = ExportedProgram(
      name: program.name, stateDict: program.stateDict, extraFiles: program.extraFiles,
      dynamicShapes: program.dynamicShapes, callSignature: program.callSignature)
  }

  mutating func run() throws(GraphError) {
    for (id, kind) in zip(source.program.graph.inputs, source.program.inputKinds) {
      let input = result.graph.addValue(source.program.graph[id].name, source.spec(id))
      values[id] = input
      result.graph.inputs.append(input)
      result.inputKinds.append(kind)
    }
    for node in source.program.graph.nodes where !covered.contains(node.name) {
      if let rule = Self.table[node.op] {
        guard let reason = try rule.apply(&self, node) else { continue }
        try emitCopy(node, reason: reason)
      } else {
        try emitCopy(node, reason: defaultReason(node))
      }
    }
    for id in source.program.graph.outputs { result.graph.outputs.append(try value(id)) }
    result.graph.removeDeadNodes()
    result.removeUnusedConstants()
    let names = Set(result.graph.nodes.flatMap(\.outputs).map { result.graph[$0].name })
    quantizedNames = quantizedNames.filter { names.contains($0.value) }
  }

  static let inputReason = "its input is not int8 with constant per-tensor parameters"

  private func defaultReason(_ node: Node) -> String {
    if node.op.isAny(.quantizeDequantize) { return "its parameters are computed at run time" }
    return node.inputs.contains { quanta[$0] != nil }
      ? "no integer form; dequantized before it, and quantized again where the graph says so"
      : "its input is not quantized"
  }

  /// The node as it stands.
  private mutating func emitCopy(_ node: Node, reason: String) throws(GraphError) {
    notRewritten.append(NotRewritten(node: node.name, operatorName: node.op.name, reason: reason))
    var copy = node
    try copy.mapInputs { id throws(GraphError) in try value(id) }
    copy.outputs = node.outputs.map { result.graph.addValue(source.program.graph[$0].name, source.spec($0)) }
    result.graph.nodes.append(copy)
    for (old, new) in zip(node.outputs, copy.outputs) { values[old] = new }
  }

  // MARK: Reading source values

  /// A source value as it is; one that exists as integers only is dequantized.
  mutating func value(_ id: ValueID) throws(GraphError) -> ValueID {
    if let known = values[id] { return known }
    guard let integers = quanta[id] else {
      throw GraphError(
        program: source.program.name, reason: "'\(source.program.graph[id].name)' is read before it is computed")
    }
    let real = emitDequantize(integers, name: source.program.graph[id].name + "_dequantize", metadata: [:])
    values[id] = real
    return real
  }

  /// The per-tensor int8 quanta of an activation; nil when it is not quantized like that.
  func activation(_ id: ValueID?) -> (id: ValueID, parameters: QuantizationParameters)? {
    guard let id, let integers = quanta[id], let parameters = integers.parameters.activation else { return nil }
    return (integers.id, parameters)
  }

  /// An activation less its zero point, in int32.
  mutating func centered(_ value: ValueID, _ parameters: QuantizationParameters, _ node: Node) -> ValueID {
    let key = Centered(value: value, zeroPoint: parameters.zeroPoint)
    if let known = centered[key] { return known }
    var integers = emitConversion(value, .int32, node)
    if parameters.zeroPoint != 0 {
      integers = emit(.sub, integers, [("other", .attribute(.int(Int(parameters.zeroPoint))))], node)
    }
    centered[key] = integers
    return integers
  }

  // MARK: Writing the result

  mutating func addConstant(_ name: String, _ tensor: Tensor) -> ValueID { result.addBuffer(name, tensor) }

  func spec(_ id: ValueID) -> TensorSpec { result.graph.spec(id) }

  /// Appends a node with one output and returns the output.
  mutating func emit(
    _ op: Operator, name: String, _ arguments: [(String, Operand)], output: TensorSpec,
    metadata: [String: String]
  ) -> ValueID {
    let node = result.graph.makeNode(
      op, name: name, arguments: arguments.map { Node.Argument($0.0, $0.1) }, output: output,
      metadata: metadata)
    result.graph.nodes.append(node)
    return node.output
  }

  /// Appends a node as `node` is, but for its arguments, and with outputs of another type.
  mutating func emit(_ node: Node, _ arguments: [(String, Operand)], as dataType: DataType) -> [ValueID] {
    var copy = node
    copy.arguments = arguments.map { Node.Argument($0.0, $0.1) }
    copy.outputs = node.outputs.map { id in
      result.graph.addValue(source.program.graph[id].name, TensorSpec(dataType, source.spec(id).shape))
    }
    result.graph.nodes.append(copy)
    return copy.outputs
  }

  /// Appends a function of `value`, of its type and shape, named after the source node it is made for.
  mutating func emit(
    _ op: Operator, _ value: ValueID, _ arguments: [(String, Operand)], _ origin: Node
  ) -> ValueID {
    emit(
      op, name: origin.name + "_" + op.functionName,
      [("self", .value(value))] + arguments, output: spec(value), metadata: origin.inheritedMetadata)
  }

  mutating func emitConversion(
    _ value: ValueID, _ dataType: DataType, _ origin: Node, name: String? = nil
  ) -> ValueID {
    emit(
      .toDtype, name: name ?? "\(origin.name)_\(dataType)",
      [("self", .value(value)), ("dtype", .attribute(.dataType(dataType)))],
      output: TensorSpec(dataType, spec(value).shape), metadata: origin.inheritedMetadata)
  }

  /// Records what a chain's result is, and that its nodes need no more work.
  mutating func finish(_ chain: ReferenceChain, _ value: ValueID) {
    for node in chain.nodes { covered.insert(node.name) }
    quanta[chain.result] = Quanta(id: value, parameters: AffineParameters(chain.quantization))
  }

  /// Records the integers that a quantize node gives.
  mutating func setIntegers(of node: Node, _ value: ValueID) {
    values[node.output] = value
    quantizedNames[source.program.graph[node.output].name] = result.graph[value].name
  }
}

/// An operator, the activation that is fused into it, and the int8 parameters its result is quantized with.
struct ReferenceChain {
  let result: ValueID
  let nodes: [Node]
  let quantization: QuantizationParameters
  /// The quanta of the activation's bounds, −128 and 127 without one.
  let bounds: ClosedRange<Int>

  var last: Node { nodes[nodes.count - 1] }
}

extension ReferenceRewriter {
  /// Follows a node's output through an activation to its quantize node; nil when the result is used as reals.
  func chain(of node: Node) throws(GraphError) -> ReferenceChain? {
    var (result, nodes, low, high) = (node.output, [node], -Double.infinity, Double.infinity)
    if let next = source.onlyUser(of: node.output), let bounds = try source.activationBounds(next) {
      (result, low, high) = (next.output, bounds.low, bounds.high)
      nodes.append(next)
    }
    guard let quantization = try source.quantization(of: result) else { return nil }
    return ReferenceChain(
      result: result, nodes: nodes, quantization: quantization, bounds: quantization.quanta(from: low, to: high))
  }
}

extension QuantizationParameters {
  /// The quanta of two real bounds; infinite ones bound nothing.
  func quanta(from low: Double, to high: Double) -> ClosedRange<Int> {
    let least = low.isFinite ? Int(quantize(Float(low))) : -128
    return least...max(least, high.isFinite ? Int(quantize(Float(high))) : 127)
  }
}
