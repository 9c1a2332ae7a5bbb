import TensorCore

extension Operator {
  /// self + alpha · other, f32, broadcast as NumPy does. `other` may be a number.
  static let add = Operator("aten.add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor") {
    call throws(OperatorError) in
    let alpha = Float(try call.float("alpha"))
    if alpha == 1 { return try call.elementwise { $0 + $1 } }
    return try call.elementwise { $0 + alpha * $1 }
  }

  /// self − alpha · other, f32, broadcast as NumPy does. `other` may be a number.
  static let sub = Operator("aten.sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor") {
    call throws(OperatorError) in
    let alpha = Float(try call.float("alpha"))
    if alpha == 1 { return try call.elementwise { $0 - $1 } }
    return try call.elementwise { $0 - alpha * $1 }
  }

  /// self · other, f32, broadcast as NumPy does. `other` may be a number.
  static let mul = Operator("aten.mul.Tensor(Tensor self, Tensor other) -> Tensor") { call throws(OperatorError) in
    try call.elementwise { $0 * $1 }
  }
}
