import Operators
import Synchronization
import TensorCore

/// The call that a node was last asked for, and whether its operator has accepted it: passes ask for it again and again, and
/// inferring shapes is most of the work. It belongs to the node's operator and arguments; copies of the node share it as long
/// as these stay, and reading other values of the same specs keeps it. Constants are no part of it: no operator infers by data.
final class CallRecord: Sendable {
  struct Entry: Sendable {
    let call: OperatorCall
    /// Whether the operator infers these outputs from these inputs.
    var isVerified: Bool
  }

  private let entry = Mutex<Entry?>(nil)

  /// What was recorded, if the node's values still have the specs that it was recorded for.
  func entry(for node: Node, in graph: Graph) -> Entry? {
    guard let entry = entry.withLock({ $0 }) else { return nil }
    let (inputs, outputs) = (entry.call.inputs, entry.call.outputs)
    guard outputs.count == node.outputs.count else { return nil }
    for (id, spec) in zip(node.outputs, outputs) where graph.spec(id) != spec { return nil }
    let ids = node.callInputs
    guard ids.count == inputs.count else { return nil }
    for (id, spec) in zip(ids, inputs) where graph.spec(id) != spec { return nil }
    return entry
  }

  func store(_ call: OperatorCall, isVerified: Bool) {
    entry.withLock { $0 = Entry(call: call, isVerified: isVerified) }
  }
}

/// What is recorded of a node is no part of what it is.
extension CallRecord: Hashable {
  static func == (a: CallRecord, b: CallRecord) -> Bool { true }
  func hash(into hasher: inout Hasher) {}
}

extension ExportedProgram {
  /// The call that a node makes. Throws a `GraphError` when the operator or one of its arguments is unknown.
  ///
  /// - Parameter constants: the data that is known; the call has that of its own tensors.
  package func call(of node: Node, constants: [ValueID: Tensor]) throws(GraphError) -> (Operator, OperatorCall) {
    let call = try recorded(node).call
    guard !constants.isEmpty else { return (node.op, call) }
    return (node.op, call.with(constants: node.callInputs.map { constants[$0] }))
  }

  /// The node's call without data, and whether its operator has accepted it.
  func recorded(_ node: Node) throws(GraphError) -> CallRecord.Entry {
    if let entry = node.record.entry(for: node, in: graph) {
      if entry.call.node == node.name { return entry }
      let call = entry.call.with(node: node.name)
      node.record.store(call, isVerified: entry.isVerified)
      return CallRecord.Entry(call: call, isVerified: entry.isVerified)
    }
    let call = try makeCall(of: node)
    node.record.store(call, isVerified: false)
    return CallRecord.Entry(call: call, isVerified: false)
  }

  private func makeCall(of node: Node) throws(GraphError) -> OperatorCall {
    let op = node.op
    func error(_ reason: String) -> GraphError {
      GraphError(program: name, node: node.name, operatorName: op.name, reason: reason)
    }
    guard op.isKnown else {
      let reason =
        op.functionalName == nil
        ? "unknown operator"
        : "changes in place memory that the model owns or reads through another view; export it without in-place operators"
      throw error(reason + (node.modulePath.isEmpty ? "" : " (in module '\(node.modulePath)')"))
    }
    var arguments = CallArguments()
    arguments.reserveCapacity(node.arguments.count)
    var inputs: [TensorSpec] = []
    for parameter in op.schema.parameters {
      guard let operand = node.operand(parameter.name) else { continue }
      switch operand {
      case .value(let id):
        arguments[parameter.name] = .tensor(inputs.count)
        inputs.append(graph.spec(id))
      case .values(let ids):
        arguments[parameter.name] = .tensors(Array(inputs.count..<inputs.count + ids.count))
        inputs += ids.map(graph.spec)
      case .attribute(let attribute): arguments[parameter.name] = .attribute(attribute)
      }
    }
    for argument in node.arguments where arguments[argument.name] == nil {
      throw error("has no argument '\(argument.name)'")
    }
    return OperatorCall(
      op: op, node: node.name, arguments: arguments, inputs: inputs,
      constants: [Tensor?](repeating: nil, count: inputs.count), outputs: node.outputs.map(graph.spec))
  }

  /// The specs that a node's operator gives its outputs. With outputs of these specs the node is verified.
  ///
  /// Throws a `GraphError` when the operator refuses the call.
  package func inferOutputs(of node: Node) throws(GraphError) -> [TensorSpec] {
    let call = try recorded(node).call
    let specs: [TensorSpec]
    do { specs = try node.op.infer(call) } catch { throw GraphError(error, program: name) }
    node.record.store(call.with(outputs: specs), isVerified: true)
    return specs
  }
}

extension Node {
  /// Keeps a call that the node's operator has accepted, for a graph that is built call by call; `values` are the call's inputs.
  /// A call whose inputs stand in another order than the schema's, or that has arguments of its own, is left to the verifier.
  package func accept(_ call: OperatorCall, reading values: [ValueID]) {
    guard values == callInputs, arguments.allSatisfy({ op.schema.parameter(named: $0.name) != nil }) else { return }
    record.store(call.with(constants: [Tensor?](repeating: nil, count: values.count)), isVerified: true)
  }

  /// The values the node reads, in the order of `OperatorCall.inputs`: that of its operator's schema.
  package var callInputs: [ValueID] {
    guard op.isKnown else { return inputs }
    var position = 0
    for parameter in op.schema.parameters where position < arguments.count && arguments[position].name == parameter.name
    {
      position += 1
    }
    // Almost always the arguments stand in that order.
    guard position < arguments.count else { return inputs }
    return op.schema.parameters.flatMap { operand($0.name)?.valueIDs ?? [] }
  }
}
