import TensorCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension Operator {
  /// 1 / (1 + exp(−x)), f32.
  public static let sigmoid = Operator(
    "aten.sigmoid.default(Tensor self) -> Tensor", traits: [.pointwise, .ownQuantization], resultRange: 0...1
  ) {
    call throws(OperatorError) in
    try call.map { 1 / (1 + expf(-$0)) }
  }
}
