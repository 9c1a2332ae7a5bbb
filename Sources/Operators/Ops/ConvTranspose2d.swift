import TensorCore

extension Operator {
  /// The gradient of a convolution with respect to its input, f32: input [N, C, H, W] or [C, H, W], weight [C, O / groups,
  /// kh, kw], bias [O]; each input element adds its multiple of the kernel to the output.
  public static let convTranspose2d = Operator(
    "aten.conv_transpose2d.input(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, "
      + "SymInt[2] padding=0, SymInt[2] output_padding=0, SymInt groups=1, SymInt[2] dilation=1) -> Tensor",
    layer: .transposedConvolution(spatial: 2)
  ) { call throws(OperatorError) in
    let transposed = try TransposedConvolution(call)
    return KernelPlan(transposed.output) {
      PreparedKernel { buffers in
        transposed.run(
          buffers.input(transposed.input), buffers.input(transposed.weight),
          transposed.bias.map { buffers.input($0) }, buffers.output())
      }
    }
  }
}

/// A validated call.
private struct TransposedConvolution: Sendable {
  let input: TensorArgument
  let weight: TensorArgument
  let bias: TensorArgument?
  let output: TensorSpec
  private let window: Window2d
  private let channels, outputs, batch: Int

  init(_ call: OperatorCall) throws(OperatorError) {
    (input, weight) = (try call.images("input"), try call.floatTensor("weight"))
    try call.check(
      weight.shape.rank == 4 && weight.shape.dimensions.allSatisfy { (1...sizeLimit).contains($0) },
      "'weight' must be [C, O / groups, kh, kw] of positive sizes, not \(weight.shape)")
    let (image, kernel) = (input.shape, weight.shape)
    (window, channels) = (try Window2d(call), image[image.rank - 3])
    let groups = window.groups
    try call.check(
      channels % groups == 0 && kernel[0] == channels,
      "weight \(kernel) with \(groups) groups is for \(kernel[0]) channels; the input \(image) has \(channels)")
    let (product, overflow) = kernel[1].multipliedReportingOverflow(by: groups)
    try call.check(!overflow && product <= sizeLimit, "\(kernel[1]) channels in \(groups) groups are too many")
    outputs = product
    bias = try call.optionalVector("bias", count: outputs)
    batch = image.rank == 4 ? image[0] : 1
    output = TensorSpec(
      .float32,
      try call.checkedShape(image.dimensions.dropLast(3) + [outputs, window.height.output, window.width.output]))
  }

  func run(
    _ input: UnsafePointer<Float>, _ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>?,
    _ output: UnsafeMutablePointer<Float>
  ) {
    let (height, width, kernelArea) = (window.height, window.width, window.area)
    let (inputArea, outputArea) = (height.input &* width.input, height.output &* width.output)
    let (inputsPerGroup, outputsPerGroup) = (channels / window.groups, outputs / window.groups)
    for image in 0..<batch {
      for channel in 0..<outputs {
        let group = channel / outputsPerGroup
        let plane = output + (image &* outputs &+ channel) &* outputArea
        plane.update(repeating: bias?[channel] ?? 0, count: outputArea)
        for source in (group &* inputsPerGroup)..<((group &+ 1) &* inputsPerGroup) {
          add(
            input + (image &* channels &+ source) &* inputArea,
            weight + (source &* outputsPerGroup &+ channel % outputsPerGroup) &* kernelArea, plane)
        }
      }
    }
  }

  /// Adds one input plane times one kernel to an output plane.
  @inline(__always)
  private func add(_ input: UnsafePointer<Float>, _ kernel: UnsafePointer<Float>, _ output: UnsafeMutablePointer<Float>)
  {
    let (height, width) = (window.height, window.width)
    for y in 0..<height.input {
      for ky in 0..<height.kernel {
        let row = y &* height.stride &- height.padBefore &+ ky &* height.dilation
        guard row >= 0, row < height.output else { continue }
        for x in 0..<width.input {
          let value = input[y &* width.input &+ x]
          for kx in 0..<width.kernel {
            let column = x &* width.stride &- width.padBefore &+ kx &* width.dilation
            guard column >= 0, column < width.output else { continue }
            output[row &* width.output &+ column] += value * kernel[ky &* width.kernel &+ kx]
          }
        }
      }
    }
  }
}
