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
  private struct Axis: Sendable {
    let input, kernel, stride, padding, dilation, output: Int
  }

  let input: TensorArgument
  let weight: TensorArgument
  let bias: TensorArgument?
  let output: TensorSpec
  private let height, width: Axis
  private let groups, channels, outputs, batch: Int

  init(_ call: OperatorCall) throws(OperatorError) {
    (input, weight) = (try call.images("input"), try call.floatTensor("weight"))
    try call.check(
      weight.shape.rank == 4 && weight.shape.dimensions.allSatisfy { (1...sizeLimit).contains($0) },
      "'weight' must be [C, O / groups, kh, kw] of positive sizes, not \(weight.shape)")
    let (image, kernel) = (input.shape, weight.shape)
    (groups, channels) = (try call.int("groups"), image[image.rank - 3])
    try call.check(
      groups >= 1 && channels % groups == 0 && kernel[0] == channels,
      "weight \(kernel) with \(groups) groups is for \(kernel[0]) channels; the input \(image) has \(channels)")
    let (product, overflow) = kernel[1].multipliedReportingOverflow(by: groups)
    try call.check(!overflow && product <= sizeLimit, "\(kernel[1]) channels in \(groups) groups are too many")
    outputs = product
    bias = try call.optionalVector("bias", count: outputs)
    let (stride, padding) = (
      try call.boundedPair("stride", in: 1...sizeLimit), try call.boundedPair("padding", in: 0...sizeLimit)
    )
    let (dilation, extra) = (
      try call.boundedPair("dilation", in: 1...sizeLimit), try call.boundedPair("output_padding", in: 0...sizeLimit)
    )
    try call.check(
      extra.height < max(stride.height, dilation.height) && extra.width < max(stride.width, dilation.width),
      "'output_padding' [\(extra.height), \(extra.width)] must be below stride or dilation")
    func axis(
      _ size: Int, _ kernel: Int, _ stride: Int, _ padding: Int, _ dilation: Int, _ extra: Int
    ) throws(OperatorError) -> Axis {
      let length = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
      try call.check((1...sizeLimit).contains(length), "the output would be \(length) long")
      return Axis(
        input: size, kernel: kernel, stride: stride, padding: padding, dilation: dilation, output: length)
    }
    height = try axis(
      image[image.rank - 2], kernel[2], stride.height, padding.height, dilation.height, extra.height)
    width = try axis(image[image.rank - 1], kernel[3], stride.width, padding.width, dilation.width, extra.width)
    batch = image.rank == 4 ? image[0] : 1
    output = TensorSpec(
      .float32, try call.checkedShape(image.dimensions.dropLast(3) + [outputs, height.output, width.output]))
  }

  func run(
    _ input: UnsafePointer<Float>, _ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>?,
    _ output: UnsafeMutablePointer<Float>
  ) {
    let (inputArea, outputArea) = (height.input &* width.input, height.output &* width.output)
    let (inputsPerGroup, outputsPerGroup) = (channels / groups, outputs / groups)
    let kernelArea = height.kernel &* width.kernel
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
    for y in 0..<height.input {
      for ky in 0..<height.kernel {
        let row = y &* height.stride &- height.padding &+ ky &* height.dilation
        guard row >= 0, row < height.output else { continue }
        for x in 0..<width.input {
          let value = input[y &* width.input &+ x]
          for kx in 0..<width.kernel {
            let column = x &* width.stride &- width.padding &+ kx &* width.dilation
            guard column >= 0, column < width.output else { continue }
            output[row &* width.output &+ column] += value * kernel[ky &* width.kernel &+ kx]
          }
        }
      }
    }
  }
}
