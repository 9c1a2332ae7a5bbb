import GraphIR
import Operators
import ProgramFormat
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
    let (values, index, arenaByteCount) = plan()
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
      let inputs = source.callInputs(of: step.node).map { index[$0]! }
      let outputs = step.node.outputs.map { index[$0]! }
      var delegateCall: Program.DelegateCall?
      if step.reason == nil, let partitioner {
        do { encoded += try partitioner.encode(step.call, inputs: inputs, outputs: outputs) } catch {
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
          node: step.node.name, operatorName: step.node.operatorName, arguments: step.call.arguments, inputs: inputs,
          outputs: outputs, delegateCall: delegateCall, reason: step.reason, sourceNodes: sources))
    }
    closeDelegate()
    return Program(
      name: source.name, values: values, inputs: source.userInputs.map { index[$0]! },
      outputs: source.graph.outputs.map { index[$0]! }, instructions: instructions, delegates: delegates,
      arenaByteCount: arenaByteCount)
  }

  /// Gives every value its index and place.
  private func plan() -> (values: [Program.Value], index: [ValueID: Int], arenaByteCount: Int) {
    let graph = source.graph
    var lifetimes: [ValueID: ClosedRange<Int>] = [:]
    func extend(_ id: ValueID, to step: Int) {
      let key = owner[id] ?? id
      let known = lifetimes[key] ?? step...step
      lifetimes[key] = min(known.lowerBound, step)...max(known.upperBound, step)
    }
    let end = schedule.steps.count
    // Inputs stay to the end, so that a method can run again on the input it was given.
    for id in source.userInputs {
      extend(id, to: -1)
      extend(id, to: end)
    }
    for (position, step) in schedule.steps.enumerated() {
      for id in step.node.inputs + step.node.outputs where constants[id] == nil { extend(id, to: position) }
    }
    for id in graph.outputs where constants[id] == nil { extend(id, to: end) }
    let owners = lifetimes.keys.sorted()
    let planner = MemoryPlanner(
      owners.map { .init(byteCount: graph.spec($0).byteCount, lifetime: lifetimes[$0]!) }, padding: Storage.padding)
    let offsets = Dictionary(uniqueKeysWithValues: zip(owners, planner.offsets))

    var values: [Program.Value] = []
    var index: [ValueID: Int] = [:]
    let all = graph.inputs + schedule.steps.flatMap(\.node.outputs)
    for id in all where index[id] == nil {
      let location: Program.Location
      if let tensor = constants[owner[id] ?? id] {
        location = .constant(tensor.reinterpreted(as: graph.spec(id)))
      } else {
        location = .arena(offsets[owner[id] ?? id] ?? 0)
      }
      index[id] = values.count
      values.append(.init(name: graph[id].name, spec: graph.spec(id), location: location))
    }
    return (values, index, planner.arenaByteCount)
  }
}
