import TensorCore

extension Operator {
  /// (x − mean) / √(var + eps) · weight + bias per channel (dimension 1), f32, with the running statistics.
  ///
  /// Computed as x · α + β with α = weight / √(var + eps) and β = bias − mean · α. `training=True` is refused.
  public static let batchNorm = Operator(
    "aten.batch_norm.default(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, "
      + "bool training, float momentum, float eps, bool cudnn_enabled) -> Tensor", traits: .inPlace,
    reasonForFloat: "BatchNorm is quantized only where it can be folded into the layer before it"
  ) { call throws(OperatorError) in
    try call.check(
      !call.bool("training"), "training=True: the program was exported for training; export it after eval()")
    let input = try call.floatTensor("input")
    try call.check(input.shape.rank >= 2, "'input' must have at least two dimensions, not \(input.shape)")
    let (batch, channels, inner) = input.shape.split(at: 1)
    let weight = try call.optionalVector("weight", count: channels)
    let bias = try call.optionalVector("bias", count: channels)
    guard let mean = try call.optionalVector("running_mean", count: channels),
      let variance = try call.optionalVector("running_var", count: channels)
    else { throw call.error("without running statistics it can only be trained") }
    let eps = try call.float("eps")
    try call.check(eps >= 0 && eps.isFinite, "'eps' must be finite and not negative, not \(eps)")
    return KernelPlan(TensorSpec(.float32, input.shape)) {
      PreparedKernel { buffers in
        if inner == 0 { return }
        let (means, variances): (UnsafePointer<Float>, UnsafePointer<Float>) = (
          buffers.input(mean), buffers.input(variance)
        )
        let weights: UnsafePointer<Float>? = weight.map { buffers.input($0) }
        let biases: UnsafePointer<Float>? = bias.map { buffers.input($0) }
        for image in 0..<batch {
          for channel in 0..<channels {
            let scale = (weights?[channel] ?? 1) * Float(1 / (Double(variances[channel]) + eps).squareRoot())
            let shift = (biases?[channel] ?? 0) - means[channel] * scale
            let offset = (image &* channels &+ channel) &* inner
            affine(buffers.input(input) + offset, inner, scale, shift, buffers.output() + offset)
          }
        }
      }
    }
  }
}

private func affine(
  _ input: UnsafePointer<Float>, _ count: Int, _ scale: Float, _ shift: Float, _ output: UnsafeMutablePointer<Float>
) {
  for i in 0..<count { output[i] = input[i] * scale + shift }
}
