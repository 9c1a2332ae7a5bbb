import TensorCore

extension Operator {
  /// f32 to int8 or uint8 with a scale and a zero point per index of `axis`; arithmetic as in `quantize_per_tensor`, but
  /// 1 / scale is divided in the type of `scales`, and with float64 scales all is computed in double precision. A real
  /// zero point is added after rounding, and the sum truncated.
  public static let quantizePerChannel = Operator(
    "quantized_decomposed.quantize_per_channel.default(Tensor input, Tensor scales, Tensor zero_points, int axis, "
      + "int quant_min, int quant_max, ScalarType dtype) -> Tensor", traits: .quantizes
  ) { call throws(OperatorError) in
    let input = try call.floatTensor("input")
    let (dataType, bounds) = try call.quantizedType([.int8, .uint8])
    let channels = try ChannelParameters(call, input)
    try call.check(call.index(of: "zero_points") != nil, "the tensor 'zero_points' is missing")
    return KernelPlan(TensorSpec(dataType, input.shape)) {
      let quantizer = AffineQuantizer(quantMin: Int32(bounds.lowerBound), quantMax: Int32(bounds.upperBound))
      if dataType == .int8 {
        return PreparedKernel { buffers in
          quantize(buffers, input, channels, quantizer, buffers.output(as: Int8.self))
        }
      }
      return PreparedKernel { buffers in
        quantize(buffers, input, channels, quantizer, buffers.output(as: UInt8.self))
      }
    }
  }

  /// int8, uint8 or int32 to f32 with a scale per index of `axis`, and a zero point unless `zero_points` is None: (q −
  /// zero_point) · scale, multiplied in the type of `scales`.
  public static let dequantizePerChannel = Operator(
    "quantized_decomposed.dequantize_per_channel.default(Tensor input, Tensor scales, Tensor? zero_points, int axis, "
      + "int quant_min, int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor", traits: .dequantizes
  ) { call throws(OperatorError) in
    let input = try call.tensor("input")
    let (dataType, _) = try call.quantizedType([.int8, .uint8, .int32])
    try call.check(input.dataType == dataType, "'input' is \(input.dataType), but 'dtype' is \(dataType)")
    let channels = try ChannelParameters(call, input)
    try call.checkFloatResult("out_dtype")
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      PreparedKernel { buffers in
        switch dataType {
        case .int8: dequantize(buffers, input, channels, Int8.self)
        case .uint8: dequantize(buffers, input, channels, UInt8.self)
        default: dequantize(buffers, input, channels, Int32.self)
        }
      }
    }
  }
}

private func quantize<Quantum: FixedWidthInteger>(
  _ buffers: KernelBuffers, _ input: TensorArgument, _ channels: ChannelParameters, _ quantizer: AffineQuantizer,
  _ output: UnsafeMutablePointer<Quantum>
) {
  channels.forEachRun { channel, offset, count in
    let source: UnsafePointer<Float> = buffers.input(input) + offset
    if channels.hasRealZeroPoints {
      let (scale, zeroPoint) = (channels.scale(buffers, channel), Double(channels.realZeroPoint(buffers, channel)))
      for i in 0..<count {
        output[offset &+ i] = quantizer.quantize(Double(source[i] * Float(1 / scale)), zeroPoint: zeroPoint)
      }
      return
    }
    let zeroPoint = channels.zeroPoint(buffers, channel)
    if channels.scales.dataType == .float64 {
      let inverse = 1 / buffers.input(channels.scales, as: Double.self)[channel]
      for i in 0..<count {
        output[offset &+ i] = quantizer.quantize(Double(source[i]) * inverse, zeroPoint: Double(zeroPoint))
      }
    } else {
      let inverse = 1 / buffers.input(channels.scales, as: Float.self)[channel]
      // The tensor may hold any integer. One outside ±2²¹ is out of the quantizer's reach and of every quantum's.
      let bounded = Int32(max(-2_097_152, min(2_097_152, zeroPoint)))
      quantizer.quantize(source, count: count, inverse: inverse, zeroPoint: bounded, to: output + offset)
    }
  }
}

private func dequantize<Quantum: FixedWidthInteger>(
  _ buffers: KernelBuffers, _ input: TensorArgument, _ channels: ChannelParameters, _ type: Quantum.Type
) {
  channels.forEachRun { channel, offset, count in
    let source = buffers.input(input, as: Quantum.self) + offset
    let target = buffers.output(as: Float.self) + offset
    if channels.hasRealZeroPoints {
      let (scale, zeroPoint) = (channels.scale(buffers, channel), channels.realZeroPoint(buffers, channel))
      for i in 0..<count { target[i] = (Float(Int(truncatingIfNeeded: source[i])) - zeroPoint) * Float(scale) }
      return
    }
    let zeroPoint = channels.zeroPoint(buffers, channel)
    if channels.scales.dataType == .float64 {
      let scale = buffers.input(channels.scales, as: Double.self)[channel]
      for i in 0..<count { target[i] = Float(Double(Int(truncatingIfNeeded: source[i]) &- zeroPoint) * scale) }
    } else {
      let scale = buffers.input(channels.scales, as: Float.self)[channel]
      for i in 0..<count { target[i] = Float(Int(truncatingIfNeeded: source[i]) &- zeroPoint) * scale }
    }
  }
}
