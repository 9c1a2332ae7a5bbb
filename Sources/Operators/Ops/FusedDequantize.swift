import TensorCore

extension Operator {
  /// int8 to f32 by the input's parameters: Float(q − zero point) · scale. Any layout; `dim_order` as in `fused.quantize`.
  package static let fusedDequantize = Operator(
    "fused.dequantize(Tensor self, str? dim_order=None) -> Tensor", traits: [.fused, .dequantizes],
    infer: { call throws(OperatorError) in [try dequantizedOutput(call)] },
    prepare: { call throws(OperatorError) in
      let output = try call.checkedOutput([try dequantizedOutput(call)])
      let parameters = try call.int8Parameters(try call.spec("self"), "self")
      let index = try call.position("self")
      let (scale, zeroPoint) = (parameters.scale, parameters.zeroPoint)
      let order = try ElementOrder(call, output)
      return PreparedKernel { buffers in
        let (source, target) = (buffers.input(index, as: Int8.self), buffers.output(as: Float.self))
        order.run { target[$1] = Float(Int32(source[$0]) &- zeroPoint) * scale }
      }
    })
}

private func dequantizedOutput(_ call: OperatorCall) throws(OperatorError) -> TensorSpec {
  let input = try call.activation("self")
  try call.check(input.dataType == .int8, "'self' must be int8, not \(input.dataType)")
  return TensorSpec(.float32, input.shape, dimOrder: try call.convertedOrder(input))
}
