/// VGG with batch normalization and torchvision's keys (Simonyan and Zisserman 2015, "Very Deep Convolutional Networks
/// for Large-Scale Image Recognition").
///
/// Keys: `features.0`, `features.1` …, `classifier.0`, `classifier.3`, `classifier.6`.
public final class VGG: Module {
  let features: Sequential
  let avgpool = AdaptiveAvgPool2d(7)
  let classifier: Sequential

  /// - Parameter stages: The channels of the convolutions between one pooling and the next.
  package init(stages: [[Int]], numClasses: Int = 1000, dropout: Double = 0.5) {
    var channels = 3
    var layers: [Module] = []
    for stage in stages {
      for outChannels in stage {
        layers += [
          Conv2d(channels, outChannels, kernelSize: 3, padding: 1), BatchNorm2d(outChannels), ReLU(),
        ]
        channels = outChannels
      }
      layers.append(MaxPool2d(kernelSize: 2, stride: 2))
    }
    features = Sequential(layers)
    classifier = Sequential([
      Linear(channels * 7 * 7, 4096), ReLU(), Dropout(dropout),
      Linear(4096, 4096), ReLU(), Dropout(dropout),
      Linear(4096, numClasses),
    ])
  }

  /// torchvision's `vgg11_bn`.
  public static func vgg11BN(numClasses: Int = 1000) -> VGG {
    VGG(stages: [[64], [128], [256, 256], [512, 512], [512, 512]], numClasses: numClasses)
  }

  public override class var typeName: String { "torchvision.models.vgg.VGG" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(avgpool(features(input)).flatten(startDim: 1))
  }
}
