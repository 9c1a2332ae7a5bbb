import TensorCore

extension Operator {
  /// self + alpha · other, f32 or int32 (wrapping), broadcast as NumPy does. `other` may be a number.
  public static let add = Operator("aten.add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor") {
    call throws(OperatorError) in
    try call.elementwise(.sum(alpha: Float(call.float("alpha"))))
  }

  /// self − alpha · other, f32 or int32 (wrapping), broadcast as NumPy does. `other` may be a number.
  public static let sub = Operator("aten.sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor") {
    call throws(OperatorError) in
    try call.elementwise(.sum(alpha: -Float(call.float("alpha"))))
  }

  /// other − alpha · self, f32.
  public static let rsub = Operator(
    "aten.rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor", traits: [.pointwise, .ownQuantization]
  ) {
    call throws(OperatorError) in
    let (other, alpha) = (Float(try call.float("other")), Float(try call.float("alpha")))
    return try call.map { other - alpha * $0 }
  }

  /// self · other, f32 or int32 (wrapping), broadcast as NumPy does. `other` may be a number.
  public static let mul = Operator("aten.mul.Tensor(Tensor self, Tensor other) -> Tensor") {
    call throws(OperatorError) in
    try call.elementwise(.product)
  }

  /// self / other, f32, broadcast as NumPy does. `other` may be a number.
  public static let div = Operator(
    "aten.div.Tensor(Tensor self, Tensor other) -> Tensor",
    reasonForFloat: "division is not quantized; write it as a multiplication by the reciprocal"
  ) {
    call throws(OperatorError) in
    try call.elementwise(.quotient)
  }

  /// The smaller of self and other, f32, broadcast as NumPy does. NaN in either is NaN.
  public static let minimum = Operator("aten.minimum.default(Tensor self, Tensor other) -> Tensor") {
    call throws(OperatorError) in
    try call.elementwise(.minimum)
  }

  /// The larger of self and other, f32, broadcast as NumPy does. NaN in either is NaN.
  public static let maximum = Operator("aten.maximum.default(Tensor self, Tensor other) -> Tensor") {
    call throws(OperatorError) in
    try call.elementwise(.maximum)
  }
}
