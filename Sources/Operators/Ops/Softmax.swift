import TensorCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension Operator {
  /// exp(x − m) / Σ exp(x − m) along one dimension, m being its maximum; f32.
  public static let softmax = Operator(
    "aten.softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor", traits: [.inPlace, .ownQuantization],
    resultRange: 0...1
  ) { call throws(OperatorError) in
    try call.mapLines(softmaxLine)
  }

  /// x − m − log Σ exp(x − m) along one dimension, m being its maximum; f32.
  public static let logSoftmax = Operator(
    "aten.log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor", traits: .inPlace
  ) { call throws(OperatorError) in
    try call.mapLines(logSoftmaxLine)
  }
}

extension OperatorCall {
  /// A function of each line of `self` along `dim`: `count` elements that are `step` apart.
  fileprivate func mapLines(
    _ function:
      @escaping @Sendable (UnsafePointer<Float>, _ count: Int, _ step: Int, UnsafeMutablePointer<Float>) -> Void
  ) throws(OperatorError) -> KernelPlan {
    let input = try floatTensor("self")
    let dim = try dimension(int("dim"), of: input.shape)
    try checkFloatResult("dtype")
    let (outer, size, inner) = input.shape.split(at: dim)
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      PreparedKernel { buffers in
        if outer == 0 || size == 0 || inner == 0 { return }
        for i in 0..<outer {
          for j in 0..<inner {
            let offset = i &* size &* inner &+ j
            function(buffers.input(input) + offset, size, inner, buffers.output() + offset)
          }
        }
      }
    }
  }
}

private func logSoftmaxLine(
  _ input: UnsafePointer<Float>, _ count: Int, _ step: Int, _ output: UnsafeMutablePointer<Float>
) {
  let maximum = greatest(input, count: count, step: step)
  var total: Float = 0
  for k in 0..<count { total += expf(input[k &* step] - maximum) }
  let logarithm = logf(total)
  for k in 0..<count { output[k &* step] = input[k &* step] - maximum - logarithm }
}

/// One softmax over `count` elements that are `step` apart.
private func softmaxLine(
  _ input: UnsafePointer<Float>, _ count: Int, _ step: Int, _ output: UnsafeMutablePointer<Float>
) {
  let maximum = greatest(input, count: count, step: step)
  var total: Float = 0
  for k in 0..<count {
    let power = expf(input[k &* step] - maximum)
    output[k &* step] = power
    total += power
  }
  for k in 0..<count { output[k &* step] /= total }
}

extension Shape {
  /// The element counts before, in and after a dimension; a scalar has one dimension of size 1.
  func split(at dim: Int) -> (outer: Int, size: Int, inner: Int) {
    if rank == 0 { return (1, 1, 1) }
    return (dimensions[..<dim].reduce(1, *), dimensions[dim], dimensions[(dim + 1)...].reduce(1, *))
  }
}
