import TensorCore

extension OperatorCall {
  /// An int32 function of `self` and `other`, broadcast against each other and wrapping. `other` may be an integer;
  /// `alpha` must be one.
  func integerElementwise(_ function: ElementwiseFunction) throws(OperatorError) -> KernelPlan {
    let a = try tensor("self")
    switch function {
    case .sum(let alpha):
      try check(Int32(exactly: alpha) != nil, "'alpha' must be an integer for int32, not \(alpha)")
    case .product: break
    case .quotient: throw error("'self' must be float32, not int32: int32 tensors cannot be divided")
    case .minimum, .maximum: throw error("'self' must be float32, not int32")
    }
    switch arguments["other"] {
    case .attribute(let attribute):
      guard case .int(let value) = attribute, let number = Int32(exactly: value) else {
        throw error("'other' must be an int32 tensor or number, not \(attribute)")
      }
      let loops = broadcastLoops(a.shape, a.shape, [])
      return KernelPlan(TensorSpec(.int32, a.shape)) {
        PreparedKernel { buffers in
          withUnsafePointer(to: number) { loops.map(buffers.input(a), $0, buffers.output(), function) }
        }
      }
    default:
      let b = try tensor("other")
      try check(b.dataType == .int32, "'other' must be int32 like 'self', not \(b.dataType)")
      let shape = try broadcast(a.shape, b.shape)
      let loops = broadcastLoops(shape, a.shape, b.shape)
      return KernelPlan(TensorSpec(.int32, shape)) {
        PreparedKernel { buffers in loops.map(buffers.input(a), buffers.input(b), buffers.output(), function) }
      }
    }
  }
}

extension StridedLoops {
  /// - Precondition: a sum with an integer `alpha`, or a product.
  fileprivate func map(
    _ a: UnsafePointer<Int32>, _ b: UnsafePointer<Int32>, _ output: UnsafeMutablePointer<Int32>,
    _ function: ElementwiseFunction
  ) {
    switch function {
    case .sum(1): map(a, b, output) { $0 &+ $1 }
    case .sum(-1): map(a, b, output) { $0 &- $1 }
    case .sum(let alpha):
      let factor = Int32(alpha)
      map(a, b, output) { $0 &+ factor &* $1 }
    case .product, .quotient, .minimum, .maximum: map(a, b, output) { $0 &* $1 }
    }
  }
}
