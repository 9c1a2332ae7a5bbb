import TensorCore

extension Operator {
  /// 2-D convolution with clamp whose f32 input is quantized when it runs, with parameters for the whole tensor (rule
  /// `affine` or `symmetric` in [quant_min, quant_max]). Sums and result are those of `fused.dynamic_linear`.
  ///
  /// Input (N, C, H, W) and output are float32, channels last; weight (O, C / groups, kh, kw) is int8, channels last,
  /// symmetric, per tensor or per channel; bias [O] is float32. Padding is top, right, bottom, left, and reads as real 0.
  package static let fusedDynamicConv2d = Operator(
    "fused.dynamic_conv2d(Tensor input, Tensor weight, Tensor? bias, int[2] stride=1, int[4] padding=0, "
      + "int[2] dilation=1, int groups=1, str rule=\"affine\", int quant_min=-128, int quant_max=127, "
      + "float eps=1.1920929e-07, float output_min=-inf, float output_max=inf) -> Tensor", traits: [.fused, .dynamic],
    layer: .convolution(spatial: 2),
    infer: { call throws(OperatorError) in [try DynamicConvolution(call).output] },
    prepare: { call throws(OperatorError) in
      let convolution = try DynamicConvolution(call)
      _ = try call.checkedOutput([convolution.output])
      return try convolution.prepared(call)
    })
}

/// A validated call.
private struct DynamicConvolution {
  let output: TensorSpec
  private let convolution: FusedConvolution
  private let elementCount, inputIndex: Int
  private let rule: DynamicParameters.Rule

  init(_ call: OperatorCall) throws(OperatorError) {
    let input = try call.imageActivation("input")
    _ = try call.dynamicActivation("input")
    inputIndex = try call.position("input")
    let weight = try call.spec("weight")
    try call.check(
      weight.shape.rank == 4 && weight.dimOrder == .channelsLast && weight.shape[0] > 0,
      "'weight' must be 4-D and channels last, not \(weight)")
    try call.checkDynamicWeights()
    let window = try Window2d(call)
    let (channels, outputs, groups) = (input.shape[1], weight.shape[0], window.groups)
    try call.check(
      channels % groups == 0 && outputs % groups == 0 && weight.shape[1] == channels / groups,
      "'weight' \(weight.shape) with \(groups) groups does not fit the \(channels) channels of \(input.shape)")
    output = TensorSpec(
      .float32, try window.outputShape(call, batch: input.shape[0], channels: outputs), dimOrder: .channelsLast)
    convolution = FusedConvolution(window: window, batch: input.shape[0], channels: channels, outputs: outputs)
    elementCount = input.shape.elementCount
    rule = try call.dynamicRule()
    try call.check(rule != .token, "a convolution has no tokens; 'rule' must be 'affine' or 'symmetric'")
    try call.check(elementCount <= sizeLimit, "the input \(input.shape) is too large")
  }

  func prepared(_ call: OperatorCall) throws(OperatorError) -> PreparedKernel {
    let gemm = try call.dynamicGemm(
      groups: convolution.groups, outputs: convolution.outputs, runs: convolution.runs,
      runLength: convolution.runLength)
    let weights = try call.dynamicWeights(gemm)
    let bounds = try call.floatBounds()
    let (convolution, index, rule, count) = (convolution, inputIndex, rule, elementCount)
    let offset = weights.scratchByteCount
    let scratchCount = convolution.scratchCount(rowStride: gemm.rowStride, elementSize: 2)
    let imageOffset = offset + (scratchCount * 2 + 63) / 64 * 64
    return PreparedKernel(scratchByteCount: imageOffset + count) { buffers in
      let packed = weights.pointer(buffers)
      let scratch = (buffers.scratch + offset).assumingMemoryBound(to: Int16.self)
      let image = (buffers.scratch + imageOffset).assumingMemoryBound(to: Int8.self)
      let source = buffers.input(index, as: Float.self)
      let parameters = DynamicParameters(source, count: count, rule)
      let zeroPoint = Int16(truncatingIfNeeded: parameters.zeroPoint)
      // `scratch` serves as the buffer of centred values before it holds windows.
      var first = 0
      while first < count {
        let length = min(scratchCount, count &- first)
        parameters.quantize(source + first, count: length, rule, centredTo: scratch)
        for i in 0..<length { image[first &+ i] = Int8(truncatingIfNeeded: scratch[i] &+ zeroPoint) }
        first &+= length
      }
      convolution.runDynamic(
        gemm, input: image, zeroPoint: zeroPoint, scale: parameters.scale, packed: packed, scratch: scratch,
        bounds: bounds, output: buffers.output())
    }
  }
}
