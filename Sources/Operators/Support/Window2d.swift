import TensorCore

/// The sliding window of a convolution or pooling over images, those of a 1-D one of height 1.
package struct Window2d: Hashable, Sendable {
  /// One direction. All sizes are in 31 bits.
  package struct Axis: Hashable, Sendable {
    package var kernel: Int
    package var stride: Int
    package var dilation = 1
    /// Before and behind the image. A transposed convolution's is what its result lacks on that side: behind, less than
    /// nothing where it is to be longer.
    package var padBefore = 0
    package var padAfter = 0
    /// Sizes of the image and of the result; 0 where they are not known.
    package internal(set) var input = 0
    package internal(set) var output = 0
  }

  package var height, width: Axis
  /// 1 where it is no convolution's.
  package var groups = 1

  /// Height and width of the kernel, the steps between windows and between taps.
  package init(kernel: [Int], stride: [Int], dilation: [Int] = [1, 1], padding: [Int] = [0, 0, 0, 0]) {
    height = Axis(kernel: kernel[0], stride: stride[0], dilation: dilation[0])
    width = Axis(kernel: kernel[1], stride: stride[1], dilation: dilation[1])
    self.padding = padding
  }

  /// Reads a call's window, the kernel's size being an argument or the weight's, and slides it over the call's images.
  ///
  /// `padding` is for both sides, for each (top, right, bottom, left), or by name. Rounding up (`ceil_mode`), the padding
  /// behind the image becomes what the last window needs; one that would start in that padding is left out.
  /// - Precondition: images and weight have their ranks, and sizes in 31 bits.
  package init(_ call: OperatorCall) throws(OperatorError) {
    let schema = call.schema
    func has(_ name: String) -> Bool { schema.parameter(named: name) != nil }
    let kernel =
      try has("kernel_size")
      ? call.boundedPair("kernel_size", in: 1...sizeLimit) : Window2d.sides(call.spec("weight").shape, from: 2)
    try call.check(
      [kernel.height, kernel.width].allSatisfy { (1...sizeLimit).contains($0) },
      "the kernel must be at least 1x1, not \(kernel.height)x\(kernel.width)")
    // A pooling's stride is the kernel unless it is given.
    let given = try call.ints("stride")
    let isLeftOut = given.isEmpty && schema.parameter(named: "stride")?.defaultValue == .ints([])
    let stride = isLeftOut ? kernel : try call.boundedPair("stride", in: 1...sizeLimit)
    let dilation = try has("dilation") ? call.boundedPair("dilation", in: 1...sizeLimit) : (1, 1)
    self.init(
      kernel: [kernel.height, kernel.width], stride: [stride.height, stride.width], dilation: [dilation.0, dilation.1])
    if has("groups") {
      groups = try call.int("groups")
      try call.check((1...sizeLimit).contains(groups), "'groups' must be at least 1, not \(groups)")
    }
    try readPadding(call)
    let image = try call.spec(has("input") ? "input" : "self").shape
    let isFlat = schema.parameter(named: "stride")?.kind == .ints(count: 1)
    (height.input, width.input) = Window2d.sides(image, from: image.rank - (isFlat ? 1 : 2))
    if has("output_padding") {
      try transpose(call)
      return
    }
    let roundsUp = try has("ceil_mode") ? call.bool("ceil_mode") : false
    guard height.slide(roundingUp: roundsUp), width.slide(roundingUp: roundsUp) else {
      throw call.error(
        "the kernel \(self.kernel) with dilation \(self.dilation) does not fit in [\(height.input), \(width.input)] with "
          + "padding \(padding)")
    }
  }

  /// The last two sizes of a shape, the first 1 where there is but one from that dimension on.
  private static func sides(_ shape: Shape, from start: Int) -> (height: Int, width: Int) {
    (start + 1 < shape.rank ? shape[start] : 1, shape[shape.rank - 1])
  }

  private mutating func readPadding(_ call: OperatorCall) throws(OperatorError) {
    switch call.schema.parameter(named: "padding")?.kind {
    case .string:
      switch try call.string("padding") {
      case "valid": return
      case "same":
        try call.check(stride == [1, 1], "padding 'same' needs stride 1, not \(stride)")
        // An odd element more is behind the image.
        let total = [height.reach, width.reach]
        padding = [total[0] / 2, (total[1] + 1) / 2, (total[0] + 1) / 2, total[1] / 2]
      case let other: throw call.error("'padding' must be 'valid' or 'same', not '\(other)'")
      }
    case .ints(count: 4):
      let pads = try call.ints("padding")
      try call.check(pads.count == 1 || pads.count == 4, "'padding' must have 1 or 4 integers, not \(pads)")
      try call.check(pads.allSatisfy((0...sizeLimit).contains), "'padding' must be in 0...\(sizeLimit), not \(pads)")
      padding = pads.count == 4 ? pads : [Int](repeating: pads[0], count: 4)
    default:
      let pads = try call.boundedPair("padding", in: 0...sizeLimit)
      padding = [pads.height, pads.width, pads.height, pads.width]
    }
  }

  /// A transposed convolution's windows start at the image's elements and cover its result.
  private mutating func transpose(_ call: OperatorCall) throws(OperatorError) {
    let extra = try call.boundedPair("output_padding", in: 0...sizeLimit)
    try call.check(
      extra.height < max(height.stride, height.dilation) && extra.width < max(width.stride, width.dilation),
      "'output_padding' [\(extra.height), \(extra.width)] must be below stride or dilation")
    height.transpose(extra: extra.height)
    width.transpose(extra: extra.width)
    for length in [height.output, width.output] {
      try call.check((1...sizeLimit).contains(length), "the output would be \(length) long")
    }
  }
}

