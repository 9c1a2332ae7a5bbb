import Operators
import TensorCore

/// The stages a graph passes through. Each allows its own operators and has rules of its own.
public enum Dialect: String, Sendable {
  /// ATen operators on real numbers.
  case float
  /// The float graph with `quantization.observe` nodes.
  case observed
  /// ATen operators between `quantized_decomposed` quantize and dequantize nodes.
  case quantizeDequantize = "Q/DQ"
  /// Fused operators with quantization parameters on their values, ATen operators elsewhere.
  case lowered

  /// The one that a graph's operators belong to.
  public init(of graph: Graph) {
    func has(_ traits: Operator.Traits) -> Bool { graph.nodes.contains { $0.op.isAny(traits) } }
    self = has(.fused) ? .lowered : has(.observes) ? .observed : has(.quantizeDequantize) ? .quantizeDequantize : .float
  }
}

/// Checks that a graph is well formed; runs after every stage. A graph that passes can be interpreted and lowered.
public struct Verifier {
  let program: ExportedProgram
  let dialect: Dialect

  /// Throws the first broken rule: definitions before uses, known operators, arguments and shapes that the operators
  /// accept and that equal the recorded ones, and the rules of the dialect.
  public static func verify(_ program: ExportedProgram, as dialect: Dialect) throws(GraphError) {
    try Verifier(program: program, dialect: dialect).run()
  }

  /// Throws unless every value is given or computed once, and before anything reads it.
  static func verifyDefinitions(_ program: ExportedProgram) throws(GraphError) {
    let graph = program.graph
    var defined = [Bool](repeating: false, count: graph.values.count)
    func define(_ id: ValueID) -> Bool {
      guard defined.indices.contains(id.index) else { return false }
      defer { defined[id.index] = true }
      return !defined[id.index]
    }
    func isDefined(_ id: ValueID) -> Bool { defined.indices.contains(id.index) && defined[id.index] }
    func error(_ node: Node, _ reason: String) -> GraphError {
      GraphError(program: program.name, node: node.name, operatorName: node.op.name, reason: reason)
    }
    for id in graph.inputs where !define(id) {
      throw GraphError(program: program.name, reason: "input '\(graph.name(id))' is given twice")
    }
    for node in graph.nodes {
      for id in node.inputs where !isDefined(id) {
        throw error(node, "reads '\(graph.name(id))' before it is computed")
      }
      for id in node.outputs where !define(id) {
        throw error(node, "computes '\(graph.name(id))', which is already defined")
      }
    }
    for id in graph.outputs where !isDefined(id) {
      throw GraphError(program: program.name, reason: "output '\(graph.name(id))' is never computed")
    }
  }

  private func run() throws(GraphError) {
    let graph = program.graph
    guard graph.inputs.count == program.inputKinds.count else {
      throw GraphError(
        program: program.name, reason: "has \(graph.inputs.count) inputs, \(program.inputKinds.count) kinds")
    }
    guard !graph.outputs.isEmpty else { throw GraphError(program: program.name, reason: "has no outputs") }
    try Verifier.verifyDefinitions(program)
    for (id, kind) in zip(graph.inputs, program.inputKinds) {
      if let target = kind.target { try verifyConstant(target, graph[id]) }
    }
    try program.dynamicShapes?.verify(program)
    let constants = program.storedConstants()
    var names: Set<String> = []
    for node in graph.nodes {
      guard names.insert(node.name).inserted else { throw error(node, "two nodes have this name") }
      try verifyCall(node, constants)
    }
  }

  private func error(_ node: Node, _ reason: String) -> GraphError {
    GraphError(program: program.name, node: node.name, operatorName: node.op.name, reason: reason)
  }

