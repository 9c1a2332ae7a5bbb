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
    let input = try call.floatTensor("self")
    let count = input.shape.elementCount
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      PreparedKernel { buffers in logistic(buffers.input(input), count, buffers.output()) }
    }
  }
}

private func logistic(_ input: UnsafePointer<Float>, _ count: Int, _ output: UnsafeMutablePointer<Float>) {
  for i in 0..<count { output[i] = 1 / (1 + expf(-input[i])) }
}