extension Window2d {
  // Height and width, as attributes have them.
  package var kernel: [Int] { [height.kernel, width.kernel] }
  package var stride: [Int] { [height.stride, width.stride] }
  package var dilation: [Int] { [height.dilation, width.dilation] }

  /// Top, right, bottom, left.
  package var padding: [Int] {
    get { [height.padBefore, width.padAfter, height.padAfter, width.padBefore] }
    set {
      (height.padBefore, width.padAfter) = (newValue[0], newValue[1])
      (height.padAfter, width.padBefore) = (newValue[2], newValue[3])
    }
  }

  package var isPadded: Bool { padding != [0, 0, 0, 0] }
  /// Elements under it.
  package var area: Int { height.kernel * width.kernel }
  /// Whether it is the image, without padding.
  package var isGlobal: Bool { height.kernel == height.input && width.kernel == width.input && !isPadded }

  /// The rows of a window that sees single pixels, all of them, as one long row: no gap lies between them.
  func joiningPointwiseRows() -> Window2d {
    guard kernel == [1, 1], stride == [1, 1], !isPadded else { return self }
    var window = self
    window.width.input *= height.input
    window.width.output *= height.output
    (window.height.input, window.height.output) = (1, 1)
    return window
  }

  /// The output's shape, or an error when it is too large to address.
  func outputShape(_ call: OperatorCall, batch: Int, channels: Int) throws(OperatorError) -> Shape {
    let sizes = [batch, channels, height.output, width.output]
    guard let shape = Shape(validating: sizes) else { throw call.error("the output \(sizes) is too large") }
    return shape
  }

  /// Calls `body` for each output pixel in memory order, with the image's first row in the input (counted over the
  /// batch), the taps, and the pixel's index in the output.
  @inline(__always)
  func forEachOutput(batch: Int, _ body: (_ imageRow: Int, _ rows: Taps, _ columns: Taps, _ pixel: Int) -> Void) {
    var pixel = 0
    for image in 0..<batch {
      for y in 0..<height.output {
        let rows = height.taps(y)
        for x in 0..<width.output {
          body(image &* height.input, rows, width.taps(x), pixel)
          pixel &+= 1
        }
      }
    }
  }
}

extension Window2d {
  /// The taps of a window along one axis: k in first..<end reads the image at origin + k · dilation.
  typealias Taps = (first: Int, end: Int, origin: Int)
}

extension Window2d.Axis {
  /// From a window's first tap to its last.
  package var reach: Int { (kernel - 1) * dilation }

  /// The taps of output `position` that lie in the image. Empty, never negative, when there are none.
  @inline(__always)
  func taps(_ position: Int) -> Window2d.Taps {
    let origin = position &* stride &- padBefore
    if dilation == 1 {
      let first = min(max(0, 0 &- origin), kernel)
      return (first, max(first, min(kernel, input &- origin)), origin)
    }
    let first = origin < 0 ? min(kernel, (dilation &- 1 &- origin) / dilation) : 0
    let end = origin < input ? min(kernel, (input &- origin &+ dilation &- 1) / dilation) : 0
    return (first, max(first, end), origin)
  }

  /// The output positions whose tap `k` lies in the image.
  @inline(__always)
  func outputs(ofTap k: Int) -> Range<Int> {
    // Position p reads p · stride − offset.
    let offset = padBefore &- k &* dilation
    let first = offset > 0 ? min(output, (offset &+ stride &- 1) / stride) : 0
    let last = input &- 1 &+ offset
    let end = last < 0 ? 0 : min(output, last / stride &+ 1)
    return first..<max(first, end)
  }

  /// Computes `output`; false when not even one window fits.
  fileprivate mutating func slide(roundingUp: Bool) -> Bool {
    // Products of two 31-bit numbers and sums of a few of them stay below 2⁶³.
    let spare = input + padBefore + padAfter - reach - 1 + (roundingUp ? stride - 1 : 0)
    guard spare >= 0 else { return false }
    output = spare / stride + 1
    guard roundingUp else { return true }
    if (output - 1) * stride >= input + padBefore { output -= 1 }
    padAfter = max(0, (output - 1) * stride + reach + 1 - input - padBefore)
    return output > 0
  }

  fileprivate mutating func transpose(extra: Int) {
    padAfter -= extra
    output = (input - 1) * stride + reach + 1 - padBefore - padAfter
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

  /// A pooling's window. ATen's rule: more than half a window of padding would make windows that see nothing else.
  func poolingWindow() throws(OperatorError) -> Window2d {
    let window = try Window2d(self)
    for axis in [window.height, window.width] {
      try check(
        axis.padBefore <= (axis.reach + 1) / 2,
        "the padding \(axis.padBefore) is more than half of the window's \(axis.reach + 1)")
    }
    return window
  }

  /// The images' shape with other sizes.
  func pooledShape(_ input: TensorArgument, height: Int, width: Int) throws(OperatorError) -> Shape {
    try checkedShape(input.shape.dimensions.dropLast(2) + [height, width])
  }
}
