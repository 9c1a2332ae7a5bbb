import TensorCore

extension Operator {
  /// Prepares and runs one call, allocating its outputs. `call.outputs` may be empty: they are inferred then.
  ///
  /// Throws an `OperatorError` when the call is not valid or `inputs` do not match its specs.
  public func execute(_ call: OperatorCall, inputs: [Tensor]) throws(OperatorError) -> [Tensor] {
    var call = call
    if call.outputs.isEmpty {
      call = call.with(outputs: try infer(call))
    }
    try call.check(inputs.map(\.spec) == call.inputs, "the tensors do not match the call's specs")
    let outputs = call.outputs.map { spec in Tensor(unsafeUninitialized: spec) { _ in } }
    try prepare(call).run(inputs: inputs.map { $0.aligned() }, outputs: outputs)
    return outputs
  }
}

extension PreparedKernel {
  /// Runs on tensors; the outputs must be freshly allocated ones.
  package func run(inputs: [Tensor], outputs: [Tensor]) {
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: max(scratchByteCount, 1), alignment: 64)
    defer { scratch.deallocate() }
    // A kernel without inputs gets a pointer too; it never reads through it.
    let sources = inputs.map { UnsafeRawPointer($0.storage.base + $0.byteOffset) } + [UnsafeRawPointer(scratch)]
    let targets = outputs.map { $0.storage.base + $0.byteOffset }
    sources.withUnsafeBufferPointer { sources in
      targets.withUnsafeBufferPointer { targets in
        run(KernelBuffers(inputs: sources.baseAddress!, outputs: targets.baseAddress!, scratch: scratch))
      }
    }
    withExtendedLifetime((inputs, outputs)) {}
  }
}
