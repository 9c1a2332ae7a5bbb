import TensorCore

// Operators that reorder dimensions: any element type. The result is contiguous, so elements move.

extension Operator {
  /// Dimension i of the result is dimension dims[i] of the input.
  public static let permute = Operator(
    "aten.permute.default(Tensor self, int[] dims) -> Tensor", traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) {
    call throws(OperatorError) in
    let input = try call.tensor("self")
    let (dims, rank) = (try call.ints("dims"), input.shape.rank)
    try call.check(dims.count == rank, "'dims' must have one entry per dimension of \(input.shape), not \(dims)")
    var order: [Int] = []
    for dim in dims { order.append(try call.dimension(dim, of: input.shape, "dims")) }
    try call.check(Set(order).count == rank, "'dims' has a dimension more than once: \(dims)")
    return try permutePlan(call, input, order)
  }

  /// A matrix with its dimensions swapped; a vector as it is.
  public static let t = Operator(
    "aten.t.default(Tensor self) -> Tensor", traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) { call throws(OperatorError) in
    let input = try call.tensor("self")
    try call.check(input.shape.rank <= 2, "'self' must have at most 2 dimensions, not \(input.shape)")
    return try permutePlan(call, input, (0..<input.shape.rank).reversed())
  }

  /// With the dimensions `dim0` and `dim1` swapped.
  public static let transposeInt = Operator(
    "aten.transpose.int(Tensor self, int dim0, int dim1) -> Tensor",
    traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) {
    call throws(OperatorError) in
    let input = try call.tensor("self")
    let first = try call.dimension(call.int("dim0"), of: input.shape, "dim0")
    let second = try call.dimension(call.int("dim1"), of: input.shape, "dim1")
    var order = Array(0..<input.shape.rank)
    if !order.isEmpty { order.swapAt(first, second) }
    return try permutePlan(call, input, order)
  }
}

private func permutePlan(
  _ call: OperatorCall, _ input: TensorArgument, _ order: [Int]
) throws(OperatorError) -> KernelPlan {
  let shape = try call.checkedShape(order.map { input.shape[$0] })
  return KernelPlan(TensorSpec(input.dataType, shape)) {
    let (sourceStrides, targetStrides) = (input.shape.strides, shape.strides)
    let loops = StridedLoops(
      order.indices.map { i in
        StridedLoops.Axis(size: shape[i], first: targetStrides[i], second: sourceStrides[order[i]])
      })
    let elementSize = input.dataType.size
    return PreparedKernel { buffers in
      loops.copy(elementSize: elementSize, from: buffers.inputs[input.index], to: buffers.outputs[0])
    }
  }
}
