import TensorCore

extension Operator {
  /// The same elements in the same memory order under another shape; one size may be −1. Any element type; per-tensor
  /// quantization parameters carry over.
  ///
  /// The input is contiguous, or channels last with H = W = 1, where both layouts are one. An output [N, C, 1, 1] is
  /// channels last, any other contiguous.
  static let fusedView = Operator(
    "fused.view(Tensor self, int[] size) -> Tensor", isInPlace: true,
    infer: { call throws(OperatorError) in [try viewOutput(call)] },
    prepare: { call throws(OperatorError) in
      let output = try call.checkedOutput([try viewOutput(call)])
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
  try call.check(
    input.dimOrder == .contiguous || input.shape[2] == 1 && input.shape[3] == 1,
    "'self' is channels last with H and W other than 1: \(input.shape)")
  try call.check(
    !(input.quantization?.isPerChannel ?? false), "'self' is quantized per channel; a view would move its axis")
  var sizes = try call.ints("size")
  let count = input.shape.elementCount
  let open = sizes.indices.filter { sizes[$0] == -1 }
  if let index = open.first, open.count == 1 {
    sizes[index] = 1
    let rest = Shape(validating: sizes)?.elementCount ?? 0
    try call.check(rest > 0 && count % rest == 0, "\(input.shape) cannot be viewed as \(try call.ints("size"))")
    sizes[index] = count / rest
  }
  guard let shape = Shape(validating: sizes), shape.elementCount == count else {
    throw call.error("\(input.shape) cannot be viewed as \(sizes)")
  }
  let isPixel = shape.rank == 4 && shape[2] == 1 && shape[3] == 1
  return TensorSpec(
    input.dataType, shape, dimOrder: isPixel ? .channelsLast : .contiguous, quantization: input.quantization)
}
