/// ShuffleNetV2 with torchvision's keys (Ma et al. 2018, "ShuffleNet V2: Practical Guidelines for Efficient CNN
/// Architecture Design").
///
/// Keys: `conv1.0`, `stage2.0.branch1.0`, `stage2.0.branch2.0` …, `conv5.0`, `fc`.
public final class ShuffleNetV2: Module {
  let conv1: Sequential
  let maxpool = MaxPool2d(kernelSize: 3, stride: 2, padding: 1)
  let stage2: Sequential
  let stage3: Sequential
  let stage4: Sequential
  let conv5: Sequential
  let fc: Linear

  /// - Parameters:
  ///   - repeats: The number of blocks of each of the three stages.
  ///   - channels: Of the first convolution, the three stages, and the last convolution.
  package init(repeats: [Int], channels: [Int], numClasses: Int = 1000) {
    func stage(_ index: Int) -> Sequential {
      let (inChannels, outChannels) = (channels[index], channels[index + 1])
      let rest = (1..<repeats[index]).map { _ in InvertedResidual(outChannels, outChannels, stride: 1) }
      return Sequential([InvertedResidual(inChannels, outChannels, stride: 2)] + rest)
    }
    conv1 = Sequential([
      Conv2d(3, channels[0], kernelSize: 3, stride: 2, padding: 1, bias: false), BatchNorm2d(channels[0]), ReLU(),
    ])
    stage2 = stage(0)
    stage3 = stage(1)
    stage4 = stage(2)
    conv5 = Sequential([
      Conv2d(channels[3], channels[4], kernelSize: 1, bias: false), BatchNorm2d(channels[4]), ReLU(),
    ])
    fc = Linear(channels[4], numClasses)
  }

  /// torchvision's `shufflenet_v2_x1_0`.
  public static func shufflenetV2X10(numClasses: Int = 1000) -> ShuffleNetV2 {
    ShuffleNetV2(repeats: [4, 8, 4], channels: [24, 116, 232, 464, 1024], numClasses: numClasses)
  }

  public override class var typeName: String { "torchvision.models.shufflenetv2.ShuffleNetV2" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let x = try conv5(stage4(stage3(stage2(maxpool(conv1(input))))))
    return try fc(x.mean(dim: [2, 3]))
  }

  final class InvertedResidual: Module {
    let branch1: Sequential
    let branch2: Sequential
    private let stride: Int

    init(_ inChannels: Int, _ outChannels: Int, stride: Int) {
      self.stride = stride
      let features = outChannels / 2
      func depthwise(_ channels: Int) -> Module {
        Conv2d(channels, channels, kernelSize: 3, stride: Pair(stride), padding: 1, groups: channels, bias: false)
      }
      func pointwise(_ channels: Int) -> [Module] {
        [Conv2d(channels, features, kernelSize: 1, bias: false), BatchNorm2d(features), ReLU()]
      }
      branch1 = Sequential(
        stride > 1 ? [depthwise(inChannels), BatchNorm2d(inChannels)] + pointwise(inChannels) : [])
      branch2 = Sequential(
        pointwise(stride > 1 ? inChannels : features) + [depthwise(features), BatchNorm2d(features)]
          + pointwise(features))
    }

    override class var typeName: String { "torchvision.models.shufflenetv2.InvertedResidual" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      guard stride == 1 else { return try shuffled(cat([branch1(input), branch2(input)], dim: 1)) }
      let halves = try input.chunk(2, dim: 1)
      return try shuffled(cat([halves[0], branch2(halves[1])], dim: 1))
    }

    /// Interleaves the channels of the two halves.
    private func shuffled(_ x: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let (batch, channels, height, width) = (x.size(0), x.size(1), x.size(2), x.size(3))
      return try x.view([batch, 2, channels / 2, height, width]).transpose(1, 2).contiguous()
        .view([batch, channels, height, width])
    }
  }
}
