import TensorCore

extension Operator {
  /// Adds `pre` and `post` elements around each logical dimension, and `interior` ones between neighbours, filled with the real `value` (int8: quantized with
  /// the tensor's parameters, saturated). Any layout; the output has the input's quantization parameters.
  package static let fusedPad = Operator(
    "fused.pad(Tensor self, int[] pre, int[] post, float value=0, int[] interior=[]) -> Tensor",
    traits: [.fused, .movesElements],
    infer: { call throws(OperatorError) in [try FusedPad(call).output] },
    prepare: { call throws(OperatorError) in
      let pad = try FusedPad(call)
      let output = try call.checkedOutput([pad.output])
      let index = try call.position("self")
      let (count, copy) = (output.shape.elementCount, pad.copy)
      let value = Float(try call.float("value"))
      if output.dataType == .int8 {
        let parameters = try call.int8Parameters(output, "output")
        let quantum = parameters.quantize(value, inverse: parameters.inverseScale)
        return PreparedKernel { buffers in
          buffers.output(as: Int8.self).update(repeating: quantum, count: count)
          copy.run(from: buffers.inputs[index], to: buffers.outputs[0])
        }
      }
      return PreparedKernel { buffers in
        buffers.output(as: Float.self).update(repeating: value, count: count)
        copy.run(from: buffers.inputs[index], to: buffers.outputs[0])
      }
    })
}

/// A validated call of `fused.pad`.
private struct FusedPad {
  let output: TensorSpec
  let copy: StridedCopy

  init(_ call: OperatorCall) throws(OperatorError) {
    let input = try call.activation("self")
    let (pre, post) = (try call.ints("pre"), try call.ints("post"))
    let rank = input.shape.rank
    try call.check(
      pre.count == rank && post.count == rank,
      "'pre' \(pre) and 'post' \(post) must have \(rank) sizes, one per dimension")
    try call.check(
      (pre + post).allSatisfy { (0...Int(Int32.max)).contains($0) },
      "'pre' \(pre) and 'post' \(post) must not be negative or too large")
    _ = try call.float("value")
    let between = try call.ints("interior")
    let interior = between.isEmpty ? [Int](repeating: 0, count: rank) : between
    try call.check(
      interior.count == rank && interior.allSatisfy { (0...Int(Int32.max)).contains($0) },
      "'interior' \(interior) must have \(rank) sizes that are not negative or too large")
    try call.check(
      input.shape.dimensions.allSatisfy { $0 <= Int(Int32.max) } || between.isEmpty, "\(input.shape) is too large")
    let sizes = (0..<rank).map { input.shape[$0] + pre[$0] + post[$0] + max(0, input.shape[$0] - 1) * interior[$0] }
    guard let shape = Shape(validating: sizes) else { throw call.error("the padded shape \(sizes) is too large") }
    var output = input
    output.shape = shape
    let order = input.memoryOrder
    let strides = output.memoryStrides
    self.output = output
    copy = StridedCopy(
      sizes: order.map { input.shape[$0] }, sourceStrides: input.memoryStrides,
      targetStrides: zip(order, strides).map { (interior[$0] + 1) * $1 },
      sourceOffset: 0, targetOffset: zip(order, strides).reduce(0) { $0 &+ pre[$1.0] &* $1.1 },
      elementSize: input.dataType.size)
  }
}
