import TensorCore

extension Operator {
  /// Joins tensors along a logical dimension. All agree in everything but that size, quantization parameters included;
  /// the output has the same parameters.
  package static let fusedCat = Operator(
    "fused.cat(Tensor[] tensors, int dim) -> Tensor", traits: [.fused, .movesElements],
    infer: { call throws(OperatorError) in [try FusedCat(call).output] },
    prepare: { call throws(OperatorError) in
      let cat = try FusedCat(call)
      _ = try call.checkedOutput([cat.output])
      guard case .tensors(let positions) = call.arguments["tensors"] else { throw call.error("'tensors' is missing") }
      let copies = cat.copies
      return PreparedKernel { buffers in
        for (position, copy) in zip(positions, copies) {
          copy.run(from: buffers.inputs[position], to: buffers.outputs[0])
        }
      }
    })
}

/// A validated call of `fused.cat`.
private struct FusedCat {
  let output: TensorSpec
  let copies: [StridedCopy]

  init(_ call: OperatorCall) throws(OperatorError) {
    let tensors = try call.specs("tensors")
    guard let first = tensors.first else { throw call.error("there are no tensors to join") }
    for (index, tensor) in tensors.enumerated() { try call.checkActivation(tensor, "tensors[\(index)]") }
    guard first.shape.rank > 0, let dim = first.shape.normalizedDimension(try call.int("dim")) else {
      throw call.error("'dim' \(try call.int("dim")) is not a dimension of \(first.shape)")
    }
    var sizes = first.shape.dimensions
    sizes[dim] = 0
    for (index, tensor) in tensors.enumerated() {
      var expected = first.shape.dimensions
      if tensor.shape.rank == expected.count { expected[dim] = tensor.shape[dim] }
      try call.check(
        tensor.shape.dimensions == expected, "tensor \(index) \(tensor.shape) does not fit \(first.shape) along \(dim)")
      try call.check(
        tensor.dataType == first.dataType && tensor.dimOrder == first.dimOrder
          && tensor.quantization == first.quantization,
        "tensor \(index) \(tensor) must agree with tensor 0 \(first) in type, layout and quantization parameters")
      let (sum, overflow) = sizes[dim].addingReportingOverflow(tensor.shape[dim])
      try call.check(!overflow, "the joined tensor is too large")
      sizes[dim] = sum
    }
    guard let shape = Shape(validating: sizes) else { throw call.error("the joined shape \(sizes) is too large") }
    var output = first
    output.shape = shape
    self.output = output
    let order = output.memoryOrder
    let strides = output.memoryStrides
    let stride = zip(order, strides).first { $0.0 == dim }?.1 ?? 1
    var start = 0
    copies = tensors.map { tensor in
      defer { start += tensor.shape[dim] }
      return StridedCopy(
        sizes: order.map { tensor.shape[$0] }, sourceStrides: tensor.memoryStrides, targetStrides: strides,
        sourceOffset: 0, targetOffset: start &* stride, elementSize: output.dataType.size)
    }
  }
}
