import TensorCore

extension Operator {
  /// Every `step`-th index of a dimension from `start` up to `end`, as Python slices: negative indices count from the end,
  /// those out of range are clamped. Any element type.
  public static let slice = Operator(
    "aten.slice.Tensor(Tensor self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor",
    traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) { call throws(OperatorError) in
    let input = try call.tensor("self")
    try call.check(input.shape.rank > 0, "a scalar cannot be sliced")
    let dim = try call.dimension(call.int("dim"), of: input.shape)
    let step = try call.int("step")
    try call.check(step >= 1, "'step' must be at least 1, not \(step)")
    let size = input.shape[dim]
    let start = clampedIndex(try call.optionalInt("start") ?? 0, size)
    let end = clampedIndex(try call.optionalInt("end") ?? size, size)
    var sizes = input.shape.dimensions
    sizes[dim] = start < end ? (end - start - 1) / step + 1 : 0
    let shape = try call.checkedShape(sizes)
    return KernelPlan(TensorSpec(input.dataType, shape)) {
      let (sourceStrides, targetStrides) = (input.shape.strides, shape.strides)
      let loops = StridedLoops(
        sizes.indices.map { i in
          // With two or more indices `step` is less than the size, so the product is in range.
          let factor = i == dim && sizes[dim] > 1 ? step : 1
          return StridedLoops.Axis(size: sizes[i], first: targetStrides[i], second: sourceStrides[i] * factor)
        })
      let elementSize = input.dataType.size
      let offset = start * sourceStrides[dim] * elementSize
      return PreparedKernel { buffers in
        loops.copy(elementSize: elementSize, from: buffers.inputs[input.index] + offset, to: buffers.outputs[0])
      }
    }
  }
}

/// A Python slice bound in 0...size.
private func clampedIndex(_ index: Int, _ size: Int) -> Int { max(0, min(size, index < 0 ? index + size : index)) }
