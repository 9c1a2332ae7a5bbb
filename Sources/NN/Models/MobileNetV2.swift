/// MobileNetV2 with torchvision's keys (Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks").
///
/// Keys: `features.0.0`, `features.1.conv.0.0` …, `features.18.0`, `classifier.1`.
public final class MobileNetV2: Module {
  let features: Sequential
  let classifier: Sequential

  package init(numClasses: Int = 1000, dropout: Double = 0.2) {
    // Expansion, channels, blocks, stride of the first.
    let settings = [
      (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ]
    var channels = 32
    var layers: [Module] = [Conv2dNormActivation(3, channels, stride: 2, activation: { ReLU6() })]
    for (expansion, outChannels, count, stride) in settings {
      for index in 0..<count {
        layers.append(
          InvertedResidual(channels, outChannels, stride: index == 0 ? stride : 1, expansion: expansion))
        channels = outChannels
      }
    }
    layers.append(Conv2dNormActivation(channels, 1280, kernelSize: 1, activation: { ReLU6() }))
    features = Sequential(layers)
    classifier = Sequential([Dropout(dropout), Linear(1280, numClasses)])
  }

  /// 3.5 million parameters; input (N, 3, 224, 224).
  public static func mobilenetV2(numClasses: Int = 1000) -> MobileNetV2 { MobileNetV2(numClasses: numClasses) }

  public override class var typeName: String { "torchvision.models.mobilenetv2.MobileNetV2" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(features(input).adaptiveAvgPool2d([1, 1]).flatten(startDim: 1))
  }

  final class InvertedResidual: Module {
    let conv: Sequential
    private let isResidual: Bool

    init(_ inChannels: Int, _ outChannels: Int, stride: Int, expansion: Int) {
      isResidual = stride == 1 && inChannels == outChannels
      let hidden = inChannels * expansion
      var layers: [Module] = []
      if expansion != 1 {
        layers.append(Conv2dNormActivation(inChannels, hidden, kernelSize: 1, activation: { ReLU6() }))
      }
      layers += [
        Conv2dNormActivation(hidden, hidden, stride: stride, groups: hidden, activation: { ReLU6() }),
        Conv2d(hidden, outChannels, kernelSize: 1, bias: false),
        BatchNorm2d(outChannels),
      ]
      conv = Sequential(layers)
    }

    override class var typeName: String { "torchvision.models.mobilenetv2.InvertedResidual" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try conv(input)
      return isResidual ? try input + x : x
    }
  }
}
