import Operators
import TensorCore

/// What the convolutions share: sizes, one number per spatial dimension, and weights.
open class Convolution: Module {
  /// The filters; each class says in which order.
  public let weight: Parameter
  /// One element for each output channel; nil without `bias`.
  public let bias: Parameter?
  final let stride: [Int]
  final let padding: [Int]
  final let dilation: [Int]
  final let groups: Int

  /// - Parameter channels: the weight's first two sizes.
  init(
    channels: [Int], biasCount: Int?, kernel: [Int], stride: [Int], padding: [Int], dilation: [Int], groups: Int
  ) {
    let fanIn = channels[1] * kernel.reduce(1, *)
    weight = Parameter(Shape(channels + kernel), .kaimingUniform(fanIn: fanIn))
    bias = biasCount.map { Parameter([$0], .kaimingUniform(fanIn: fanIn)) }
    (self.stride, self.padding, self.dilation, self.groups) = (stride, padding, dilation, groups)
  }

  /// - Parameter ownSizes: further arguments of the operator.
  final func convolve(
    _ input: SymbolicTensor, _ op: Operator, _ ownSizes: [(String, CaptureArgument)] = []
  ) throws(ExportError) -> SymbolicTensor {
    var arguments: [(String, CaptureArgument)] = [
      ("input", .tensor(input)), ("weight", .tensor(try input.parameter(weight))),
    ]
    if let bias { arguments.append(("bias", .tensor(try input.parameter(bias)))) }
    // Sizes that are the default are not written, whatever the number of dimensions.
    for (name, sizes, usual) in [("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)]
    where sizes.contains(where: { $0 != usual }) {
      arguments.append((name, .ints(sizes)))
    }
    if groups != 1 { arguments.append(("groups", .int(groups))) }
    return try input.tracer.call(op, arguments + ownSizes)[0]
  }
}

/// (N, inChannels, H, W) → (N, outChannels, H′, W′); weight (outChannels, inChannels / groups, KH, KW).
open class Conv2d: Convolution {
  /// - Precondition: `groups` divides both numbers of channels.
  public init(
    _ inChannels: Int, _ outChannels: Int, kernelSize: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1,
    groups: Int = 1, bias: Bool = true
  ) {
    checkGroups(groups, inChannels, outChannels)
    super.init(
      channels: [outChannels, inChannels / groups], biasCount: bias ? outChannels : nil, kernel: kernelSize.sizes,
      stride: stride.sizes, padding: padding.sizes, dilation: dilation.sizes, groups: groups)
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try convolve(input, .conv2d)
  }
}

/// (N, inChannels, L) → (N, outChannels, L′); weight (outChannels, inChannels / groups, K).
open class Conv1d: Convolution {
  /// - Precondition: `groups` divides both numbers of channels.
  public init(
    _ inChannels: Int, _ outChannels: Int, kernelSize: Int, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
    groups: Int = 1, bias: Bool = true
  ) {
    checkGroups(groups, inChannels, outChannels)
    super.init(
      channels: [outChannels, inChannels / groups], biasCount: bias ? outChannels : nil, kernel: [kernelSize],
      stride: [stride], padding: [padding], dilation: [dilation], groups: groups)
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try convolve(input, .conv1d)
  }
}

/// (N, inChannels, H, W) → (N, outChannels, H′, W′); weight (inChannels, outChannels / groups, KH, KW).
open class ConvTranspose2d: Convolution {
  private let outputPadding: [Int]

  /// - Precondition: `groups` divides both numbers of channels.
  public init(
    _ inChannels: Int, _ outChannels: Int, kernelSize: Pair, stride: Pair = 1, padding: Pair = 0,
    outputPadding: Pair = 0, groups: Int = 1, bias: Bool = true, dilation: Pair = 1
  ) {
    checkGroups(groups, inChannels, outChannels)
    self.outputPadding = outputPadding.sizes
    super.init(
      channels: [inChannels, outChannels / groups], biasCount: bias ? outChannels : nil, kernel: kernelSize.sizes,
      stride: stride.sizes, padding: padding.sizes, dilation: dilation.sizes, groups: groups)
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let own: [(String, CaptureArgument)] =
      outputPadding.contains { $0 != 0 } ? [("output_padding", .ints(outputPadding))] : []
    return try convolve(input, .convTranspose2d, own)
  }
}

private func checkGroups(_ groups: Int, _ inChannels: Int, _ outChannels: Int) {
  precondition(
    groups > 0 && inChannels % groups == 0 && outChannels % groups == 0,
    "\(groups) groups do not divide \(inChannels) and \(outChannels) channels")
}

/// Height and width; one number stands for both.
public struct Pair: Hashable, Sendable, ExpressibleByIntegerLiteral {
  /// Along the last dimension but one.
  public let height: Int
  /// Along the last dimension.
  public let width: Int

  /// Height and width.
  public init(_ height: Int, _ width: Int) {
    self.height = height
    self.width = width
  }

  /// The same for both.
  public init(_ size: Int) { self.init(size, size) }
  public init(integerLiteral value: Int) { self.init(value) }

  var sizes: [Int] { [height, width] }
}
