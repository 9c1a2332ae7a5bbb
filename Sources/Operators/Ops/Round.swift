import TensorCore

extension Operator {
  /// To the nearest integer, halves to the even one, f32. Infinities and NaN stay, −0.25 becomes −0.
  public static let round = Operator("aten.round.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    // Adding 2²³ to a magnitude below it leaves no room for a fraction; larger ones have none.
    try call.map { value in
      let magic: Float = 8_388_608
      let rounded = Float(signOf: value, magnitudeOf: (value.magnitude + magic) - magic)
      return value.magnitude < magic ? rounded : value
    }
  }
}
