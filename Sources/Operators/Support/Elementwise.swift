import TensorCore

extension OperatorCall {
  /// An f32 function of each element of `self`.
  ///
  /// Inlined, so that `function` becomes part of the loop: a call for each element costs more than most functions.
  @inline(__always)
  func map(_ function: @escaping @Sendable (Float) -> Float) throws(OperatorError) -> KernelPlan {
    let input = try floatTensor("self")
    let count = input.shape.elementCount
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      PreparedKernel { buffers in
        let (source, target): (UnsafePointer<Float>, UnsafeMutablePointer<Float>) = (
          buffers.input(input), buffers.output()
        )
        for i in 0..<count { target[i] = function(source[i]) }
      }
    }
  }
}
