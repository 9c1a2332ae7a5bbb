import TensorCore

extension Operator {
  /// Mean over windows, with clamp: f32 or int8, channels last. Padding (top, right, bottom, left) counts as real 0.
  ///
  /// With area = kernel height · width, the int8 result is
  ///
  ///     RNE(clamp(Float(Σ (x − x_zp)) · s)) + zp        s = x_scale / (y_scale · Float(area)), in Float
  ///
  /// over Int32 sums, which wrap; over the whole image it is also what the global pooling of a delegate gives. The f32
  /// result is the sum times Float(1 / Float(area)). `infer` leaves the quantization parameters of an int8 output open.
  package static let fusedAvgPool2d = Operator(
    "fused.avg_pool2d(Tensor self, int[2] kernel_size, int[2] stride, int[4] padding=0, float output_min=-inf, "
      + "float output_max=inf) -> Tensor", traits: .fused,
    infer: { call throws(OperatorError) in try FusedAvgPool(call).outputs },
    prepare: { call throws(OperatorError) in
      let pool = try FusedAvgPool(call)
      let output = try call.checkedOutput(pool.outputs)
      return output.dataType == .int8 ? try pool.int8(call, output) : try pool.float(call)
    })
}

/// A validated call of `fused.avg_pool2d`.
private struct FusedAvgPool {
  let input: TensorSpec
  let window: Window2d
  let outputs: [TensorSpec]

  init(_ call: OperatorCall) throws(OperatorError) {
    input = try call.imageActivation("self")
    window = try Window2d(call)
    let shape = try window.outputShape(call, batch: input.shape[0], channels: input.shape[1])
    _ = try call.outputBounds(input.dataType)
    outputs = [TensorSpec(input.dataType, shape, dimOrder: .channelsLast)]
  }

  private var area: Float { Float(window.area) }

  func int8(_ call: OperatorCall, _ output: TensorSpec) throws(OperatorError) -> PreparedKernel {
    let inputParameters = try call.int8Parameters(input, "self")
    let outputScale = try call.int8Parameters(output, "output").scale
    let scale = inputParameters.scale / (outputScale * area)
    try call.check(
      scale.isFinite && scale > 0,
      "input scale \(inputParameters.scale) / (output scale \(outputScale) · \(area)) is not a positive finite number")
    let requantizer = try call.requantizer(output)
    let zeroPoint = inputParameters.zeroPoint
    let index = try call.position("self")
    let (window, batch, channels) = (window, input.shape[0], input.shape[1])
    return PreparedKernel(scratchByteCount: channels * 4) { buffers in
      let sums = buffers.scratch.assumingMemoryBound(to: Int32.self)
      let (source, output) = (buffers.input(index, as: Int8.self), buffers.output(as: Int8.self))
      window.forEachOutput(batch: batch) { image, rows, columns, pixel in
        let taps = (rows.end &- rows.first) &* (columns.end &- columns.first)
        let start = 0 &- Int32(truncatingIfNeeded: taps) &* zeroPoint
        for c in 0..<channels { sums[c] = start }
        for y in rows.origin &+ rows.first..<rows.origin &+ rows.end {
          var values = source + ((image &+ y) &* window.width.input &+ columns.origin &+ columns.first) &* channels
          for _ in columns.first..<columns.end {
            for c in 0..<channels { sums[c] &+= Int32(values[c]) }
            values += channels
          }
        }
        let target = output + pixel &* channels
        for c in 0..<channels { target[c] = requantizer.requantize(sums[c], scale: scale) }
      }
    }
  }

  func float(_ call: OperatorCall) throws(OperatorError) -> PreparedKernel {
    let (lower, upper) = try call.floatBounds()
    let factor = 1 / area
    let index = try call.position("self")
    let (window, batch, channels) = (window, input.shape[0], input.shape[1])
    return PreparedKernel { buffers in
      let (source, output) = (buffers.input(index, as: Float.self), buffers.output(as: Float.self))
      window.forEachOutput(batch: batch) { image, rows, columns, pixel in
        let target = output + pixel &* channels
        for c in 0..<channels { target[c] = 0 }
        for y in rows.origin &+ rows.first..<rows.origin &+ rows.end {
          var values = source + ((image &+ y) &* window.width.input &+ columns.origin &+ columns.first) &* channels
          for _ in columns.first..<columns.end {
            for c in 0..<channels { target[c] += values[c] }
            values += channels
          }
        }
        for c in 0..<channels { target[c] = clamped(target[c] * factor, lower, upper) }
      }
    }
  }
}
