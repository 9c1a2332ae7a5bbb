import TensorCore

extension Operator {
  /// To the nearest integer, halves to the even one, f32. Infinities and NaN stay, −0.25 becomes −0.
  static let round = Operator("aten.round.default(Tensor self) -> Tensor", isInPlace: true) {
    call throws(OperatorError) in
    let input = try call.floatTensor("self")
    let count = input.shape.elementCount
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      PreparedKernel { buffers in roundElements(buffers.input(input), count, buffers.output()) }
    }
  }
}

/// Adding 2²³ to a magnitude below it leaves no room for a fraction; larger ones have none.
private func roundElements(_ input: UnsafePointer<Float>, _ count: Int, _ output: UnsafeMutablePointer<Float>) {
  let magic: Float = 8_388_608
  for i in 0..<count {
    let value = input[i]
    let rounded = Float(signOf: value, magnitudeOf: (value.magnitude + magic) - magic)
    output[i] = value.magnitude < magic ? rounded : value
  }
}
