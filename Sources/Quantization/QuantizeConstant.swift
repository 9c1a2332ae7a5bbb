import TensorCore

extension Tensor {
  /// The integers of a contiguous float32 tensor: `clamp(roundHalfEven(x · (1/scale)) + zeroPoint, low, high)`, in the
  /// arithmetic of `quantized_decomposed.quantize_per_tensor` and `quantize_per_channel`: the reciprocal of a tensor's
  /// one scale is taken in double and rounded to float32, that of a channel's scale in float32. A real zero point is
  /// added after rounding and the sum truncated, as there. int32 is computed in double, which float32 cannot hold.
  ///
  /// - Precondition: the tensor is contiguous float32; `low...high` lies in the type; NaN gives `low`.
  func quantized<Element: TensorElement & FixedWidthInteger>(
    _ parameters: QParams, low: Int, high: Int, as type: Element.Type
  ) -> Tensor {
    let source: [Float] = elements()
    let inner = parameters.axis.map { shape.dimensions[($0 + 1)...].reduce(1, *) } ?? shape.elementCount
    let (bottom, top) = (Double(low), Double(high))
    var result = [Element](repeating: 0, count: source.count)
    result.withUnsafeMutableBufferPointer { result in
      var channel = 0
      for start in stride(from: 0, to: source.count, by: max(inner, 1)) {
        let scale = parameters.scales[channel]
        let inverse = parameters.isPerChannel ? 1 / scale : Float(1 / Double(scale))
        let zeroPoint = parameters.zeroPoint(channel)
        for i in start..<(start &+ inner) {
          let quotient =
            Element.self == Int32.self ? Double(source[i]) / Double(scale) : Double(source[i] * inverse)
          let real = quotient.rounded(.toNearestOrEven) + zeroPoint
          result[i] = Element(real > bottom ? Swift.min(real, top) : bottom)
        }
        channel = channel &+ 1 == parameters.scales.count ? 0 : channel &+ 1
      }
    }
    return Tensor(result, shape: shape)
  }
}

extension QParams {
  /// The zero point of one channel, as a real number.
  func zeroPoint(_ channel: Int) -> Double {
    switch zeroPoints {
    case .integers(let values): Double(values[channel])
    case .floats(let values): Double(values[channel])
    }
  }
}
