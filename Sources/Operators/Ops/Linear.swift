import TensorCore

extension Operator {
  /// x · weightᵀ + bias, f32: input [..., K], weight [O, K], bias [O], output [..., O].
  ///
  /// The products are added one by one in the order of K, starting from the bias.
  static let linear = Operator("aten.linear.default(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor") {
    call throws(OperatorError) in
    let (input, weight) = (try call.floatTensor("input"), try call.floatTensor("weight"))
    try call.check(weight.shape.rank == 2, "'weight' must be [outputs, inputs], not \(weight.shape)")
    let (outputs, depth) = (weight.shape[0], weight.shape[1])
    try call.check(
      input.shape.dimensions.last == depth, "input \(input.shape) and weight \(weight.shape) differ in their last size")
    try call.check(
      (1...sizeLimit).contains(outputs) && (1...sizeLimit).contains(depth), "'weight' is empty: \(weight.shape)")
    _ = try call.optionalVector("bias", count: outputs)
    let shape = try call.checkedShape(input.shape.dimensions.dropLast() + [outputs])
    let rows = input.shape.elementCount / depth
    return KernelPlan(TensorSpec(.float32, shape)) { () throws(OperatorError) in
      let gemm = FloatGemm(groups: 1, outputsPerGroup: outputs, depth: depth, lower: -.infinity, upper: .infinity)
      let byteCount = try gemm.packedByteCount(call)
      let weights = try FusedWeights(call, byteCount: byteCount) { weights, bias, packed in
        gemm.pack(
          weights.assumingMemoryBound(to: Float.self), bias: bias?.assumingMemoryBound(to: Float.self), into: packed)
      }
      return PreparedKernel(scratchByteCount: weights.scratchByteCount) { buffers in
        gemm.multiply(
          buffers.input(input), rowCount: rows, rowStride: depth, packed: weights.pointer(buffers), group: 0,
          output: buffers.output(), outputStride: outputs)
      }
    }
  }
}
