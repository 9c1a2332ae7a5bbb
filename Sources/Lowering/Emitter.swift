import GraphIR
import Operators
import ProgramFormat
import SymbolicSizes
import TensorCore

/// Turns a scheduled graph into a program: the value table, the memory plan, instructions and delegates.
struct Emitter {
  private let source: ExportedProgram
  private let schedule: Schedule
  private let partitioner: (any Partitioner)?
  private let constants: [ValueID: Tensor]
  /// Values that share memory with another one: a view and what it views.
  private var owner: [ValueID: ValueID] = [:]

  init(_ source: ExportedProgram, _ schedule: Schedule, _ partitioner: (any Partitioner)?) {
    self.source = source
    self.schedule = schedule
    self.partitioner = partitioner
    self.constants = source.storedConstants()
    for step in schedule.steps where step.isView {
      let viewed = step.node.inputs[0]
      owner[step.node.output] = owner[viewed] ?? viewed
    }
  }

  func emit() throws(GraphError) -> Program {
    let (values, index) = valueTable()
    var instructions: [Program.Instruction] = []
    var delegates: [Program.Delegate] = []
    var encoded: [UInt8] = []
    var nodeCount = 0
    func closeDelegate() {
      guard nodeCount > 0, let partitioner else { return }
      delegates.append(.init(backend: partitioner.backend, nodeCount: nodeCount, processed: encoded))
      encoded = []
      nodeCount = 0
    }
    for step in schedule.steps where !step.isView {
      let inputs = step.node.callInputs.map { index[$0]! }
      let outputs = step.node.outputs.map { index[$0]! }
      var delegateCall: Program.DelegateCall?
      if step.reason == nil, let partitioner {
        do { encoded += try partitioner.encode(step.delegatedCall, inputs: inputs, outputs: outputs) } catch {
          throw GraphError(error, program: source.name)
        }
        delegateCall = .init(delegate: delegates.count, node: nodeCount)
        nodeCount += 1
      } else {
        closeDelegate()
      }
      let sources = step.node.metadata["source_nodes"]?.split(separator: ",").map(String.init) ?? []
      instructions.append(
        .init(
          node: step.node.name, op: step.node.op, arguments: step.call.arguments, inputs: inputs,
          outputs: outputs, delegateCall: delegateCall, reason: step.reason, sourceNodes: sources,
          isInPlace: isInPlace(step)))
    }
    closeDelegate()
    return Program(
      name: source.name, values: values, inputs: source.userInputs.map { index[$0]! },
      outputs: source.graph.outputs.map { index[$0]! }, instructions: instructions, delegates: delegates,
      arenaByteCount: 0, dynamicSizes: dynamicSizes(values, instructions)
    ).planned()
  }

  /// An optional first tensor that is absent is none whose place the output could take.
  private func isInPlace(_ step: Schedule.Step) -> Bool {
    let op = step.node.op
    guard op.has(.inPlace) else { return false }
    return op.schema.parameters[0].kind != .optionalTensor || step.node.value(op.schema.parameters[0].name) != nil
  }

  /// Gives every value its index; places in the arena are planned later.
  private func valueTable() -> (values: [Program.Value], index: [ValueID: Int]) {
    let graph = source.graph
    var values: [Program.Value] = []
    var index: [ValueID: Int] = [:]
    let all = graph.inputs + schedule.steps.flatMap(\.node.outputs)
    for id in all where index[id] == nil {
      let tensor = constants[owner[id] ?? id]?.reinterpreted(as: graph.spec(id))
      index[id] = values.count
      values.append(
        .init(
          name: graph[id].name, spec: graph.spec(id), location: tensor.map { .constant($0) } ?? .arena(0),
          owner: owner[id].flatMap { index[$0] }))
    }
    return (values, index)
  }

  private func dynamicSizes(
    _ values: [Program.Value], _ instructions: [Program.Instruction]
  ) -> Program.DynamicSizes? {
    guard let shapes = source.dynamicShapes else { return nil }
    var sizes: [Int: [SymbolicSize]] = [:]
    for (index, value) in values.enumerated() { sizes[index] = shapes.symbolicSizes(of: value.name) }
    var arguments: [Int: [String: [SymbolicSize]]] = [:]
    for (index, instruction) in instructions.enumerated() { arguments[index] = shapes.arguments[instruction.node] }
    return Program.DynamicSizes(
      rangeConstraints: shapes.rangeConstraints, symbols: shapes.hints, sizes: sizes, arguments: arguments)
  }
}
