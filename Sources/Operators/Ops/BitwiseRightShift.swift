import TensorCore

extension Operator {
  /// self >> other, int32, `other` a number in 0...31: division by a power of two, rounded down (the sign is kept).
  public static let bitwiseRightShift = Operator(
    "aten.bitwise_right_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor", traits: .inPlace
  ) { call throws(OperatorError) in
    let input = try call.tensor("self")
    try call.check(input.dataType == .int32, "'self' must be int32, not \(input.dataType)")
    let shift = try call.int("other")
    try call.check((0...31).contains(shift), "'other' must be in 0...31 for int32, not \(shift)")
    let count = input.shape.elementCount
    return KernelPlan(TensorSpec(.int32, input.shape)) {
      let shift = Int32(shift)
      return PreparedKernel { buffers in
        let (source, target) = (buffers.input(input, as: Int32.self), buffers.output(as: Int32.self))
        for i in 0..<count { target[i] = source[i] &>> shift }
      }
    }
  }
}
