import GraphIR
import Lowering
import Operators
import ProgramFormat
import TensorCore

/// Turns a scheduled graph into an execution plan: runs of delegated steps into delegates, the others into kernel calls.
struct PlanWriter {
  /// An instruction of the plan, by the graph's values.
  private enum Call {
    case delegate(index: Int, arguments: [ValueID])
    case kernel(KernelRow, Node, OperatorCall)

    /// What must be in memory while it runs.
    var values: [ValueID] {
      switch self {
      case .delegate(_, let arguments): arguments
      case .kernel(_, let node, _): node.inputs + node.outputs
      }
    }
  }

  let program: ExportedProgram
  private let schedule: Schedule
  private let tensors: [ValueID: Tensor]
  /// Steps of each delegate.
  private(set) var delegates: [[Schedule.Step]] = []
  private(set) var blobs: [XNNGraphWriter.Blob] = []
  private(set) var portable: [PTEReport.Portable] = []
  /// The portable kernels' constants, in the order of their numbers, which start at 1.
  private(set) var constants: [Tensor] = []
  private var calls: [Call] = []

  private let varying: VaryingSizes

  init(_ program: ExportedProgram, _ schedule: Schedule, _ varying: VaryingSizes) {
    self.program = program
    self.varying = varying
    self.schedule = schedule
    tensors = program.storedConstants()
  }

  mutating func run() throws(GraphError) {
    var index = 0
    let steps = schedule.steps
    while index < steps.count {
      var end = index
      while end < steps.count, steps[end].reason == nil { end += 1 }
      let group = Array(steps[index..<end])
      // A few views are not worth a delegate.
      let isWorthwhile = !group.allSatisfy { $0.node.op == .fusedView }
      if !group.isEmpty, isWorthwhile {
        try addDelegate(group)
      } else {
        for step in group { try addKernel(step) }
      }
      if end < steps.count { try addKernel(steps[end]) }
      index = end + 1
    }
    numberConstants()
  }

  // MARK: Delegates

  private mutating func addDelegate(_ steps: [Schedule.Step]) throws(GraphError) {
    let inside = Set(steps.flatMap(\.node.outputs))
    var inputs: [ValueID] = []
    for step in steps {
      let packed = PlanWriter.packedConstants(step.node)
      for id in step.node.inputs where !inside.contains(id) && !inputs.contains(id) {
        if tensors[id] == nil || !packed.contains(id) { inputs.append(id) }
      }
    }
    let names = Set(steps.map(\.node.name))
    var read = Set(program.graph.outputs)
    for node in program.graph.nodes where !names.contains(node.name) { read.formUnion(node.inputs) }
    let outputs = steps.flatMap(\.node.outputs).filter(read.contains)
    var writer = XNNGraphWriter(program, tensors, inputs: inputs, outputs: outputs, varying: varying)
    for step in steps {
      guard let row = DelegateRow.byOperator[step.node.op] else { continue }
      do { try row.write(&writer, step.node, step.call) } catch { throw GraphError(error, program: program.name) }
    }
    calls.append(.delegate(index: delegates.count, arguments: inputs + outputs))
    delegates.append(steps)
    blobs.append(writer.finish())
  }

  /// The constants that the delegate packs when it is loaded. ExecuTorch frees its bytes afterwards, so that others, which
  /// are read at each run, have to be the program's.
  private static func packedConstants(_ node: Node) -> Set<ValueID> {
    let products: Set<Operator> = [.matmul, .mm]
    let names = node.op.layer != nil ? ["weight", "bias"] : products.contains(node.op) ? ["other", "mat2"] : []
    return Set(names.compactMap(node.value))
  }

  // MARK: Kernels

  private mutating func addKernel(_ step: Schedule.Step) throws(GraphError) {
    func refused(_ reason: String) -> GraphError {
      GraphError(
        program: program.name, node: step.node.name, operatorName: step.node.op.name,
        reason: "\(reason) (\(step.reason ?? "a view"))")
    }
    guard let row = KernelRow.byOperator[step.node.op] else {
      throw refused("ExecuTorch has neither a delegated nor a portable operator for it")
    }
    for id in step.node.inputs + step.node.outputs where program.graph.spec(id).quantization != nil {
      guard step.node.op.has(.movesElements) else {
        throw refused("'\(program.graph[id].name)' is int8, which ExecuTorch's kernel takes for integers")
      }
    }
    portable.append(.init(node: step.node.name, kernel: row.kernel.qualified, reason: step.reason ?? "it is a view"))
    calls.append(.kernel(row, step.node, step.call))
  }

  private var constantNumbers: [ValueID: Int] = [:]

  private mutating func numberConstants() {
    for call in calls {
      for id in call.values {
        guard let tensor = tensors[id], constantNumbers[id] == nil else { continue }
        constants.append(tensor)
        constantNumbers[id] = constants.count
      }
    }
    for id in program.graph.outputs where tensors[id] != nil && constantNumbers[id] == nil {
      constants.append(tensors[id]!)
      constantNumbers[id] = constants.count
    }
  }

  // MARK: The plan's FlatBuffer

  /// Bytes past a tensor's end that XNNPACK may read.
  private static let padding = 16

