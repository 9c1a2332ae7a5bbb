import TensorCore

extension Operator {
  /// The int8 form of an f32 operator whose arithmetic is real by nature: int8 operands are dequantized, the f32 kernel
  /// runs, its result is quantized with the output's parameters. So it gives what the Q/DQ graph does, to the bit.
  ///
  /// Activations are contiguous and int8 with parameters of their own; other tensors (weights) are handed on as they are.
  /// `infer` leaves the output's quantization parameters open.
  ///
  /// - Parameter schema: a name of its own, in a namespace of your choice, and the f32 operator's parameters.
  public convenience init(int8Form schema: String, of float: Operator) {
    self.init(
      schema, traits: .fused,
      infer: { call throws(OperatorError) in
        let real = try call.dequantized(float)
        do throws(OperatorError) { return try float.infer(real).map { TensorSpec(.int8, $0.shape) } } catch {
          throw call.error(error.reason)
        }
      },
      prepare: { call throws(OperatorError) in
        let output = try call.output()
        let parameters = try call.int8Parameters(output, "output")
        let real = try call.dequantized(float)
        let kernel: PreparedKernel
        do throws(OperatorError) { kernel = try float.prepare(real) } catch { throw call.error(error.reason) }
        return try ThroughFloat(call, kernel, parameters).prepared()
      })
  }
}

extension OperatorCall {
  /// The call with float32 in place of int8.
  fileprivate func dequantized(_ float: Operator) throws(OperatorError) -> OperatorCall {
    var specs = inputs
    for (index, spec) in inputs.enumerated() where spec.dataType == .int8 {
      try check(spec.dimOrder == .contiguous, "operand \(index) must be contiguous, not \(spec)")
      _ = try int8Parameters(spec, "operand \(index)")
      specs[index] = TensorSpec(.float32, spec.shape)
    }
    try check(specs != inputs, "it has no int8 operand")
    return OperatorCall(
      op: float, node: node, arguments: arguments, inputs: specs, constants: constants,
      outputs: outputs.map { TensorSpec(.float32, $0.shape, dimOrder: $0.dimOrder) })
  }
}

/// A validated call: where each int8 operand's reals lie in the scratch memory.
private struct ThroughFloat: Sendable {
  private struct Operand: Sendable {
    let parameters: Int8Parameters
    let count: Int
    /// Bytes from the start of the scratch memory.
    let offset: Int
  }

  private let kernel: PreparedKernel
  private let output: Int8Parameters
  private let operands: [Operand?]
  private let count: Int
  private let outputOffset: Int
  private let scratchByteCount: Int

  init(_ call: OperatorCall, _ kernel: PreparedKernel, _ output: Int8Parameters) throws(OperatorError) {
    var offset = (kernel.scratchByteCount + 63) / 64 * 64
    func reserve(_ count: Int) throws(OperatorError) -> Int {
      try call.check(count <= sizeLimit + 1, "an operand of \(count) elements is too large")
      defer { offset += (count * 4 + Storage.padding + 63) / 64 * 64 }
      return offset
    }
    var operands: [Operand?] = []
    for (index, spec) in call.inputs.enumerated() {
      guard spec.dataType == .int8 else {
        operands.append(nil)
        continue
      }
      let parameters = try call.int8Parameters(spec, "operand \(index)")
      let count = spec.shape.elementCount
      operands.append(Operand(parameters: parameters, count: count, offset: try reserve(count)))
    }
    self.operands = operands
    count = try call.output().shape.elementCount
    outputOffset = try reserve(count)
    scratchByteCount = offset
    (self.kernel, self.output) = (kernel, output)
  }

  func prepared() -> PreparedKernel { PreparedKernel(scratchByteCount: scratchByteCount) { run($0) } }

  private func run(_ buffers: KernelBuffers) {
    withUnsafeTemporaryAllocation(of: UnsafeRawPointer.self, capacity: max(operands.count, 1)) { inputs in
      for (index, operand) in operands.enumerated() {
        guard let operand else {
          inputs.initializeElement(at: index, to: buffers.inputs[index])
          continue
        }
        let reals = (buffers.scratch + operand.offset).assumingMemoryBound(to: Float.self)
        dequantize(
          buffers.input(index, as: Int8.self), count: operand.count, scale: operand.parameters.scale,
          zeroPoint: Float(operand.parameters.zeroPoint), to: reals)
        inputs.initializeElement(at: index, to: UnsafeRawPointer(reals))
      }
      var target = buffers.scratch + outputOffset
      withUnsafePointer(to: &target) { outputs in
        kernel.run(KernelBuffers(inputs: inputs.baseAddress!, outputs: outputs, scratch: buffers.scratch))
      }
      let (reals, quanta) = (target.assumingMemoryBound(to: Float.self), buffers.output(as: Int8.self))
      let inverse = output.inverseScale
      for i in 0..<count { quanta[i] = output.quantize(reals[i], inverse: inverse) }
    }
  }
}
