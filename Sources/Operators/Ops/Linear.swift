import TensorCore

extension Operator {
  /// x · weightᵀ + bias, f32 or int32 (wrapping): input [..., K], weight [O, K], bias [O], output [..., O].
  ///
  /// The products are added one by one in the order of K, starting from the bias.
  public static let linear = Operator(
    "aten.linear.default(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor", layer: .linear
  ) {
    call throws(OperatorError) in
    let isInteger = try call.spec("input").dataType == .int32
    let input = try isInteger ? call.tensor("input") : call.floatTensor("input")
    let weight = try call.tensor("weight")
    try call.check(
      weight.dataType == input.dataType, "'weight' must be \(input.dataType) like 'input', not \(weight.dataType)")
    try call.check(weight.shape.rank == 2, "'weight' must be [outputs, inputs], not \(weight.shape)")
    let (outputs, depth) = (weight.shape[0], weight.shape[1])
    try call.check(
      input.shape.dimensions.last == depth, "input \(input.shape) and weight \(weight.shape) differ in their last size")
    try call.check(
      (1...sizeLimit).contains(outputs) && (1...sizeLimit).contains(depth), "'weight' is empty: \(weight.shape)")
    let bias = try call.optionalVector("bias", count: outputs, input.dataType)
    let shape = try call.checkedShape(input.shape.dimensions.dropLast() + [outputs])
    let rows = input.shape.elementCount / depth
    return KernelPlan(TensorSpec(input.dataType, shape)) { () throws(OperatorError) in
      if isInteger {
        return PreparedKernel { buffers in
          integerLinear(
            buffers.input(input), rows: rows, depth: depth, weights: buffers.input(weight),
            bias: bias.map { buffers.input($0) }, outputs: outputs, buffers.output())
        }
      }
      let gemm = FloatGemm(groups: 1, outputsPerGroup: outputs, depth: depth, lower: -.infinity, upper: .infinity)
      let byteCount = try gemm.packedByteCount(call)
      let weights = try FusedWeights(call, byteCount: byteCount) { weights, bias, packed in
        gemm.pack(
          weights.assumingMemoryBound(to: Float.self), bias: bias?.assumingMemoryBound(to: Float.self), into: packed)
      }
      return PreparedKernel(scratchByteCount: weights.scratchByteCount) { buffers in
        gemm.multiply(
          GemmRows(buffers.input(input), count: rows, length: depth, stride: depth), packed: weights.pointer(buffers),
          group: 0, output: buffers.output(), outputStride: outputs)
      }
    }
  }
}
