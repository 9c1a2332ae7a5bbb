import Operators

/// A prepared kernel that is reached through a pointer.
final class PortableKernel {
  let kernel: PreparedKernel

  init(_ kernel: PreparedKernel) { self.kernel = kernel }
}

/// The steps of a method as flat memory, so that running one counts no references and looks nothing up.
///
/// Does not keep the steps and the memory that it points to: the method does.
final class MethodWalk {
  let count: Int
  /// Nil where a portable kernel runs the step.
  let operators: UnsafeMutablePointer<OpaquePointer?>
  /// Nil where the delegate runs the step.
  let kernels: UnsafeMutablePointer<Unmanaged<PortableKernel>?>
  /// Of the steps on portable kernels.
  let buffers: UnsafeMutablePointer<KernelBuffers>

  init(_ steps: [Method.Step], _ memory: MethodMemory) {
    count = steps.count
    operators = .allocate(capacity: max(1, count))
    kernels = .allocate(capacity: max(1, count))
    buffers = .allocate(capacity: max(1, count))
    for (index, step) in steps.enumerated() {
      (operators + index).initialize(to: step.delegated?.handle)
      (kernels + index).initialize(to: step.kernel.map(Unmanaged.passUnretained))
      (buffers + index).initialize(
        to: KernelBuffers(
          inputs: UnsafeRawPointer(memory.addresses + step.inputs).assumingMemoryBound(to: UnsafeRawPointer.self),
          outputs: UnsafePointer(memory.addresses + step.outputs), scratch: memory.scratch.base))
    }
  }

  deinit {
    operators.deallocate()
    kernels.deallocate()
    buffers.deallocate()
  }
}