  /// Offsets of computed values in the plan's one buffer, its size, and the least that it could be.
  func planMemory() -> (offsets: [ValueID: Int], size: Int, lowerBound: Int) {
    var lifetimes: [ValueID: ClosedRange<Int>] = [:]
    func extend(_ id: ValueID, to position: Int) {
      guard tensors[id] == nil else { return }
      let known = lifetimes[id] ?? position...position
      lifetimes[id] = min(known.lowerBound, position)...max(known.upperBound, position)
    }
    for id in program.userInputs { extend(id, to: -1) }
    for (position, call) in calls.enumerated() { for id in call.values { extend(id, to: position) } }
    for id in program.graph.outputs { extend(id, to: calls.count) }
    let ids = lifetimes.keys.sorted()
    let planner = MemoryPlanner(
      ids.map { .init(byteCount: program.graph.spec($0).byteCount, lifetime: lifetimes[$0]!) },
      padding: PlanWriter.padding)
    return (Dictionary(uniqueKeysWithValues: zip(ids, planner.offsets)), planner.arenaByteCount, planner.lowerBound)
  }

  func plan(
    _ flat: inout FlatBufferBuilder, _ memory: (offsets: [ValueID: Int], size: Int, lowerBound: Int)
  ) throws(GraphError) -> FlatBufferBuilder.Reference {
    var values = PlanValues(program, constantNumbers, memory.offsets, byteCount: memory.size, varying: varying)
    let inputs = program.userInputs.map { values.index(of: $0, &flat) }
    var operators: [ExecutionPlan.Operator] = []
    var instructions: [FlatBufferBuilder.Reference] = []
    for call in calls {
      let arguments: [Int32]
      let (kind, target): (UInt8, Int)
      switch call {
      case .delegate(let index, let ids):
        arguments = ids.map { values.index(of: $0, &flat) }
        (kind, target) = (2, index)
      case .kernel(let row, let node, let operatorCall):
        do { arguments = try values.arguments(row, node, operatorCall, &flat) } catch {
          throw GraphError(error, program: program.name)
        }
        if !operators.contains(row.kernel) { operators.append(row.kernel) }
        (kind, target) = (1, operators.firstIndex(of: row.kernel)!)
      }
      let list = flat.vector(arguments)
      let body = flat.table([.int(0, Int32(target)), .reference(1, list)])
      instructions.append(flat.table([.int(0, kind), .reference(1, body)]))
    }
    let outputs = program.graph.outputs.map { values.index(of: $0, &flat) }
    return finishPlan(&flat, values, inputs, outputs, operators, instructions, memory.size + values.unreadByteCount)
  }

  private func finishPlan(
    _ flat: inout FlatBufferBuilder, _ values: PlanValues, _ inputs: [Int32], _ outputs: [Int32],
    _ operators: [ExecutionPlan.Operator], _ instructions: [FlatBufferBuilder.Reference], _ arenaSize: Int
  ) -> FlatBufferBuilder.Reference {
    let operatorTables = operators.map { kernel in
      let (name, overload) = (flat.string(kernel.name), flat.string(kernel.overload))
      return flat.table([.reference(0, name), .reference(1, overload)])
    }
    let delegateTables = delegates.indices.map { index in
      let id = flat.string(PTEArchive.backendName)
      let data = flat.table([.int(0, Int8(1)), .int(1, UInt32(1 + index))])
      let specs = flat.vector([FlatBufferBuilder.Reference]())
      return flat.table([.reference(0, id), .reference(1, data), .reference(2, specs)])
    }
    let none = flat.vector([Int32]())
    let steps = flat.vector(instructions)
    let chain = flat.table([.reference(0, none), .reference(1, none), .reference(2, steps)])
    let (inputTree, outputTree) = (
      flat.string(PlanWriter.tree(inputs.count, isInput: true)),
      flat.string(PlanWriter.tree(outputs.count, isInput: false))
    )
    let trees = flat.table([.reference(0, inputTree), .reference(1, outputTree)])
    // Buffer 0 stands for the constants.
    let sizes = flat.vector([Int64(0), Int64(arenaSize)])
    let name = flat.string("forward")
    let fields: [FlatBufferBuilder.Field] = [
      .reference(0, name), .reference(1, trees), .reference(2, flat.vector(values.tables)),
      .reference(3, flat.vector(inputs)), .reference(4, flat.vector(outputs)), .reference(5, flat.vector([chain])),
      .reference(6, flat.vector(operatorTables)), .reference(7, flat.vector(delegateTables)), .reference(8, sizes),
    ]
    return flat.table(fields)
  }

  /// PyTorch's pytree spec, version 1: a tuple of inputs with no keywords, or the result or a tuple of results.
  private static func tree(_ count: Int, isInput: Bool) -> String {
    let leaf = #"{"type": null, "context": null, "children_spec": []}"#
    func node(_ type: String, _ context: String, _ children: [String]) -> String {
      #"{"type": "builtins.\#(type)", "context": "\#(context)", "children_spec": [\#(children.joined(separator: ", "))]}"#
    }
    let leaves = [String](repeating: leaf, count: count)
    if isInput { return "[1, \(node("tuple", "null", [node("tuple", "null", leaves), node("dict", "[]", [])]))]" }
    return "[1, \(count == 1 ? leaf : node("tuple", "null", leaves))]"
  }
}
