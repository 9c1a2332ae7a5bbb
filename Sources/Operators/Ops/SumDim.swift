import TensorCore

extension Operator {
  /// Sum over dimensions, all of them when `dim` is None or empty; int32, wrapping. PyTorch sums integers in int64 unless
  /// `dtype` says otherwise, so it must be torch.int32.
  public static let sumDim = Operator(
    "aten.sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor"
  ) { call throws(OperatorError) in
    let input = try call.tensor("self")
    try call.check(input.dataType == .int32, "'self' must be int32, not \(input.dataType)")
    let dataType = try call.attribute("dtype")
    try call.check(dataType == .dataType(.int32), "'dtype' must be torch.int32, not \(dataType)")
    let isReduced = try reducedDimensions(call, input.shape)
    let kept = isReduced.indices.map { isReduced[$0] ? 1 : input.shape[$0] }
    let keepsRank = try call.bool("keepdim")
    let shape = try call.checkedShape(keepsRank ? kept : isReduced.indices.filter { !isReduced[$0] }.map { kept[$0] })
    return KernelPlan(TensorSpec(.int32, shape)) {
      let (inputStrides, outputStrides) = (input.shape.strides, Shape(kept).strides)
      let loops = StridedLoops(
        isReduced.indices.map { i in
          StridedLoops.Axis(size: input.shape[i], first: inputStrides[i], second: isReduced[i] ? 0 : outputStrides[i])
        })
      let size = shape.elementCount
      return PreparedKernel { buffers in sum(loops, buffers.input(input), buffers.output(), size) }
    }
  }
}

/// `loops` steps through the input (first) and the output (second, with 0 along reduced dimensions).
private func sum(
  _ loops: StridedLoops, _ input: UnsafePointer<Int32>, _ output: UnsafeMutablePointer<Int32>, _ size: Int
) {
  output.update(repeating: 0, count: size)
  let (length, sourceStep, step) = (loops.row.size, loops.row.first, loops.row.second)
  loops.forEachRow { first, second, _ in
    let (row, target) = (input + first, output + second)
    if step == 0 {
      var total: Int32 = 0
      for i in 0..<length { total &+= row[i &* sourceStep] }
      target[0] &+= total
    } else {
      for i in 0..<length { target[i &* step] &+= row[i &* sourceStep] }
    }
  }
}
