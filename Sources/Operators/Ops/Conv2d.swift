import TensorCore

extension Operator {
  /// Cross-correlation with zero padding, f32 or int32 (wrapping): input [N, C, H, W] or [C, H, W], weight [O, C / groups, kh, kw], bias [O].
  ///
  /// The products are added one by one in the order (C / groups, kh, kw), starting from the bias.
  public static let conv2d = Operator(
    "aten.conv2d.default(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, SymInt[2] padding=0, "
      + "SymInt[2] dilation=1, SymInt groups=1) -> Tensor", layer: .convolution(spatial: 2)
  ) { call throws(OperatorError) in try convolutionPlan(call) }

  /// As `conv2d`, padding by name.
  public static let conv2dPadding = Operator(
    "aten.conv2d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, str padding=\"valid\", "
      + "SymInt[2] dilation=1, SymInt groups=1) -> Tensor", layer: .convolution(spatial: 2)
  ) { call throws(OperatorError) in try convolutionPlan(call) }
}

private func convolutionPlan(_ call: OperatorCall) throws(OperatorError) -> KernelPlan {
  let input = try call.images("input", orInteger: .int32)
  let weight = try call.tensor("weight")
  try call.check(
    weight.dataType == input.dataType, "'weight' must be \(input.dataType) like 'input', not \(weight.dataType)")
  let window = try checkedWindow(call, input.shape, weight.shape)
  let outputs = weight.shape[0]
  let bias = try call.optionalVector("bias", count: outputs, input.dataType)
  let shape = try call.checkedShape(
    input.shape.dimensions.dropLast(3) + [outputs, window.height.output, window.width.output])
  let batch = input.shape.rank == 4 ? input.shape[0] : 1
  return KernelPlan(TensorSpec(input.dataType, shape)) { () throws(OperatorError) in
    if input.dataType == .int32 {
      let convolution = IntegerConvolution2d(
        window: window, batch: batch, channelsPerGroup: weight.shape[1], outputsPerGroup: outputs / window.groups)
      return PreparedKernel { buffers in
        convolution.run(
          input: buffers.input(input), weights: buffers.input(weight), bias: bias.map { buffers.input($0) },
          output: buffers.output())
      }
    }
    if weight.shape[1] == 1 {
      let convolution = DepthwiseConvolution(window: window, batch: batch, outputs: outputs)
      return PreparedKernel { buffers in
        convolution.run(
          input: buffers.input(input), weights: buffers.input(weight), bias: bias.map { buffers.input($0) },
          output: buffers.output())
      }
    }
    return try gemmKernel(
      call, input,
      Convolution2d(
        window: window, batch: batch, channelsPerGroup: weight.shape[1], outputsPerGroup: outputs / window.groups))
  }
}

private func checkedWindow(
  _ call: OperatorCall, _ input: Shape, _ weight: Shape
) throws(OperatorError) -> Window2d {
  try call.check(
    weight.rank == 4 && weight.dimensions.allSatisfy { (1...sizeLimit).contains($0) },
    "'weight' must be [O, C / groups, kh, kw] of positive sizes, not \(weight)")
  let window = try Window2d(call)
  let (groups, channels) = (window.groups, input[input.rank - 3])
  try call.check(
    weight[1] * groups == channels,
    "weight \(weight) with \(groups) groups is for \(weight[1] * groups) channels; the input \(input) has \(channels)")
  try call.check(weight[0] % groups == 0, "\(weight[0]) output channels cannot be divided into \(groups) groups")
  return window
}

private func gemmKernel(
  _ call: OperatorCall, _ input: TensorArgument, _ convolution: Convolution2d
) throws(OperatorError) -> PreparedKernel {
  let packedByteCount = convolution.packedByteCount
  let weights = try FusedWeights(call, byteCount: packedByteCount) { weights, bias, packed in
    convolution.pack(
      weights.assumingMemoryBound(to: Float.self), bias: bias?.assumingMemoryBound(to: Float.self), into: packed)
  }
  let columnsOffset = weights.scratchByteCount
  return PreparedKernel(scratchByteCount: columnsOffset + convolution.columnsByteCount) { buffers in
    convolution.run(
      input: buffers.input(input), packed: weights.pointer(buffers),
      columns: (buffers.scratch + columnsOffset).assumingMemoryBound(to: Float.self), output: buffers.output())
  }
}
