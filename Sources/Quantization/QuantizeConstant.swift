import TensorCore

extension Tensor {
  /// The integers of a contiguous float32 tensor: `clamp(roundHalfEven(x · (1/scale)) + zeroPoint, low, high)`, in the
  /// arithmetic of `quantized_decomposed.quantize_per_tensor` and `quantize_per_channel`: the reciprocal of a tensor's
  /// one scale is taken in double and rounded to float32, that of a channel's scale in float32.
  ///
  /// - Precondition: the tensor is contiguous float32; `low...high` lies in the type; NaN gives `low`.
  func quantized<Element: TensorElement & FixedWidthInteger>(
    _ parameters: QuantizationParameters, low: Int, high: Int, as type: Element.Type
  ) -> Tensor {
    let inverses: [Float] =
      parameters.isPerChannel
      ? parameters.scales.map { 1 / $0 } : parameters.scales.map { Float(1 / Double($0)) }
    let inner = parameters.axis.map { shape.dimensions[($0 + 1)...].reduce(1, *) } ?? shape.elementCount
    let zeroPoint = Float(parameters.zeroPoint)
    let (bottom, top) = (Float(low), Float(high))
    let source: [Float] = elements()
    var result = [Element](repeating: 0, count: source.count)
    result.withUnsafeMutableBufferPointer { result in
      var channel = 0
      for start in stride(from: 0, to: source.count, by: max(inner, 1)) {
        let inverse = inverses[channel]
        for i in start..<(start &+ inner) {
          let real = (source[i] * inverse).rounded(.toNearestOrEven) + zeroPoint
          result[i] = Element(real > bottom ? Swift.min(real, top) : bottom)
        }
        channel = channel &+ 1 == inverses.count ? 0 : channel &+ 1
      }
    }
    return Tensor(result, shape: shape)
  }
}
