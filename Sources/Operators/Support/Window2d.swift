import TensorCore

/// The sliding window of a convolution or pooling over NCHW images, validated.
struct Window2d: Sendable {
  /// One direction. All sizes are in 31 bits.
  struct Axis: Sendable {
    var input: Int
    var kernel: Int
    var stride: Int
    /// Before the image; as much behind it, and `extraPadding`.
    var padding: Int
    var extraPadding = 0
    var dilation = 1
    var output = 0
  }

  var height: Axis
  var width: Axis

  /// Reads `stride` (empty: the kernel), `padding` (sizes, or `'valid'` and `'same'`) and, where the schema has it, `dilation`.
  ///
  /// Rounding up, a last window that would start in the padding behind the image is left out.
  init(
    _ call: OperatorCall, input: Shape, kernel: (height: Int, width: Int), roundingUp: Bool = false
  ) throws(OperatorError) {
    let rank = input.rank
    let stride = try call.ints("stride").isEmpty ? kernel : call.boundedPair("stride", in: 1...sizeLimit)
    height = Axis(input: input[rank - 2], kernel: kernel.height, stride: stride.height, padding: 0)
    width = Axis(input: input[rank - 1], kernel: kernel.width, stride: stride.width, padding: 0)
    if call.schema.parameter(named: "dilation") != nil {
      let dilation = try call.boundedPair("dilation", in: 1...sizeLimit)
      (height.dilation, width.dilation) = (dilation.height, dilation.width)
    }
    if call.schema.parameter(named: "padding")?.kind == .string {
      try pad(call)
    } else {
      let padding = try call.boundedPair("padding", in: 0...sizeLimit)
      (height.padding, width.padding) = (padding.height, padding.width)
    }
    guard height.slide(roundingUp: roundingUp), width.slide(roundingUp: roundingUp) else {
      throw call.error(
        "the kernel [\(kernel.height), \(kernel.width)] with dilation [\(height.dilation), \(width.dilation)] does not fit "
          + "in \(input) with padding [\(height.padding), \(width.padding)]")
    }
  }

  /// `padding` by name: none, or as much as keeps the image's size, an odd element more behind it.
  private mutating func pad(_ call: OperatorCall) throws(OperatorError) {
    switch try call.string("padding") {
    case "valid": return
    case "same":
      try call.check(
        height.stride == 1 && width.stride == 1,
        "padding 'same' needs stride 1, not [\(height.stride), \(width.stride)]")
      height.padToSame()
      width.padToSame()
    case let other: throw call.error("'padding' must be 'valid' or 'same', not '\(other)'")
    }
  }

  /// The rows of a window that sees single pixels, all of them, as one long row: no gap lies between them.
  func joiningPointwiseRows() -> Window2d {
    guard [height, width].allSatisfy({ $0.kernel == 1 && $0.stride == 1 && $0.padding == 0 }) else { return self }
    var window = self
    window.width.input *= height.input
    window.width.output *= height.output
    (window.height.input, window.height.output) = (1, 1)
    return window
  }

  /// ATen's rule for pooling: more than half a window of padding would make windows that see nothing else.
  func checkPoolingPadding(_ call: OperatorCall) throws(OperatorError) {
    for axis in [height, width] {
      let extent = (axis.kernel - 1) * axis.dilation + 1
      try call.check(
        axis.padding <= extent / 2, "the padding \(axis.padding) is more than half of the window's \(extent)")
    }
  }
}

extension Window2d.Axis {
  /// The taps of output `position` that lie in the image: tap k in first..<end reads origin + k · dilation. Empty, never
  /// negative, when there are none.
  @inline(__always)
  func taps(_ position: Int) -> (first: Int, end: Int, origin: Int) {
    let origin = position &* stride &- padding
    let first = origin < 0 ? min(kernel, (dilation &- 1 &- origin) / dilation) : 0
    let end = origin < input ? min(kernel, (input &- origin &+ dilation &- 1) / dilation) : 0
    return (first, max(first, end), origin)
  }

  /// The output positions whose tap `k` lies in the image.
  @inline(__always)
  func outputs(ofTap k: Int) -> Range<Int> {
    // Position p reads p · stride − offset.
    let offset = padding &- k &* dilation
    let first = offset > 0 ? min(output, (offset &+ stride &- 1) / stride) : 0
    let last = input &- 1 &+ offset
    let end = last < 0 ? 0 : min(output, last / stride &+ 1)
    return first..<max(first, end)
  }

  fileprivate mutating func padToSame() {
    let total = dilation * (kernel - 1)
    (padding, extraPadding) = (total / 2, total % 2)
  }

  /// Computes `output`; false when not even one window fits.
  fileprivate mutating func slide(roundingUp: Bool) -> Bool {
    let spare = input + 2 * padding + extraPadding - dilation * (kernel - 1) - 1 + (roundingUp ? stride - 1 : 0)
    guard spare >= 0 else { return false }
    output = spare / stride + 1
    if roundingUp, (output - 1) * stride >= input + padding { output -= 1 }
    return output > 0
  }
}

extension OperatorCall {
  /// A batch of images [N, C, H, W], or one image [C, H, W], float32 or the given integer type; sizes other than the batch
  /// are in 1 ..< 2³¹.
  func images(_ name: String, orInteger integer: DataType? = nil) throws(OperatorError) -> TensorArgument {
    let isInteger = try spec(name).dataType == integer
    let images = try isInteger ? tensor(name) : floatTensor(name)
    let shape = images.shape
    try check(
      shape.rank == 3 || shape.rank == 4, "'\(name)' must be [N, C, H, W] or [C, H, W], not \(shape)")
    try check(
      shape.dimensions.suffix(3).allSatisfy { (1...sizeLimit).contains($0) } && shape[0] <= sizeLimit,
      "'\(name)' has an empty or too large dimension: \(shape)")
    return images
  }

  /// A pooling's window: `kernel_size` with `stride`, `padding` and `ceil_mode`.
  func poolingWindow(_ input: TensorArgument) throws(OperatorError) -> Window2d {
    let kernel = try boundedPair("kernel_size", in: 1...sizeLimit)
    let window = try Window2d(self, input: input.shape, kernel: kernel, roundingUp: try bool("ceil_mode"))
    try window.checkPoolingPadding(self)
    return window
  }

  /// The images' shape with other sizes.
  func pooledShape(_ input: TensorArgument, height: Int, width: Int) throws(OperatorError) -> Shape {
    try checkedShape(input.shape.dimensions.dropLast(2) + [height, width])
  }
}
