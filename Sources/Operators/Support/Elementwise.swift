import TensorCore

extension Operator {
  /// An f32 function of each element of `self`, a tensor of any shape. In int8 it is a table of 256 entries that this function
  /// fills.
  ///
  ///     Operator(pointwise: "my.softsign.default(Tensor self) -> Tensor") { _ in { $0 / (1 + abs($0)) } }
  ///
  /// - Parameters:
  ///   - schema: its first parameter is `Tensor self`; the others are attributes.
  ///   - traits: besides `.pointwise`.
  ///   - function: reads a call's attributes, or throws what is wrong with them, and gives the function.
  public convenience init(
    pointwise schema: String, traits: Traits = [], resultRange: ClosedRange<Float>? = nil,
    function: @escaping @Sendable (OperatorCall) throws(OperatorError) -> @Sendable (Float) -> Float
  ) {
    self.init(schema, traits: traits.union(.pointwise), resultRange: resultRange) { call throws(OperatorError) in
      try call.map(try function(call))
    }
  }
}

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
