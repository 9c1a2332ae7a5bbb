import DelegateSchema
import Operators
import ProgramFormat
import TensorCore
import XNNExecutor

/// A loaded program that owns its memory: one arena, the delegates' handles, and the kernels' scratch space.
///
/// Everything is checked, packed and planned in `init`; `execute` allocates nothing. One call at a time: a method is not
/// `Sendable`, and each thread that runs the program loads its own.
public final class Method {
  /// What runs an instruction.
  public enum Backend: String, Sendable, Codable {
    /// The system's XNNPACK, and the delegate's small kernels for what it lacks.
    case xnnpack
    /// The delegate's own int8 kernels, in XNNPACK's place.
    case native
    /// Our own kernels in Swift, which define the results.
    case portable
  }

  /// The threads that delegates run on.
  public var threadCount: Int { threads.threadCount }

  /// One instruction, and what runs it.
  public struct Operation: Sendable {
    /// The node of the lowered graph.
    public let node: String
    /// Its operator, `fused.conv2d`; of a delegated one the delegate's name for it.
    public let operatorName: String
    /// What runs it.
    public let backend: Backend
    /// Why it runs on a portable kernel; nil when it does not.
    public let reason: String?
    /// The nodes of the exported graph that it stands for.
    public let sourceNodes: [String]
  }

  struct Step {
    let kernel: PortableKernel?
    let delegated: DelegateOperator?
    /// Positions of this step's addresses in `addresses`.
    let inputs: Int
    let outputs: Int
  }

  /// With the sizes of the inputs that were set last.
  package internal(set) var program: Program
  /// What runs each instruction, in execution order.
  public internal(set) var operations: [Operation]
  let threads: ThreadPool
  let options: MethodOptions
  /// The program at the largest sizes of its ranges, where the arena is allocated for them.
  let bound: Program?
  var memory: MethodMemory
  var steps: [Step]
  /// The steps as `execute` walks them. Changed by `resize` alone, which a run cannot overlap.
  @exclusivity(unchecked) var walk: MethodWalk
  /// Constants the portable kernels read, aligned.
  var constants: [Int: Tensor]

  /// Loads a program: packs weights for the delegated nodes, prepares kernels for the others.
  ///
  /// A node that the executor refuses runs on its portable kernel; `operations` says why. The memory of a program with
  /// dynamic sizes is allocated for the largest in their ranges, where those are bounded and the machine has half of
  /// it; else it grows when it is needed. Throws a `ProgramError` when an instruction is not valid or memory is
  /// lacking.
  public init(
    _ program: Program, threads: ThreadPool, options: MethodOptions = MethodOptions()
  ) throws(ProgramError) {
    self.program = program
    self.threads = threads
    self.options = options
    var loading = try MethodLoader(program, options, threads)
    try loading.load()
    operations = loading.operations
    constants = loading.constants
    steps = loading.steps
    try MethodMemory.check(program, loading.scratchByteCount)
    bound = program.atUpperBound().flatMap { MethodMemory.isReasonable($0.arenaByteCount) ? $0 : nil }
    memory = MethodMemory(
      loading, of: program, arenaCapacity: max(program.arenaByteCount, bound?.arenaByteCount ?? 0), reusing: nil)
    walk = MethodWalk(steps, memory)
    try setUpDelegates()
  }

  /// Bytes of activations at the largest sizes in range; nil where sizes are fixed, or where memory grows when needed.
  package var largestArenaByteCount: Int? { bound?.arenaByteCount }

  /// Bytes of the arena, which holds the activations of `program` and of the same program at other sizes.
  package var arenaCapacity: Int { memory.arena.byteCount }

  /// Fixes the addresses of the delegates' operators.
  func setUpDelegates() throws(ProgramError) {
    for (step, operation) in zip(steps, operations) {
      guard let delegated = step.delegated else { continue }
      let status = UnsafeRawPointer(memory.addresses + step.inputs).withMemoryRebound(
        to: UnsafeRawPointer?.self, capacity: max(1, step.outputs - step.inputs)
      ) {
        xnx_operator_setup(
          delegated.handle, $0, memory.addresses[step.outputs], memory.scratch.base, threads.handle)
      }
      guard status == .XNX_OK else {
        throw ProgramError(program: program.name, place: operation.node, reason: status.explanation)
      }
    }
  }

  // MARK: Running

