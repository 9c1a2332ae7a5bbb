import TensorCore

extension Operator {
  /// Tensors joined along a dimension; any element type, the same for all.
  public static let cat = Operator("aten.cat.default(Tensor[] tensors, int dim=0) -> Tensor", traits: .movesElements) {
    call throws(OperatorError) in
    guard case .tensors(let indices) = call.arguments["tensors"], let first = try call.specs("tensors").first else {
      throw call.error("'tensors' must be a list of at least one tensor")
    }
    try call.check(first.shape.rank > 0, "a scalar cannot be concatenated")
    let dim = try call.dimension(call.int("dim"), of: first.shape)
    var sizes = first.shape.dimensions
    sizes[dim] = 0
    for spec in try call.specs("tensors") {
      try call.checkContiguous(spec, "tensors")
      try call.check(spec.dataType == first.dataType, "\(spec.dataType) cannot be joined to \(first.dataType)")
      var expected = first.shape.dimensions
      if spec.shape.rank == expected.count { expected[dim] = spec.shape[dim] }
      try call.check(
        spec.shape.dimensions == expected, "\(spec.shape) and \(first.shape) may differ in dimension \(dim) only")
      let (size, overflow) = sizes[dim].addingReportingOverflow(spec.shape[dim])
      try call.check(!overflow, "the output is too large")
      sizes[dim] = size
    }
    let shape = try call.checkedShape(sizes)
    let (outer, _, inner) = shape.split(at: dim)
    let rowByteCounts = try call.specs("tensors").map { $0.shape[dim] * inner * first.dataType.size }
    return KernelPlan(TensorSpec(first.dataType, shape)) {
      PreparedKernel { buffers in concatenate(buffers, indices, rowByteCounts, outer) }
    }
  }
}

extension Operator {
  /// Tensors of one shape side by side along a new dimension `dim`, −(rank + 1)...rank; any element type, the same for all.
  public static let stack = Operator(
    "aten.stack.default(Tensor[] tensors, int dim=0) -> Tensor", traits: .movesElements
  ) {
    call throws(OperatorError) in
    guard case .tensors(let indices) = call.arguments["tensors"], let first = try call.specs("tensors").first else {
      throw call.error("'tensors' must be a list of at least one tensor")
    }
    for spec in try call.specs("tensors") {
      try call.checkContiguous(spec, "tensors")
      try call.check(
        spec.dataType == first.dataType && spec.shape == first.shape, "\(spec) cannot be stacked onto \(first)")
    }
    let dim = try call.newDimension(of: first.shape)
    var sizes = first.shape.dimensions
    sizes.insert(indices.count, at: dim)
    let shape = try call.checkedShape(sizes)
    let (outer, _, inner) = shape.split(at: dim)
    let rowByteCounts = indices.map { _ in inner * first.dataType.size }
    return KernelPlan(TensorSpec(first.dataType, shape)) {
      PreparedKernel { buffers in concatenate(buffers, indices, rowByteCounts, outer) }
    }
  }
}

private func concatenate(_ buffers: KernelBuffers, _ indices: [Int], _ rowByteCounts: [Int], _ outer: Int) {
  let stride = rowByteCounts.reduce(0, &+)
  if stride == 0 { return }
  var start = buffers.outputs[0]
  for (index, count) in zip(indices, rowByteCounts) {
    let source = buffers.inputs[index]
    for i in 0..<outer { (start + i &* stride).copyMemory(from: source + i &* count, byteCount: count) }
    start += count
  }
}
