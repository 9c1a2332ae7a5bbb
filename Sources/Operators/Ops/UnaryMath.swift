import TensorCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

// Functions of one element, f32.

extension Operator {
  /// eˣ
  public static let exp = Operator("aten.exp.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { expf($0) }
  }

  /// The natural logarithm.
  public static let log = Operator("aten.log.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { logf($0) }
  }

  /// sin x, in radians.
  public static let sin = Operator("aten.sin.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { sinf($0) }
  }

  /// cos x, in radians.
  public static let cos = Operator("aten.cos.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { cosf($0) }
  }

  /// The error function: 2 / √π times the integral of exp(−t²) from 0 to x.
  public static let erf = Operator(
    "aten.erf.default(Tensor self) -> Tensor", traits: [.pointwise, .ownQuantization], resultRange: -1...1
  ) { call throws(OperatorError) in
    try call.map { erff($0) }
  }

  /// The largest integer that is not above x.
  public static let floor = Operator("aten.floor.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { $0.rounded(.down) }
  }

  /// The smallest integer that is not below x.
  public static let ceil = Operator("aten.ceil.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { $0.rounded(.up) }
  }

  /// −x
  public static let neg = Operator("aten.neg.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { -$0 }
  }

  /// The magnitude of x.
  public static let abs = Operator("aten.abs.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { $0.magnitude }
  }

  /// √x; NaN below 0.
  public static let sqrt = Operator("aten.sqrt.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { $0.squareRoot() }
  }

  /// 1 / √x
  public static let rsqrt = Operator("aten.rsqrt.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { 1 / $0.squareRoot() }
  }

  /// x²
  public static let square = Operator("aten.square.default(Tensor self) -> Tensor", traits: .pointwise) {
    call throws(OperatorError) in
    try call.map { $0 * $0 }
  }

  /// self to the power of a number.
  public static let pow = Operator("aten.pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor", traits: .pointwise)
  {
    call throws(OperatorError) in
    let exponent = Float(try call.float("exponent"))
    if exponent == 2 { return try call.map { $0 * $0 } }
    if exponent == 3 { return try call.map { $0 * $0 * $0 } }
    if exponent == 0.5 { return try call.map { $0.squareRoot() } }
    return try call.map { powf($0, exponent) }
  }

  /// max(x, min). NaN stays NaN.
  public static let clampMin = Operator("aten.clamp_min.default(Tensor self, Scalar min) -> Tensor", traits: .pointwise)
  {
    call throws(OperatorError) in
    let bound = Float(try call.float("min"))
    return try call.map { clamped($0, bound, .infinity) }
  }
}
