/// DenseNet-BC with torchvision's keys (Huang et al. 2017, "Densely Connected Convolutional Networks").
///
/// Keys: `features.conv0`, `features.norm0`, `features.denseblock1.denselayer1.norm1` …, `features.transition1.conv`,
/// `features.norm5`, `classifier`.
public final class DenseNet: Module {
  let features: Sequential
  let classifier: Linear

  /// - Parameters:
  ///   - growth: Channels that each layer adds.
  ///   - blocks: The number of layers of each block.
  ///   - initialChannels: Channels of the first convolution.
  package init(growth: Int = 32, blocks: [Int], initialChannels: Int = 64, numClasses: Int = 1000) {
    var channels = initialChannels
    var layers: [(key: String, module: Module)] = [
      ("conv0", Conv2d(3, channels, kernelSize: 7, stride: 2, padding: 3, bias: false)),
      ("norm0", BatchNorm2d(channels)),
      ("relu0", ReLU()),
      ("pool0", MaxPool2d(kernelSize: 3, stride: 2, padding: 1)),
    ]
    for (index, count) in blocks.enumerated() {
      layers.append(("denseblock\(index + 1)", DenseBlock(count, channels, growth: growth)))
      channels += count * growth
      if index < blocks.count - 1 {
        layers.append(("transition\(index + 1)", Transition(channels)))
        channels /= 2
      }
    }
    layers.append(("norm5", BatchNorm2d(channels)))
    features = Sequential(named: layers)
    classifier = Linear(channels, numClasses)
  }

  /// 8.0 million parameters; input (N, 3, 224, 224).
  public static func densenet121(numClasses: Int = 1000) -> DenseNet {
    DenseNet(blocks: [6, 12, 24, 16], numClasses: numClasses)
  }

  public override class var typeName: String { "torchvision.models.densenet.DenseNet" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(features(input).relu().adaptiveAvgPool2d([1, 1]).flatten(startDim: 1))
  }
}

extension DenseNet {
  /// Reads all that the layers before it computed.
  final class DenseLayer: Module {
    let norm1: BatchNorm2d
    let relu1 = ReLU()
    let conv1: Conv2d
    let norm2: BatchNorm2d
    let relu2 = ReLU()
    let conv2: Conv2d

    init(_ inChannels: Int, growth: Int) {
      norm1 = BatchNorm2d(inChannels)
      conv1 = Conv2d(inChannels, 4 * growth, kernelSize: 1, bias: false)
      norm2 = BatchNorm2d(4 * growth)
      conv2 = Conv2d(4 * growth, growth, kernelSize: 3, padding: 1, bias: false)
    }

    override class var typeName: String { "torchvision.models.densenet._DenseLayer" }

    override func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] {
      let x = try conv1(relu1(norm1(cat(inputs, dim: 1))))
      return [try conv2(relu2(norm2(x)))]
    }
  }

  /// Keys: `denselayer1` …
  final class DenseBlock: Module {
    private let layers: [DenseLayer]

    init(_ count: Int, _ inChannels: Int, growth: Int) {
      layers = (0..<count).map { DenseLayer(inChannels + $0 * growth, growth: growth) }
    }

    override class var typeName: String { "torchvision.models.densenet._DenseBlock" }

    override func children() -> [(key: String, module: Module)] {
      layers.enumerated().map { ("denselayer\($0.offset + 1)", $0.element) }
    }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      var features = [input]
      for layer in layers { features += try layer(features) }
      return try cat(features, dim: 1)
    }
  }

  /// Halves the channels and the image's sides.
  final class Transition: Sequential {
    init(_ channels: Int) {
      super.init(named: [
        ("norm", BatchNorm2d(channels)), ("relu", ReLU()),
        ("conv", Conv2d(channels, channels / 2, kernelSize: 1, bias: false)),
        ("pool", AvgPool2d(kernelSize: 2, stride: 2)),
      ])
    }

    override class var typeName: String { "torchvision.models.densenet._Transition" }
  }
}
