import TensorCore

extension Operator {
  /// Maximum over windows, with clamp: f32 or int8, channels last.
  ///
  /// Padding is top, right, bottom, left and never wins: only taps inside the image count, and a window without any
  /// gives `output_min` (the type's least value when unbounded). A NaN never wins. Output sizes are rounded down; ceil
  /// mode is expressed in the padding. An int8 output has the input's quantization parameters.
  package static let fusedMaxPool2d = Operator(
    "fused.max_pool2d(Tensor self, int[2] kernel_size, int[2] stride, int[4] padding=0, int[2] dilation=1, "
      + "float output_min=-inf, float output_max=inf) -> Tensor", traits: .fused,
    infer: { call throws(OperatorError) in try FusedMaxPool(call).outputs },
    prepare: { call throws(OperatorError) in
      let pool = try FusedMaxPool(call)
      let output = try call.checkedOutput(pool.outputs)
      let index = try call.position("self")
      let (window, channels, batch) = (pool.window, output.shape[1], output.shape[0])
      switch try call.outputBounds(output.dataType) {
      case .int8(let lower, let upper):
        let (least, most) = (Int8(lower), Int8(upper))
        return PreparedKernel { buffers in
          maxPoolInt8(window, batch, channels, buffers.input(index), buffers.output(), least, most)
        }
      case .float(let lower, let upper):
        return PreparedKernel { buffers in
          maxPoolFloat(window, batch, channels, buffers.input(index), buffers.output(), lower, upper)
        }
      }
    })
}

private struct FusedMaxPool {
  let window: Window2d
  let outputs: [TensorSpec]

  init(_ call: OperatorCall) throws(OperatorError) {
    let input = try call.imageActivation("self")
    window = try Window2d(call)
    let shape = try window.outputShape(call, batch: input.shape[0], channels: input.shape[1])
    _ = try call.outputBounds(input.dataType)
    outputs = [TensorSpec(input.dataType, shape, dimOrder: .channelsLast, quantization: input.quantization)]
  }
}

private func maxPoolInt8(
  _ window: Window2d, _ batch: Int, _ channels: Int, _ input: UnsafePointer<Int8>,
  _ output: UnsafeMutablePointer<Int8>, _ lower: Int8, _ upper: Int8
) {
  window.forEachOutput(batch: batch) { image, rows, columns, pixel in
    let target = output + pixel &* channels
    for c in 0..<channels { target[c] = lower }
    for ky in rows.first..<rows.end {
      let line = (image &+ rows.origin &+ ky &* window.height.dilation) &* window.width.input
      for kx in columns.first..<columns.end {
        let values = input + (line &+ columns.origin &+ kx &* window.width.dilation) &* channels
        for c in 0..<channels { target[c] = max(target[c], values[c]) }
      }
    }
    for c in 0..<channels { target[c] = min(target[c], upper) }
  }
}

private func maxPoolFloat(
  _ window: Window2d, _ batch: Int, _ channels: Int, _ input: UnsafePointer<Float>,
  _ output: UnsafeMutablePointer<Float>, _ lower: Float, _ upper: Float
) {
  window.forEachOutput(batch: batch) { image, rows, columns, pixel in
    let target = output + pixel &* channels
    for c in 0..<channels { target[c] = lower }
    for ky in rows.first..<rows.end {
      let line = (image &+ rows.origin &+ ky &* window.height.dilation) &* window.width.input
      for kx in columns.first..<columns.end {
        let values = input + (line &+ columns.origin &+ kx &* window.width.dilation) &* channels
        for c in 0..<channels { target[c] = values[c] > target[c] ? values[c] : target[c] }
      }
    }
    for c in 0..<channels { target[c] = target[c] > upper ? upper : target[c] }
  }
}
