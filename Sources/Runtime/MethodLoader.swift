import DelegateSchema
import Operators
import ProgramFormat
import TensorCore

/// Builds the steps of a method: validates every instruction, creates delegates or gives them other sizes, prepares
/// kernels.
struct MethodLoader {
  private let program: Program
  private(set) var steps: [Method.Step] = []
  private(set) var operations: [Method.Operation] = []
  /// Value indices whose addresses the steps use, in the order of `Method.Step.inputs` and `outputs`.
  private(set) var slots: [Int] = []
  private(set) var scratchByteCount = 0
  private(set) var constants: [Int: Tensor]

  private let options: MethodOptions
  private let threads: ThreadPool
  /// The operators that the method has, by instruction; empty for a new method.
  private let operators: [DelegateOperator?]

  /// - Parameters:
  ///   - operators: of the same program at other sizes; they are resized, the packed weights stay.
  ///   - constants: that the portable kernels of that program read.
  init(
    _ program: Program, _ options: MethodOptions, _ threads: ThreadPool, operators: [DelegateOperator?] = [],
    constants: [Int: Tensor] = [:]
  ) throws(ProgramError) {
    self.program = program
    self.options = options
    self.threads = threads
    self.operators = operators
    self.constants = constants
    for value in program.values {
      guard case .arena(let offset) = value.location else { continue }
      guard offset >= 0, offset % 64 == 0, offset <= program.arenaByteCount - value.spec.byteCount else {
        throw ProgramError(
          program: program.name, place: "value '\(value.name)'",
          reason: "lies at \(offset), outside the arena of \(program.arenaByteCount) bytes")
      }
    }
    for value in program.values {
      guard let owner = value.owner else { continue }
      guard program.values.indices.contains(owner), program.values[owner].spec.byteCount == value.spec.byteCount else {
        throw ProgramError(
          program: program.name, place: "value '\(value.name)'",
          reason: "is a view (\(value.spec)) of a value of another size")
      }
    }
    let all = program.inputs + program.outputs + program.instructions.flatMap { $0.inputs + $0.outputs }
    if let bad = all.first(where: { !program.values.indices.contains($0) }) {
      throw ProgramError(
        program: program.name, reason: "refers to value \(bad), but has only \(program.values.count) values")
    }
  }

  mutating func load() throws(ProgramError) {
    let loader = DelegateLoader(program, threads)
    defer { loader.deallocate() }
    var nodes: [[ds_node]] = []
    for delegate in program.delegates { nodes.append(try loader.nodes(of: delegate)) }
    for (index, instruction) in program.instructions.enumerated() {
      var reason = instruction.reason
      if let call = instruction.delegateCall {
        guard nodes.indices.contains(call.delegate), nodes[call.delegate].indices.contains(call.node) else {
          throw ProgramError(
            program: program.name, place: instruction.node, reason: "refers to a delegate node that does not exist")
        }
        let node = nodes[call.delegate][call.node]
        if operators.indices.contains(index), let known = operators[index], loader.resize(known, node) {
          append(known, instruction)
          continue
        }
        switch loader.load(node, kernels: options.kernels, packed: options.packedWeights[instruction.node]) {
        case .success(let delegated):
          append(delegated, instruction)
          releaseConstants(of: instruction)
          continue
        case .failure(let refusal): reason = refusal.reason
        }
      }
      try appendKernel(instruction, reason: reason ?? "not delegated")
    }
  }

  /// The operator has packed its weights: those of a mapped file need not stay in memory.
  private func releaseConstants(of instruction: Program.Instruction) {
    for index in instruction.inputs {
      guard case .constant(let tensor) = program.values[index].location else { continue }
      tensor.storage.releasePages(tensor.byteOffset..<tensor.byteOffset + tensor.spec.byteCount)
    }
  }

  /// A delegated step is given the addresses of its activations only.
  private mutating func append(_ delegated: DelegateOperator, _ instruction: Program.Instruction) {
    let activations = instruction.inputs.filter { program.values[$0].isActivation }
    scratchByteCount = max(scratchByteCount, delegated.scratchByteCount)
    steps.append(
      Method.Step(
        kernel: nil, delegated: delegated, inputs: slots.count, outputs: slots.count + activations.count))
    slots += activations + instruction.outputs
    operations.append(
      .init(
        node: instruction.node, operatorName: instruction.op.name,
        backend: delegated.isNative ? .native : .xnnpack, reason: nil, sourceNodes: instruction.sourceNodes))
  }

  private static func checkOutputs(of call: OperatorCall, _ op: Operator) throws(OperatorError) {
    let asked = OperatorCall(
      op: call.op, node: call.node, arguments: call.arguments, inputs: call.inputs, constants: call.constants)
    let shapes = try op.infer(asked).map(\.shape)
    try call.check(
      shapes == call.outputs.map(\.shape), "gives \(shapes), but is to give \(call.outputs.map(\.shape))")
  }

  private mutating func appendKernel(_ instruction: Program.Instruction, reason: String) throws(ProgramError) {
    let op = instruction.op
    guard op.isKnown else {
      throw ProgramError(
        program: program.name, place: instruction.node, reason: "the operator \(op) is unknown")
    }
    var tensors: [Tensor?] = []
    for index in instruction.inputs {
      if case .constant(let tensor) = program.values[index].location {
        constants[index] = constants[index] ?? tensor.aligned()
      }
      tensors.append(constants[index])
    }
    let call = OperatorCall(
      op: op, node: instruction.node, arguments: instruction.arguments,
      inputs: instruction.inputs.map { program.values[$0].spec }, constants: tensors,
      outputs: instruction.outputs.map { program.values[$0].spec })
    let kernel: PreparedKernel
    do {
      // Rules have given the sizes, not the operator.
      if program.dynamicSizes != nil { try MethodLoader.checkOutputs(of: call, op) }
      kernel = try op.prepare(call)
    } catch {
      throw ProgramError(program: program.name, place: instruction.node, reason: error.description)
    }
    scratchByteCount = max(scratchByteCount, kernel.scratchByteCount)
    steps.append(
      Method.Step(
        kernel: PortableKernel(kernel), delegated: nil, inputs: slots.count,
        outputs: slots.count + instruction.inputs.count))
    slots += instruction.inputs + instruction.outputs
    operations.append(
      .init(
        node: instruction.node, operatorName: instruction.op.name, backend: .portable, reason: reason,
        sourceNodes: instruction.sourceNodes))
  }
}
