/// EfficientNet with torchvision's keys (Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional
/// Neural Networks").
///
/// Keys: `features.0.0`, `features.1.0.block.0.0` …, `features.1.0.block.1.fc1`, `features.8.0`, `classifier.1`.
///
/// Stochastic depth, which torchvision's has, drops blocks in training only: it has no weights and leaves no trace in a
/// graph.
public final class EfficientNet: Module {
  let features: Sequential
  let avgpool = AdaptiveAvgPool2d(1)
  let classifier: Sequential

  package init(dropout: Double, numClasses: Int = 1000) {
    // Expansion, kernel size, stride of the first, channels, blocks.
    let settings = [
      (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
      (6, 3, 1, 320, 1),
    ]
    var channels = 32
    var layers: [Module] = [Conv2dNormActivation(3, channels, stride: 2, activation: { SiLU() })]
    for (expansion, kernelSize, stride, outChannels, count) in settings {
      var stage: [Module] = []
      for index in 0..<count {
        stage.append(
          MBConv(
            channels, outChannels, expansion: expansion, kernelSize: kernelSize, stride: index == 0 ? stride : 1))
        channels = outChannels
      }
      layers.append(Sequential(stage))
    }
    layers.append(Conv2dNormActivation(channels, 4 * channels, kernelSize: 1, activation: { SiLU() }))
    features = Sequential(layers)
    classifier = Sequential([Dropout(dropout), Linear(4 * channels, numClasses)])
  }

  /// 5.3 million parameters; input (N, 3, 224, 224).
  public static func efficientnetB0(numClasses: Int = 1000) -> EfficientNet {
    EfficientNet(dropout: 0.2, numClasses: numClasses)
  }

  public override class var typeName: String { "torchvision.models.efficientnet.EfficientNet" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(avgpool(features(input)).flatten(startDim: 1))
  }

  final class MBConv: Module {
    let block: Sequential
    private let isResidual: Bool

    init(_ inChannels: Int, _ outChannels: Int, expansion: Int, kernelSize: Int, stride: Int) {
      isResidual = stride == 1 && inChannels == outChannels
      let expanded = inChannels * expansion
      var layers: [Module] = []
      if expansion != 1 {
        layers.append(Conv2dNormActivation(inChannels, expanded, kernelSize: 1, activation: { SiLU() }))
      }
      layers += [
        Conv2dNormActivation(
          expanded, expanded, kernelSize: kernelSize, stride: stride, groups: expanded, activation: { SiLU() }),
        SqueezeExcitation(expanded, squeezeChannels: max(1, inChannels / 4), activation: SiLU()),
        Conv2dNormActivation(expanded, outChannels, kernelSize: 1, activation: nil),
      ]
      block = Sequential(layers)
    }

    override class var typeName: String { "torchvision.models.efficientnet.MBConv" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try block(input)
      return isResidual ? try x + input : x
    }
  }
}
