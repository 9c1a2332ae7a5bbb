import TensorCore

extension Operator {
  /// 2-D convolution with clamp: f32, or int8 with per-tensor or per-channel weights. See `Int8Gemm` for the int8
  /// result.
  ///
  /// Input (N, C, H, W) and weight (O, C / groups, kh, kw) are channels last; bias [O] is float32, or int32 of scale
  /// input scale · weight scale. Padding is top, right, bottom, left, and reads as real 0. `infer` leaves the
  /// quantization parameters of an int8 output open.
  package static let fusedConv2d = Operator(
    "fused.conv2d(Tensor input, Tensor weight, Tensor? bias, int[2] stride=1, int[4] padding=0, int[2] dilation=1, "
      + "int groups=1, float output_min=-inf, float output_max=inf) -> Tensor", traits: .fused,
    layer: .convolution(spatial: 2),
    infer: { call throws(OperatorError) in try FusedConv2d(call).outputs },
    prepare: { call throws(OperatorError) in
      let convolution = try FusedConv2d(call)
      let output = try call.checkedOutput(convolution.outputs)
      switch (convolution.input.dataType, convolution.isDepthwise) {
      case (.int8, true): return try convolution.depthwiseInt8(call, output)
      case (.int8, false): return try convolution.int8(call, output)
      case (_, true): return try convolution.depthwiseFloat(call)
      case (_, false): return try convolution.float(call)
      }
    })
}

/// A validated call of `fused.conv2d`.
private struct FusedConv2d {
  let input: TensorSpec
  let outputs: [TensorSpec]
  let isDepthwise: Bool
  let convolution: FusedConvolution
  private let inputIndex: Int

  init(_ call: OperatorCall) throws(OperatorError) {
    input = try call.imageActivation("input")
    inputIndex = try call.position("input")
    let weight = try call.spec("weight")
    try call.check(
      weight.shape.rank == 4 && weight.dimOrder == .channelsLast,
      "'weight' must be 4-D and channels last, not \(weight)")
    try call.check(weight.shape[0] > 0, "'weight' has no output channels: \(weight.shape)")
    try call.checkWeights(input: input)
    let (channels, outputChannels) = (input.shape[1], weight.shape[0])
    let window = try Window2d(call)
    let groups = window.groups
    try call.check(
      channels % groups == 0 && outputChannels % groups == 0,
      "\(channels) input and \(outputChannels) output channels cannot be divided into \(groups) groups")
    try call.check(
      weight.shape[1] == channels / groups,
      "'weight' \(weight.shape) has \(weight.shape[1]) channels, input \(input.shape) has \(channels / groups) a group"
    )
    let shape = try window.outputShape(call, batch: input.shape[0], channels: outputChannels)
    _ = try call.outputBounds(input.dataType)
    outputs = [TensorSpec(input.dataType, shape, dimOrder: .channelsLast)]
    convolution = FusedConvolution(
      window: window, batch: input.shape[0], channels: channels, outputs: outputChannels)
    isDepthwise = groups == channels && outputChannels == channels
  }

  func int8(_ call: OperatorCall, _ output: TensorSpec) throws(OperatorError) -> PreparedKernel {
    let gemm = Int8Gemm(
      groups: convolution.groups, outputsPerGroup: convolution.outputs / convolution.groups,
      runs: convolution.runs, runLength: convolution.runLength,
      scales: try call.requantizationScales(input: input, output: output), requantizer: try call.requantizer(output))
    let weights = try FusedWeights(call, byteCount: try gemm.packedByteCount(call)) { weights, bias, packed in
      gemm.pack(
        weights.assumingMemoryBound(to: Int8.self), bias: bias?.assumingMemoryBound(to: Int32.self), into: packed)
    }
    let zeroPoint = Int16(try call.int8Parameters(input, "input").zeroPoint)
    let (convolution, index, offset) = (convolution, inputIndex, weights.scratchByteCount)
    let count = convolution.scratchCount(rowStride: gemm.rowStride, elementSize: 2)
    return PreparedKernel(scratchByteCount: offset + count * 2) { buffers in
      convolution.runInt8(
        gemm, input: buffers.input(index), zeroPoint: zeroPoint, packed: weights.pointer(buffers),
        scratch: (buffers.scratch + offset).assumingMemoryBound(to: Int16.self), output: buffers.output())
    }
  }

  func float(_ call: OperatorCall) throws(OperatorError) -> PreparedKernel {
    let bounds = try call.floatBounds()
    let gemm = FloatGemm(
      groups: convolution.groups, outputsPerGroup: convolution.outputs / convolution.groups,
      depth: convolution.runs * convolution.runLength, lower: bounds.lower, upper: bounds.upper)
    let weights = try FusedWeights(call, byteCount: try gemm.packedByteCount(call)) { weights, bias, packed in
      gemm.pack(
        weights.assumingMemoryBound(to: Float.self), bias: bias?.assumingMemoryBound(to: Float.self), into: packed)
    }
    let (convolution, index, offset) = (convolution, inputIndex, weights.scratchByteCount)
    let count = convolution.scratchCount(rowStride: gemm.depth, elementSize: 4)
    return PreparedKernel(scratchByteCount: offset + count * 4) { buffers in
      convolution.runFloat(
        gemm, input: buffers.input(index), packed: weights.pointer(buffers),
        scratch: (buffers.scratch + offset).assumingMemoryBound(to: Float.self), output: buffers.output())
    }
  }

  private var depthwise: FusedDepthwise {
    FusedDepthwise(window: convolution.window, batch: convolution.batch, channels: convolution.channels)
  }

  func depthwiseInt8(_ call: OperatorCall, _ output: TensorSpec) throws(OperatorError) -> PreparedKernel {
    let depthwise = depthwise
    let scales = try call.requantizationScales(input: input, output: output)
    let requantizer = try call.requantizer(output)
    let weights = try FusedWeights(call, byteCount: try depthwise.packedByteCount(.int8, call)) {
      weights, bias, packed in
      depthwise.packInt8(
        weights.assumingMemoryBound(to: Int8.self), bias: bias?.assumingMemoryBound(to: Int32.self), scales: scales,
        into: packed)
    }
    let zeroPoint = Int16(try call.int8Parameters(input, "input").zeroPoint)
    let index = inputIndex
    return PreparedKernel(scratchByteCount: weights.scratchByteCount) { buffers in
      depthwise.runInt8(
        input: buffers.input(index), zeroPoint: zeroPoint, packed: weights.pointer(buffers), requantizer: requantizer,
        output: buffers.output())
    }
  }

  func depthwiseFloat(_ call: OperatorCall) throws(OperatorError) -> PreparedKernel {
    let depthwise = depthwise
    let bounds = try call.floatBounds()
    let weights = try FusedWeights(call, byteCount: try depthwise.packedByteCount(.float32, call)) {
      weights, bias, packed in
      depthwise.packFloat(
        weights.assumingMemoryBound(to: Float.self), bias: bias?.assumingMemoryBound(to: Float.self), into: packed)
    }
    let index = inputIndex
    return PreparedKernel(scratchByteCount: weights.scratchByteCount) { buffers in
      depthwise.runFloat(
        input: buffers.input(index), packed: weights.pointer(buffers), lower: bounds.lower, upper: bounds.upper,
        output: buffers.output())
    }
  }
}
