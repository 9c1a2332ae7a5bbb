import TensorCore

extension Operator {
  /// f32 to int8 by the output's parameters: RNE(x · Float(1 / scale)) + zero point, saturated; NaN becomes the zero
  /// point. Any layout; `dim_order`, "channels_last" or "contiguous", brings a 4-D tensor into that memory order besides.
  /// `infer` leaves the output's quantization parameters open.
  package static let fusedQuantize = Operator(
    "fused.quantize(Tensor self, str? dim_order=None) -> Tensor", traits: [.fused, .quantizes],
    infer: { call throws(OperatorError) in [try quantizedOutput(call)] },
    prepare: { call throws(OperatorError) in
      let output = try call.checkedOutput([try quantizedOutput(call)])
      let parameters = try call.int8Parameters(output, "output")
      let index = try call.position("self")
      let inverse = parameters.inverseScale
      let order = try ElementOrder(call, output)
      return PreparedKernel { buffers in
        let (source, target) = (buffers.input(index, as: Float.self), buffers.output(as: Int8.self))
        order.run { target[$1] = parameters.quantize(source[$0], inverse: inverse) }
      }
    })
}

private func quantizedOutput(_ call: OperatorCall) throws(OperatorError) -> TensorSpec {
  let input = try call.activation("self")
  try call.check(input.dataType == .float32, "'self' must be float32, not \(input.dataType)")
  return TensorSpec(.int8, input.shape, dimOrder: try call.convertedOrder(input))
}
