import TensorCore

extension Operator {
  /// Repeats dimensions of size 1, the rank staying as it is: f32 or int8, any layout. An int8 output has the input's
  /// quantization parameters.
  package static let fusedExpand = Operator(
    "fused.expand(Tensor self, int[] size) -> Tensor", traits: [.fused, .movesElements],
    infer: { call throws(OperatorError) in [try expandedOutput(call)] },
    prepare: { call throws(OperatorError) in
      let output = try call.checkedOutput([try expandedOutput(call)])
      let input = try call.spec("self")
      let index = try call.position("self")
      let order = input.memoryOrder
      let (from, to) = (input.memoryStrides, output.memoryStrides)
      let loops = StridedLoops(
        order.indices.map { i in
          StridedLoops.Axis(
            size: output.shape[order[i]], first: to[i], second: input.shape[order[i]] == 1 ? 0 : from[i])
        })
      return PreparedKernel { buffers in
        loops.copy(elementSize: input.dataType.size, from: buffers.inputs[index], to: buffers.outputs[0])
      }
    })
}

private func expandedOutput(_ call: OperatorCall) throws(OperatorError) -> TensorSpec {
  let input = try call.activation("self")
  let sizes = try call.ints("size")
  try call.check(
    sizes.count == input.shape.rank && sizes.count <= StridedLoops.maximumRank
      && zip(sizes, input.shape.dimensions).allSatisfy { $0 == $1 || $1 == 1 },
    "\(input.shape) cannot be expanded to \(sizes)")
  var output = input
  output.shape = try call.checkedShape(sizes)
  return output
}
