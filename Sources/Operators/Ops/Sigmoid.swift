import TensorCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension Operator {
  /// 1 / (1 + exp(−x)), f32.
  static let sigmoid = Operator("aten.sigmoid.default(Tensor self) -> Tensor", isInPlace: true) {
    call throws(OperatorError) in
    try call.map { 1 / (1 + expf(-$0)) }
  }
}
