import TensorCore

extension Operator {
  /// Mean over dimensions, all of them when `dim` is None or empty; f32.
  public static let meanDim = Operator(
    "aten.mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    traits: .sharesQuantization
  ) { call throws(OperatorError) in
    let input = try call.floatTensor("self")
    try call.checkFloatResult("dtype")
    let isReduced = try reducedDimensions(call, input.shape)
    let count = isReduced.indices.reduce(1) { isReduced[$1] ? $0 * input.shape[$1] : $0 }
    try call.check(count > 0, "the mean of no elements is undefined: \(input.shape)")
    let kept = isReduced.indices.map { isReduced[$0] ? 1 : input.shape[$0] }
    let keepsRank = try call.bool("keepdim")
    let shape = try call.checkedShape(keepsRank ? kept : isReduced.indices.filter { !isReduced[$0] }.map { kept[$0] })
    return KernelPlan(TensorSpec(.float32, shape)) {
      let (inputStrides, outputStrides) = (input.shape.strides, Shape(kept).strides)
      let loops = StridedLoops(
        isReduced.indices.map { i in
          StridedLoops.Axis(size: input.shape[i], first: inputStrides[i], second: isReduced[i] ? 0 : outputStrides[i])
        })
      let size = shape.elementCount
      return PreparedKernel { buffers in mean(loops, buffers.input(input), count, buffers.output(), size) }
    }
  }
}

/// Which dimensions are reduced.
func reducedDimensions(_ call: OperatorCall, _ shape: Shape) throws(OperatorError) -> [Bool] {
  let dims = try call.ints("dim")
  var isReduced = [Bool](repeating: dims.isEmpty, count: shape.rank)
  for dim in dims {
    let index = try call.dimension(dim, of: shape)
    if shape.rank == 0 { continue }
    try call.check(!isReduced[index], "'dim' has dimension \(index) more than once: \(dims)")
    isReduced[index] = true
  }
  return isReduced
}

/// Adds up the rows of `input` in memory order; `loops` steps through the output with 0 along reduced dimensions.
private func mean(
  _ loops: StridedLoops, _ input: UnsafePointer<Float>, _ count: Int, _ output: UnsafeMutablePointer<Float>, _ size: Int
) {
  output.update(repeating: 0, count: size)
  let (length, step) = (loops.row.size, loops.row.second)
  loops.forEachRow { first, second, _ in
    let (row, target) = (input + first, output + second)
    if step == 0 {
      target[0] += sum(row, count: length)
    } else {
      for i in 0..<length { target[i] += row[i] }
    }
  }
  for i in 0..<size { output[i] /= Float(count) }
}
