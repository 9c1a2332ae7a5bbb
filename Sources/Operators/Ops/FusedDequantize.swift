import TensorCore

extension Operator {
  /// int8 to f32 by the input's parameters: Float(q − zero point) · scale. Any layout.
  static let fusedDequantize = Operator(
    "fused.dequantize(Tensor self) -> Tensor",
    infer: { call throws(OperatorError) in [try dequantizedOutput(call)] },
    prepare: { call throws(OperatorError) in
      let output = try call.checkedOutput([try dequantizedOutput(call)])
      let parameters = try call.int8Parameters(try call.spec("self"), "self")
      let index = try call.position("self")
      let (count, scale, zeroPoint) = (output.shape.elementCount, parameters.scale, parameters.zeroPoint)
      return PreparedKernel { buffers in
        let (source, target) = (buffers.input(index, as: Int8.self), buffers.output(as: Float.self))
        for i in 0..<count { target[i] = Float(Int32(source[i]) &- zeroPoint) * scale }
      }
    })
}

private func dequantizedOutput(_ call: OperatorCall) throws(OperatorError) -> TensorSpec {
  let input = try call.activation("self")
  try call.check(input.dataType == .int8, "'self' must be int8, not \(input.dataType)")
  return TensorSpec(.float32, input.shape, dimOrder: input.dimOrder)
}
