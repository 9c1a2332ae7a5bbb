import TensorCore

extension Operator {
  /// The elements start, start + step, … below `end` of a logical dimension, 0 ≤ start ≤ end ≤ size. Any layout; the
  /// output has the input's quantization parameters.
  package static let fusedSlice = Operator(
    "fused.slice(Tensor self, int dim, int start, int end, int step=1) -> Tensor", traits: [.fused, .movesElements],
    infer: { call throws(OperatorError) in [try FusedSlice(call).output] },
    prepare: { call throws(OperatorError) in
      let slice = try FusedSlice(call)
      _ = try call.checkedOutput([slice.output])
      let index = try call.position("self")
      let copy = slice.copy
      return PreparedKernel { buffers in copy.run(from: buffers.inputs[index], to: buffers.outputs[0]) }
    })
}

/// A validated call of `fused.slice`.
private struct FusedSlice {
  let output: TensorSpec
  let copy: StridedCopy

  init(_ call: OperatorCall) throws(OperatorError) {
    let input = try call.activation("self")
    guard input.shape.rank > 0, let dim = input.shape.normalizedDimension(try call.int("dim")) else {
      throw call.error("'dim' \(try call.int("dim")) is not a dimension of \(input.shape)")
    }
    let (start, end, step) = (try call.int("start"), try call.int("end"), try call.int("step"))
    try call.check(
      start >= 0 && start <= end && end <= input.shape[dim],
      "\(start)..<\(end) is not a range within dimension \(dim) of \(input.shape)")
    try call.check(step >= 1, "'step' must be at least 1, not \(step)")
    let count = start == end ? 0 : (end - start - 1) / step + 1
    var sizes = input.shape.dimensions
    sizes[dim] = count
    var output = input
    output.shape = Shape(sizes)
    self.output = output
    let order = input.memoryOrder
    let strides = input.memoryStrides
    // A step beyond the dimension takes one element; its stride is never used, and could overflow.
    let stepped = zip(order, strides).map { $0 == dim && count > 1 ? $1 &* step : $1 }
    copy = StridedCopy(
      sizes: order.map { sizes[$0] }, sourceStrides: stepped, targetStrides: output.memoryStrides,
      sourceOffset: zip(order, strides).reduce(0) { $0 &+ ($1.0 == dim ? start &* $1.1 : 0) }, targetOffset: 0,
      elementSize: input.dataType.size)
  }
}
