import DelegateSchema
import Operators
import ProgramFormat
import TensorCore
import XNNExecutor

#if canImport(Glibc)
  import Glibc
#endif

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
    case portable
  }

  /// The threads that delegates run on.
  public var threadCount: Int { threads.threadCount }

  public struct Operation: Sendable {
    public let node: String
    public let operatorName: String
    public let backend: Backend
    /// Why it runs on a portable kernel; nil when it does not.
    public let reason: String?
    public let sourceNodes: [String]
  }

  struct Step {
    let kernel: PreparedKernel?
    let delegated: DelegateOperator?
    /// Positions of this step's addresses in `addresses`.
    let inputs: Int
    let outputs: Int
  }

  public let program: Program
  public let operations: [Operation]
  private let threads: ThreadPool
  /// Keeps packed weights that were given.
  private let options: MethodOptions
  private let arena: UnsafeMutableRawPointer
  private let scratch: UnsafeMutableRawPointer
  private let steps: [Step]
  private let addresses: UnsafeMutablePointer<UnsafeMutableRawPointer>
  /// Constants the portable kernels read, aligned.
  private let constants: [Int: Tensor]

  /// Loads a program: packs weights for the delegated nodes, prepares kernels for the others.
  ///
  /// A node that the executor refuses runs on its portable kernel; `operations` says why. Throws a `RuntimeError` when
  /// an instruction is not valid or memory is lacking.
  public init(
    _ program: Program, threads: ThreadPool, options: MethodOptions = MethodOptions()
  ) throws(RuntimeError) {
    self.program = program
    self.threads = threads
    self.options = options
    var loading = try MethodLoader(program, options)
    try loading.load()
    self.operations = loading.operations
    self.constants = loading.constants
    try Method.checkMemory(program, loading.scratchByteCount)
    arena = .allocate(byteCount: max(64, program.arenaByteCount), alignment: 64)
    scratch = .allocate(byteCount: max(64, loading.scratchByteCount), alignment: 64)
    addresses = .allocate(capacity: max(1, loading.slots.count))
    for (index, value) in loading.slots.enumerated() {
      let address: UnsafeMutableRawPointer
      switch program.values[value].location {
      case .arena(let offset): address = arena + offset
      case .constant(let tensor):
        let tensor = constants[value] ?? tensor
        address = tensor.storage.base + tensor.byteOffset
      }
      (addresses + index).initialize(to: address)
    }
    steps = loading.steps
    try setUpDelegates()
  }

  deinit {
    arena.deallocate()
    scratch.deallocate()
    addresses.deallocate()
  }

  /// An allocation that fails ends the process, so what a file asks for is compared with the machine first.
  private static func checkMemory(_ program: Program, _ scratchByteCount: Int) throws(RuntimeError) {
    let installed = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
    let needed = program.arenaByteCount.addingReportingOverflow(scratchByteCount)
    guard installed <= 0 || (!needed.overflow && needed.partialValue <= installed) else {
      throw RuntimeError(
        program: program.name,
        reason: "needs \(program.arenaByteCount) bytes for activations and \(scratchByteCount) for scratch;"
          + " the machine has \(installed)")
    }
  }

  private func setUpDelegates() throws(RuntimeError) {
    for (step, operation) in zip(steps, operations) {
      guard let delegated = step.delegated else { continue }
      let status = UnsafeRawPointer(addresses + step.inputs).withMemoryRebound(
        to: UnsafeRawPointer?.self, capacity: max(1, step.outputs - step.inputs)
      ) { xnx_operator_setup(delegated.handle, $0, addresses[step.outputs], threads.handle) }
      guard status == .XNX_OK else {
        throw RuntimeError(program: program.name, place: operation.node, reason: status.explanation)
      }
    }
  }

  // MARK: Running

  /// Copies a tensor into the method's input. Throws when its type or shape is not the input's.
  public func setInput(_ index: Int, to tensor: Tensor) throws(RuntimeError) {
    guard program.inputs.indices.contains(index) else {
      throw RuntimeError(program: program.name, reason: "has \(program.inputs.count) inputs, no input \(index)")
    }
    let value = program.values[program.inputs[index]]
    guard tensor.spec == value.spec else {
      throw RuntimeError(
        program: program.name, place: "input '\(value.name)'", reason: "must be \(value.spec), not \(tensor.spec)")
    }
    guard case .arena(let offset) = value.location else { return }
    tensor.withUnsafeBytes { bytes in
      UnsafeMutableRawBufferPointer(start: arena + offset, count: bytes.count).copyMemory(from: bytes)
    }
  }

  /// One inference on the inputs set before. Allocates nothing.
  public func execute() throws(RuntimeError) {
    for index in steps.indices { try run(index) }
  }

  @inline(__always)
  func run(_ index: Int) throws(RuntimeError) {
    let step = steps[index]
    if let delegated = step.delegated {
      let status = xnx_operator_run(delegated.handle, threads.handle)
      guard status == .XNX_OK else {
        throw RuntimeError(program: program.name, place: operations[index].node, reason: status.explanation)
      }
    } else if let kernel = step.kernel {
      let inputs = UnsafeRawPointer(addresses + step.inputs).assumingMemoryBound(to: UnsafeRawPointer.self)
      kernel.run(KernelBuffers(inputs: inputs, outputs: UnsafePointer(addresses + step.outputs), scratch: scratch))
    }
  }

  /// The bytes of an output after `execute`, valid during `body`.
  public func withOutput<R>(_ index: Int, _ body: (TensorSpec, UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    let value = program.values[program.outputs[index]]
    switch value.location {
    case .arena(let offset):
      return try body(value.spec, UnsafeRawBufferPointer(start: arena + offset, count: value.spec.byteCount))
    case .constant(let tensor): return try tensor.withUnsafeBytes { bytes in try body(value.spec, bytes) }
    }
  }

  /// A copy of an output after `execute`.
  public func output(_ index: Int) -> Tensor {
    withOutput(index) { spec, bytes in Tensor(unsafeUninitialized: spec) { $0.copyMemory(from: bytes) } }
  }

  /// Sets all inputs, executes, and copies all outputs. Throws when the inputs do not fit.
  public func run(_ inputs: [Tensor]) throws(RuntimeError) -> [Tensor] {
    guard inputs.count == program.inputs.count else {
      throw RuntimeError(program: program.name, reason: "takes \(program.inputs.count) inputs, not \(inputs.count)")
    }
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

  /// Bytes of packed weights that the delegates hold.
  public var packedWeightByteCount: Int {
    steps.reduce(0) { $0 + ($1.delegated.map { xnx_operator_packed_bytes($0.handle) } ?? 0) }
  }

  /// The packed weights of the delegate's own kernels, by the instruction's node: bytes for the same node of the same
  /// program on a processor of this kind (`MethodOptions.kernelBuild`).
  public func packedWeights() -> [(node: String, weights: Tensor)] {
    zip(steps, operations).compactMap { step, operation in
      step.delegated?.packedWeights().map { (operation.node, $0) }
    }
  }
}