  /// Copies a tensor into the method's input, and resizes a method whose sizes may vary to the tensor's. Throws when
  /// the tensor's type is not the input's, or its shape not one that the input may have.
  ///
  /// An input that shares a size with a resized one must be set again: it is filled with zeros.
  public func setInput(_ index: Int, to tensor: Tensor) throws(ProgramError) {
    guard program.inputs.indices.contains(index) else {
      throw ProgramError(program: program.name, reason: "has no input \(index); it has \(program.inputs.count)")
    }
    if tensor.spec != program.values[program.inputs[index]].spec { try resize(input: index, to: tensor.spec) }
    guard case .arena(let offset) = program.values[program.inputs[index]].location else { return }
    tensor.withUnsafeBytes { memory.arena[offset, $0.count].copyMemory(from: $0) }
  }

  /// The bytes of an input at its present sizes, to be written; of an input that is a constant nothing happens. Throws
  /// when there is no such input.
  public func withInput<R>(
    _ index: Int, _ body: (UnsafeMutableRawBufferPointer) throws -> R
  ) throws -> R? {
    guard program.inputs.indices.contains(index) else {
      throw ProgramError(program: program.name, reason: "has no input \(index); it has \(program.inputs.count)")
    }
    let value = program.values[program.inputs[index]]
    guard case .arena(let offset) = value.location else { return nil }
    return try body(memory.arena[offset, value.spec.byteCount])
  }

  /// One inference on the inputs set before. Allocates nothing.
  public func execute() throws(ProgramError) {
    let walk = walk
    var index = 0
    while index < walk.count { index += try run(walk, from: index, limit: walk.count) }
  }

  /// One step.
  func run(_ index: Int) throws(ProgramError) { _ = try run(walk, from: index, limit: index + 1) }

  /// A portable kernel, or delegated steps as far as they stand together. Returns how many.
  @inline(__always)
  private func run(_ walk: MethodWalk, from index: Int, limit: Int) throws(ProgramError) -> Int {
    if let kernel = walk.kernels[index] {
      kernel._withUnsafeGuaranteedRef { $0.kernel.run(walk.buffers[index]) }
      return 1
    }
    var status = xnx_status.XNX_OK
    let count = xnx_operators_run(walk.operators + index, limit - index, &status)
    guard status == .XNX_OK else {
      throw ProgramError(program: program.name, place: operations[index + count].node, reason: status.explanation)
    }
    return count
  }

  /// The bytes of an output after `execute`, valid during `body`.
  public func withOutput<R>(_ index: Int, _ body: (TensorSpec, UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    let value = program.values[program.outputs[index]]
    switch value.location {
    case .arena(let offset):
      return try body(value.spec, UnsafeRawBufferPointer(memory.arena[offset, value.spec.byteCount]))
    case .constant(let tensor): return try tensor.withUnsafeBytes { bytes in try body(value.spec, bytes) }
    }
  }

  /// A copy of an output after `execute`.
  public func output(_ index: Int) -> Tensor {
    withOutput(index) { spec, bytes in Tensor(unsafeUninitialized: spec) { $0.copyMemory(from: bytes) } }
  }

  /// Sets all inputs, resizing the method to theirs where sizes may vary, executes, and copies all outputs. Throws when
  /// the inputs do not fit.
  public func run(_ inputs: [Tensor]) throws(ProgramError) -> [Tensor] {
    guard inputs.count == program.inputs.count else {
      throw ProgramError(program: program.name, reason: "takes \(program.inputs.count) inputs, not \(inputs.count)")
    }
    if program.dynamicSizes != nil { try resize(inputShapes: inputs.map(\.shape)) }
    for (index, tensor) in inputs.enumerated() { try setInput(index, to: tensor) }
    try execute()
    return program.outputs.indices.map(output)
  }

  // MARK: Accounting

  /// Delegated nodes, and the runs of consecutive instructions they form.
  public var delegated: (nodes: Int, subgraphs: Int) {
    var subgraphs = 0
    var previous: Backend = .portable
    for operation in operations {
      if operation.backend != .portable, previous == .portable { subgraphs += 1 }
      previous = operation.backend
    }
    return (operations.count { $0.backend != .portable }, subgraphs)
  }

  /// Bytes of packed weights that the delegates hold, without those that were given.
  package var packedWeightByteCount: Int {
    steps.reduce(0) { $0 + ($1.delegated.map { xnx_operator_packed_bytes($0.handle) } ?? 0) }
  }

  /// The packed weights of the delegate's own kernels, by the instruction's node: bytes for the same node of the same
  /// program on a processor of this kind (`MethodOptions.kernelBuild`).
  ///
  /// They are not copied, and outlive the method: in another method's `MethodOptions.packedWeights`, on any thread, they
  /// are shared. XNNPACK's operators hold their own, which cannot be shared.
  package var packedWeights: [String: Tensor] {
    var weights: [String: Tensor] = [:]
    for (step, operation) in zip(steps, operations) { weights[operation.node] = step.delegated?.packedWeights }
    return weights
  }
}
