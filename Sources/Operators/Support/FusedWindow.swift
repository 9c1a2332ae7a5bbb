import TensorCore

/// The sliding window of a convolution or pooling over an image, validated: every size fits in 31 bits.
struct FusedWindow: Sendable {
  var kernelHeight, kernelWidth: Int
  var strideHeight, strideWidth: Int
  var dilationHeight = 1
  var dilationWidth = 1
  var padTop, padLeft: Int
  var inputHeight, inputWidth: Int
  var outputHeight = 0
  var outputWidth = 0

  /// Reads `stride`, `padding` (top, right, bottom, left) and, where the schema has it, `dilation`.
  /// - Precondition: `input` is an image activation.
  init(_ call: OperatorCall, input: TensorSpec, kernel: (height: Int, width: Int)) throws(OperatorError) {
    let limit = Int(Int32.max)
    try call.check(
      (1...limit).contains(kernel.height) && (1...limit).contains(kernel.width),
      "the kernel must be at least 1x1, not \(kernel.height)x\(kernel.width)")
    (kernelHeight, kernelWidth) = kernel
    let stride = try call.windowInts("stride", count: 2, in: 1...limit)
    (strideHeight, strideWidth) = (stride[0], stride[1])
    if call.schema.parameter(named: "dilation") != nil {
      let dilation = try call.windowInts("dilation", count: 2, in: 1...limit)
      (dilationHeight, dilationWidth) = (dilation[0], dilation[1])
    }
    let padding = try call.windowInts("padding", count: 4, in: 0...limit)
    (padTop, padLeft) = (padding[0], padding[3])
    (inputHeight, inputWidth) = (input.shape[2], input.shape[3])
    // Products of two 31-bit numbers and sums of a few of them stay below 2⁶³.
    let spareHeight = inputHeight + padTop + padding[2] - (kernelHeight - 1) * dilationHeight - 1
    let spareWidth = inputWidth + padding[1] + padLeft - (kernelWidth - 1) * dilationWidth - 1
    try call.check(
      spareHeight >= 0 && spareWidth >= 0,
      "the kernel \(kernel.height)x\(kernel.width) with dilation [\(dilationHeight), \(dilationWidth)] does not fit in "
        + "\(inputHeight)x\(inputWidth) with padding \(padding)")
    outputHeight = spareHeight / strideHeight + 1
    outputWidth = spareWidth / strideWidth + 1
  }

  /// The output's shape, or an error when it is too large to address.
  func outputShape(_ call: OperatorCall, batch: Int, channels: Int) throws(OperatorError) -> Shape {
    guard let shape = Shape(validating: [batch, channels, outputHeight, outputWidth]) else {
      throw call.error("the output [\(batch), \(channels), \(outputHeight), \(outputWidth)] is too large")
    }
    return shape
  }

  /// The taps of output row `y` that lie in the image.
  @inline(__always)
  func rows(_ y: Int) -> Taps {
    FusedWindow.taps(y &* strideHeight &- padTop, kernelHeight, dilationHeight, inputHeight)
  }

  /// The taps of output column `x` that lie in the image.
  @inline(__always)
  func columns(_ x: Int) -> Taps {
    FusedWindow.taps(x &* strideWidth &- padLeft, kernelWidth, dilationWidth, inputWidth)
  }

  /// Taps k in first..<end have 0 ≤ origin + k·dilation < size; the range is empty, not negative, when there are none.
  @inline(__always)
  private static func taps(
    _ origin: Int, _ kernel: Int, _ dilation: Int, _ size: Int
  ) -> Taps {
    if dilation == 1 {
      let first = min(max(0, 0 &- origin), kernel)
      return (first, max(first, min(kernel, size &- origin)), origin)
    }
    let first = origin < 0 ? min(kernel, (dilation &- 1 &- origin) / dilation) : 0
    let end = origin < size ? min(kernel, (size &- origin &+ dilation &- 1) / dilation) : 0
    return (first, max(first, end), origin)
  }
}

extension FusedWindow {
  /// The taps of a window along one axis: k in first..<end reads the image at origin + k · dilation.
  typealias Taps = (first: Int, end: Int, origin: Int)

  /// Calls `body` for each output pixel in memory order, with the image's first row in the input (counted over the
  /// batch), the taps, and the pixel's index in the output.
  @inline(__always)
  func forEachOutput(batch: Int, _ body: (_ imageRow: Int, _ rows: Taps, _ columns: Taps, _ pixel: Int) -> Void) {
    var pixel = 0
    for image in 0..<batch {
      for y in 0..<outputHeight {
        let rows = rows(y)
        for x in 0..<outputWidth {
          body(image &* inputHeight, rows, columns(x), pixel)
          pixel &+= 1
        }
      }
    }
  }
}
