// Blocks that several models share.

/// The nearest multiple of `divisor`, not below it, and at least nine tenths of `value`.
func makeDivisible(_ value: Double, by divisor: Int = 8) -> Int {
  let rounded = max(divisor, Int(value + Double(divisor) / 2) / divisor * divisor)
  return Double(rounded) < 0.9 * value ? rounded + divisor : rounded
}

/// `torchvision.ops.Conv2dNormActivation`: a convolution that keeps the size of the image (divided by the stride), its
/// normalization, and an activation.
///
/// Keys: `0` the convolution, `1` the normalization, `2` the activation.
package class Conv2dNormActivation: Sequential {
  /// - Parameters:
  ///   - padding: `(kernelSize - 1) / 2` if nil.
  ///   - bias: Whether the convolution has one.
  ///   - norm: Makes the normalization for a number of channels.
  ///   - activation: Makes the activation; nil for none.
  package init(
    _ inChannels: Int, _ outChannels: Int, kernelSize: Int = 3, stride: Int = 1, padding: Int? = nil, groups: Int = 1,
    bias: Bool = false, norm: (Int) -> Module = { BatchNorm2d($0) }, activation: (() -> Module)? = { ReLU() }
  ) {
    var layers: [Module] = [
      Conv2d(
        inChannels, outChannels, kernelSize: Pair(kernelSize), stride: Pair(stride),
        padding: Pair(padding ?? (kernelSize - 1) / 2), groups: groups, bias: bias),
      norm(outChannels),
    ]
    if let activation { layers.append(activation()) }
    super.init(layers)
  }

  package override class var typeName: String { "torchvision.ops.misc.Conv2dNormActivation" }
}

/// `torchvision.ops.SqueezeExcitation`: scales channels by a function of their means (Hu et al. 2018,
/// "Squeeze-and-Excitation Networks").
package final class SqueezeExcitation: Module {
  let avgpool = AdaptiveAvgPool2d(1)
  let fc1: Conv2d
  let fc2: Conv2d
  let activation: Module
  let scaleActivation: Module

  package init(
    _ inputChannels: Int, squeezeChannels: Int, activation: Module = ReLU(), scaleActivation: Module = Sigmoid()
  ) {
    fc1 = Conv2d(inputChannels, squeezeChannels, kernelSize: 1)
    fc2 = Conv2d(squeezeChannels, inputChannels, kernelSize: 1)
    self.activation = activation
    self.scaleActivation = scaleActivation
  }

  package override class var typeName: String { "torchvision.ops.misc.SqueezeExcitation" }

  package override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let scale = try scaleActivation(fc2(activation(fc1(avgpool(input)))))
    return try scale * input
  }
}
