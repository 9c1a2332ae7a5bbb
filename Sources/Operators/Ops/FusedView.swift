import TensorCore

extension Operator {
  /// The same bytes under another shape; one size may be −1. Any element type; per-tensor quantization parameters carry
  /// over.
  ///
  /// Elements keep their order in memory: a channels-last [N, C, H, W] seen as [N, C · H · W] lies in the order (H, W,
  /// C). The output is contiguous; `prepare` also takes a channels-last one where both layouts are one (C = 1 or H · W
  /// = 1).
  package static let fusedView = Operator(
    "fused.view(Tensor self, int[] size) -> Tensor", traits: [.inPlace, .fused, .movesElements],
    infer: { call throws(OperatorError) in [try viewOutput(call)] },
    prepare: { call throws(OperatorError) in
      var expected = try viewOutput(call)
      if try call.output().dimOrder == .channelsLast, hasOneLayout(expected.shape) { expected.dimOrder = .channelsLast }
      let output = try call.checkedOutput([expected])
      let index = try call.position("self")
      let byteCount = output.byteCount
      return PreparedKernel { buffers in
        let (source, target) = (buffers.inputs[index], buffers.outputs[0])
        if source != UnsafeRawPointer(target) { target.copyMemory(from: source, byteCount: byteCount) }
      }
    })
}

private func viewOutput(_ call: OperatorCall) throws(OperatorError) -> TensorSpec {
  let input = try call.spec("self")
  try call.checkLayout(input, "self")
  let isPerChannel = input.quantization?.isPerChannel ?? false
  try call.check(!isPerChannel, "'self' is quantized per channel; a view would move its axis")
  let requested = try call.ints("size")
  var sizes = requested
  let count = input.shape.elementCount
  let open = sizes.indices.filter { sizes[$0] == -1 }
  if let index = open.first, open.count == 1 {
    sizes[index] = 1
    let rest = Shape(validating: sizes)?.elementCount ?? 0
    try call.check(rest > 0 && count % max(rest, 1) == 0, "\(input.shape) cannot be viewed as \(requested)")
    sizes[index] = count / rest
  }
  guard let shape = Shape(validating: sizes), shape.elementCount == count else {
    throw call.error("\(input.shape) cannot be viewed as \(requested)")
  }
  return TensorSpec(input.dataType, shape, quantization: input.quantization)
}

/// Whether channels last and contiguous are the same order of elements.
private func hasOneLayout(_ shape: Shape) -> Bool {
  shape.rank == 4 && (shape[1] <= 1 || shape[2] <= 1 && shape[3] <= 1)
}
