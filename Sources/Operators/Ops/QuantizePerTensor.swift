import TensorCore

extension Operator {
  /// f32 to int8, uint8 or int16: clamp(RNE(x · Float(1 / scale)) + zero_point, quant_min, quant_max), 1 / scale divided in
  /// double precision. NaN becomes the zero point.
  public static let quantizePerTensor = Operator(
    "quantized_decomposed.quantize_per_tensor.default(Tensor input, float scale, int zero_point, int quant_min, "
      + "int quant_max, ScalarType dtype) -> Tensor", traits: .quantizes
  ) { call throws(OperatorError) in
    let input = try call.floatTensor("input")
    let (dataType, bounds) = try call.quantizedType([.int8, .uint8, .int16])
    let (scale, zeroPoint) = try call.affineParameters(dataType)
    return KernelPlan(TensorSpec(dataType, input.shape)) {
      let quantizer = AffineQuantizer(quantMin: Int32(bounds.lowerBound), quantMax: Int32(bounds.upperBound))
      let (inverse, zero) = (Float(1 / scale), Int32(zeroPoint))
      switch dataType {
      case .int8: return quantizeKernel(input, Int8.self, quantizer, inverse, zero)
      case .uint8: return quantizeKernel(input, UInt8.self, quantizer, inverse, zero)
      default: return quantizeKernel(input, Int16.self, quantizer, inverse, zero)
      }
    }
  }

  /// int8, uint8, int16 or int32 to f32: (q − zero_point) · scale, in float. The bounds are only checked.
  public static let dequantizePerTensor = Operator(
    "quantized_decomposed.dequantize_per_tensor.default(Tensor input, float scale, int zero_point, int quant_min, "
      + "int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor", traits: .dequantizes
  ) { call throws(OperatorError) in
    let input = try call.tensor("input")
    let (dataType, _) = try call.quantizedType([.int8, .uint8, .int16, .int32])
    try call.check(input.dataType == dataType, "'input' is \(input.dataType), but 'dtype' is \(dataType)")
    let (scale, zeroPoint) = try call.affineParameters(dataType)
    try call.checkFloatResult("out_dtype")
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      switch dataType {
      case .int8: dequantizeKernel(input, Int8.self, Float(scale), Float(zeroPoint))
      case .uint8: dequantizeKernel(input, UInt8.self, Float(scale), Float(zeroPoint))
      case .int16: dequantizeKernel(input, Int16.self, Float(scale), Float(zeroPoint))
      default: dequantizeKernel(input, Int32.self, Float(scale), Float(zeroPoint))
      }
    }
  }
}

@inline(__always)
private func quantizeKernel<Quantum: FixedWidthInteger & Sendable>(
  _ input: TensorArgument, _ type: Quantum.Type, _ quantizer: AffineQuantizer, _ inverse: Float, _ zeroPoint: Int32
) -> PreparedKernel {
  let count = input.shape.elementCount
  return PreparedKernel { buffers in
    quantizer.quantize(
      buffers.input(input), count: count, inverse: inverse, zeroPoint: zeroPoint, to: buffers.output(as: Quantum.self))
  }
}

@inline(__always)
private func dequantizeKernel<Quantum: FixedWidthInteger & Sendable>(
  _ input: TensorArgument, _ type: Quantum.Type, _ scale: Float, _ zeroPoint: Float
) -> PreparedKernel {
  let count = input.shape.elementCount
  return PreparedKernel { buffers in
    dequantize(
      buffers.input(input, as: Quantum.self), count: count, scale: scale, zeroPoint: zeroPoint, to: buffers.output())
  }
}