  private func verifyConstant(_ target: String, _ value: Graph.Value) throws(GraphError) {
    guard let tensor = program.stateDict[target] else {
      throw GraphError(program: program.name, reason: "the tensor '\(target)' has no data")
    }
    var spec = tensor.spec
    if spec.shape.rank == 4, value.spec.dimOrder == .contiguous { spec.dimOrder = .contiguous }
    guard spec == value.spec else {
      throw GraphError(
        program: program.name,
        reason: "the tensor '\(target)' is \(tensor.spec), but the graph's input '\(value.name)' is \(value.spec)")
    }
  }

  private func verifyCall(_ node: Node, _ constants: [ValueID: Tensor]) throws(GraphError) {
    let recorded = try program.recorded(node)
    let call = recorded.call
    try verifyDialect(node, call, constants)
    if recorded.isVerified { return }
    let inferred: [TensorSpec]
    do { inferred = try node.op.infer(call) } catch { throw GraphError(error, program: program.name) }
    guard inferred.count == call.outputs.count else {
      throw error(node, "has \(call.outputs.count) outputs; the operator has \(inferred.count)")
    }
    for (expected, given) in zip(inferred, call.outputs) {
      var given = given
      if expected.quantization == nil { given.quantization = nil }
      guard expected == given else {
        throw error(node, "is recorded as \(given), but its inputs make it \(expected)")
      }
    }
    node.record.store(call, isVerified: true)
  }

  // MARK: Rules of the dialects

  private func verifyDialect(
    _ node: Node, _ call: OperatorCall, _ constants: [ValueID: Tensor]
  ) throws(GraphError) {
    let isQuantized = node.op.isAny(.quantizeDequantize) && !node.op.has(.fused)
    let isObserver = node.op.has(.observes)
    let isFused = node.op.has(.fused)
    switch dialect {
    case .float:
      guard !isQuantized, !isObserver, !isFused else { throw error(node, "does not belong into a float graph") }
    case .observed:
      guard !isQuantized, !isFused else { throw error(node, "does not belong into an observed graph") }
    case .quantizeDequantize:
      guard !isObserver, !isFused else { throw error(node, "does not belong into a Q/DQ graph") }
      if isQuantized { try verifyQuantization(node, call, constants) }
    case .lowered:
      guard !isObserver else { throw error(node, "does not belong into a lowered graph") }
      if isFused { try verifyFused(node, call) }
    }
  }

  /// Scales are finite and positive, and the zero point lies in the range.
  private func verifyQuantization(
    _ node: Node, _ call: OperatorCall, _ constants: [ValueID: Tensor]
  ) throws(GraphError) {
    if let scales = node.value("scales").flatMap({ constants[$0] }), scales.dataType == .float32 {
      guard scales.elements(as: Float.self).allSatisfy({ $0.isFinite && $0 > 0 }) else {
        throw error(node, "a scale is not finite and greater than 0")
      }
    }
    guard let scale = try? call.float("scale"), let zeroPoint = try? call.int("zero_point") else { return }
    guard scale.isFinite, scale > 0 else { throw error(node, "the scale \(scale) is not finite and greater than 0") }
    if let low = try? call.int("quant_min"), let high = try? call.int("quant_max") {
      guard low <= zeroPoint, zeroPoint <= high else {
        throw error(node, "the zero point \(zeroPoint) lies outside [\(low), \(high)]")
      }
    }
  }

  /// Integer tensors of fused operators carry quantization parameters, and weights are symmetric: XNNPACK checks neither.
  private func verifyFused(_ node: Node, _ call: OperatorCall) throws(GraphError) {
    for output in call.outputs where output.dataType == .int8 && output.quantization == nil {
      throw error(node, "its int8 output has no quantization parameters")
    }
    if let weight = (try? call.optionalSpec("weight")) ?? nil, let quantization = weight.quantization {
      guard quantization.zeroPoint == 0 else {
        throw error(node, "its weight has zero point \(quantization.zeroPoint); only symmetric weights can be run")
      }
    }
  }
}

extension Graph {
  /// A value's name; its number where another graph's value got in.
  fileprivate func name(_ id: ValueID) -> String {
    values.indices.contains(id.index) ? values[id.index].name : id.description
  }
}
