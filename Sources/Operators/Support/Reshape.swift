import TensorCore

extension OperatorCall {
  /// The bytes of a tensor argument under other sizes of the same element count.
  func reshaped(_ name: String, to sizes: [Int]) throws(OperatorError) -> KernelPlan {
    let input = try tensor(name)
    guard let shape = Shape(validating: sizes), shape.elementCount == input.shape.elementCount,
      shape.rank <= StridedLoops.maximumRank
    else { throw error("\(input.shape) cannot be viewed as \(sizes)") }
    let byteCount = input.spec.byteCount
    return KernelPlan(TensorSpec(input.dataType, shape)) {
      PreparedKernel { buffers in
        let (source, target) = (buffers.inputs[input.index], buffers.outputs[0])
        if source != UnsafeRawPointer(target) { target.copyMemory(from: source, byteCount: byteCount) }
      }
    }
  }
}
