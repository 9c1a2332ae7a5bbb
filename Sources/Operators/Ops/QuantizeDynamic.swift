import TensorCore

// Quantize and dequantize with parameters that are tensors: those of dynamic quantization.

extension Operator {
  /// As `quantize_per_tensor.default`, scale float64 [1] and zero point int64 [1] being computed.
  public static let quantizePerTensorTensor = Operator(
    "quantized_decomposed.quantize_per_tensor.tensor(Tensor input, Tensor scale, Tensor zero_point, int quant_min, "
      + "int quant_max, ScalarType dtype) -> Tensor", traits: .quantizes
  ) { call throws(OperatorError) in
    let input = try call.floatTensor("input")
    let (_, bounds) = try call.quantizedType([.int8])
    let parameters = try ComputedParameters(call, "scale", "zero_point", shape: [1])
    let (low, high) = (Int32(bounds.lowerBound), Int32(bounds.upperBound))
    return KernelPlan(TensorSpec(.int8, input.shape)) {
      let count = input.shape.elementCount
      return PreparedKernel { buffers in
        let (scale, zeroPoint) = parameters.at(0, buffers)
        AffineQuantizer(quantMin: low, quantMax: high).quantize(
          buffers.input(input), count: count, inverse: Float(1 / scale), zeroPoint: zeroPoint,
          to: buffers.output(as: Int8.self))
      }
    }
  }

  /// As `dequantize_per_tensor.default`, scale float64 [1] and zero point int64 [1] being computed.
  public static let dequantizePerTensorTensor = Operator(
    "quantized_decomposed.dequantize_per_tensor.tensor(Tensor input, Tensor scale, Tensor zero_point, int quant_min, "
      + "int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor", traits: .dequantizes
  ) { call throws(OperatorError) in
    let input = try call.int8Tensor("input")
    let parameters = try ComputedParameters(call, "scale", "zero_point", shape: [1])
    try call.checkFloatResult("out_dtype")
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      let count = input.shape.elementCount
      return PreparedKernel { buffers in
        let (scale, zeroPoint) = parameters.at(0, buffers)
        dequantize(
          buffers.input(input, as: Int8.self), count: count, scale: Float(scale), zeroPoint: Float(zeroPoint),
          to: buffers.output())
      }
    }
  }

  /// f32 [..., width] to int8 with scales float64 [..., 1] and zero points int64 [..., 1]: clamp(RNE(x · (1 / scale) +
  /// zero_point)), in double precision.
  public static let quantizePerToken = Operator(
    "quantized_decomposed.quantize_per_token.default(Tensor input, Tensor scales, Tensor zero_points, int quant_min, "
      + "int quant_max, ScalarType dtype) -> Tensor", traits: .quantizes
  ) { call throws(OperatorError) in
    let input = try call.floatTensor("input")
    let (_, bounds) = try call.quantizedType([.int8])
    let (parameters, rows, width) = try call.tokens(input)
    let (low, high) = (Double(bounds.lowerBound), Double(bounds.upperBound))
    return KernelPlan(TensorSpec(.int8, input.shape)) {
      PreparedKernel { buffers in
        for row in 0..<rows {
          let (scale, zeroPoint) = parameters.at(row, buffers)
          let source: UnsafePointer<Float> = buffers.input(input) + row &* width
          let target = buffers.output(as: Int8.self) + row &* width
          let (inverse, offset) = (1 / scale, Double(zeroPoint))
          for i in 0..<width {
            target[i] = Int8(truncatingIfNeeded: DynamicParameters.token(source[i], inverse, offset, low, high))
          }
        }
      }
    }
  }

  /// int8 [..., width] to f32: (q − zero_point) · scale of its row, multiplied in double precision.
  public static let dequantizePerToken = Operator(
    "quantized_decomposed.dequantize_per_token.default(Tensor input, Tensor scales, Tensor zero_points, int quant_min, "
      + "int quant_max, ScalarType dtype, ScalarType output_dtype) -> Tensor", traits: .dequantizes
  ) { call throws(OperatorError) in
    let input = try call.int8Tensor("input")
    let (parameters, rows, width) = try call.tokens(input)
    try call.checkFloatResult("output_dtype")
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      PreparedKernel { buffers in
        for row in 0..<rows {
          let (scale, zeroPoint) = parameters.at(row, buffers)
          let source = buffers.input(input, as: Int8.self) + row &* width
          let target = buffers.output(as: Float.self) + row &* width
          for i in 0..<width { target[i] = Float(Double(Int32(source[i]) &- zeroPoint) * scale) }
        }
      }
    }
  }
}

/// Scales and zero points that are tensors: float64 and int64 of one shape.
private struct ComputedParameters: Sendable {
  private let scales: TensorArgument
  private let zeroPoints: TensorArgument

  init(_ call: OperatorCall, _ scaleName: String, _ zeroPointName: String, shape: Shape) throws(OperatorError) {
    (scales, zeroPoints) = (try call.tensor(scaleName), try call.tensor(zeroPointName))
    try call.check(
      scales.spec == TensorSpec(.float64, shape) && zeroPoints.spec == TensorSpec(.int64, shape),
      "'\(scaleName)' and '\(zeroPointName)' must be float64\(shape) and int64\(shape), not \(scales.spec) and "
        + "\(zeroPoints.spec)")
  }

  /// The zero point is brought to int8's range, in which all that choose one give it.
  @inline(__always)
  func at(_ index: Int, _ buffers: KernelBuffers) -> (scale: Double, zeroPoint: Int32) {
    let zeroPoint = buffers.input(zeroPoints, as: Int64.self)[index]
    return (buffers.input(scales, as: Double.self)[index], Int32(max(-128, min(127, zeroPoint))))
  }
}

extension OperatorCall {
  fileprivate func int8Tensor(_ name: String) throws(OperatorError) -> TensorArgument {
    let tensor = try tensor(name)
    _ = try quantizedType([.int8])
    try check(tensor.dataType == .int8, "'\(name)' must be int8, not \(tensor.dataType)")
    return tensor
  }

  fileprivate func tokens(
    _ input: TensorArgument
  ) throws(OperatorError) -> (parameters: ComputedParameters, rows: Int, width: Int) {
    try check(input.shape.rank > 0, "a scalar has no tokens")
    let shape = Shape(input.shape.dimensions.dropLast() + [1])
    let width = input.shape[input.shape.rank - 1]
    return (try ComputedParameters(self, "scales", "zero_points", shape: shape), shape.elementCount, width)
  }
}
