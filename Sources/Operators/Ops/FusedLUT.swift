import TensorCore

extension Operator {
  /// Maps int8 to int8 by a table of 256 int8, indexed by the quantum + 128. Any layout. The output's quantization
  /// parameters are the table's affair; `infer` leaves them open.
  package static let fusedLUT = Operator(
    "fused.lut(Tensor self, Tensor table) -> Tensor", traits: [.inPlace, .fused],
    infer: { call throws(OperatorError) in [try lookupOutput(call)] },
    prepare: { call throws(OperatorError) in
      let output = try call.checkedOutput([try lookupOutput(call)])
      _ = try call.int8Parameters(output, "output")
      let (index, tableIndex) = (try call.position("self"), try call.position("table"))
      let count = output.shape.elementCount
      return PreparedKernel { buffers in
        let (source, target) = (buffers.input(index, as: Int8.self), buffers.output(as: Int8.self))
        let table = buffers.input(tableIndex, as: Int8.self) + 128
        for i in 0..<count { target[i] = table[Int(source[i])] }
      }
    })
}

private func lookupOutput(_ call: OperatorCall) throws(OperatorError) -> TensorSpec {
  let input = try call.activation("self")
  try call.check(input.dataType == .int8, "'self' must be int8, not \(input.dataType)")
  let table = try call.spec("table")
  try call.check(table.dataType == .int8 && table.shape == [256], "'table' must be int8[256], not \(table)")
  return TensorSpec(.int8, input.shape, dimOrder: input.dimOrder)
}
