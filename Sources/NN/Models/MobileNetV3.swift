/// MobileNetV3 with torchvision's keys (Howard et al. 2019, "Searching for MobileNetV3").
///
/// Keys: `features.0.0`, `features.1.block.0.0` …, `features.4.block.2.fc1`, `classifier.0`, `classifier.3`.
public final class MobileNetV3: Module {
  let features: Sequential
  let avgpool = AdaptiveAvgPool2d(1)
  let classifier: Sequential

  /// One inverted residual block.
  package struct Setting: Sendable {
    let inChannels, kernelSize, expandedChannels, outChannels: Int
    let usesSqueezeExcitation, usesHardswish: Bool
    let stride: Int

    init(
      _ inChannels: Int, _ kernelSize: Int, _ expandedChannels: Int, _ outChannels: Int, se: Bool, hs: Bool,
      stride: Int = 1
    ) {
      self.inChannels = inChannels
      self.kernelSize = kernelSize
      self.expandedChannels = expandedChannels
      self.outChannels = outChannels
      usesSqueezeExcitation = se
      usesHardswish = hs
      self.stride = stride
    }
  }

  init(_ settings: [Setting], lastChannels: Int, numClasses: Int, dropout: Double = 0.2) {
    let (first, last) = (settings[0].inChannels, settings[settings.count - 1].outChannels)
    var layers: [Module] = [
      Conv2dNormActivation(3, first, stride: 2, norm: MobileNetV3.norm, activation: { Hardswish() })
    ]
    layers += settings.map(InvertedResidual.init)
    layers.append(
      Conv2dNormActivation(last, 6 * last, kernelSize: 1, norm: MobileNetV3.norm, activation: { Hardswish() }))
    features = Sequential(layers)
    classifier = Sequential([
      Linear(6 * last, lastChannels), Hardswish(), Dropout(dropout), Linear(lastChannels, numClasses),
    ])
  }

  /// 5.5 million parameters; input (N, 3, 224, 224).
  public static func mobilenetV3Large(numClasses: Int = 1000) -> MobileNetV3 {
    MobileNetV3(
      [
        Setting(16, 3, 16, 16, se: false, hs: false),
        Setting(16, 3, 64, 24, se: false, hs: false, stride: 2),
        Setting(24, 3, 72, 24, se: false, hs: false),
        Setting(24, 5, 72, 40, se: true, hs: false, stride: 2),
        Setting(40, 5, 120, 40, se: true, hs: false),
        Setting(40, 5, 120, 40, se: true, hs: false),
        Setting(40, 3, 240, 80, se: false, hs: true, stride: 2),
        Setting(80, 3, 200, 80, se: false, hs: true),
        Setting(80, 3, 184, 80, se: false, hs: true),
        Setting(80, 3, 184, 80, se: false, hs: true),
        Setting(80, 3, 480, 112, se: true, hs: true),
        Setting(112, 3, 672, 112, se: true, hs: true),
        Setting(112, 5, 672, 160, se: true, hs: true, stride: 2),
        Setting(160, 5, 960, 160, se: true, hs: true),
        Setting(160, 5, 960, 160, se: true, hs: true),
      ], lastChannels: 1280, numClasses: numClasses)
  }

  /// 2.5 million parameters; input (N, 3, 224, 224).
  public static func mobilenetV3Small(numClasses: Int = 1000) -> MobileNetV3 {
    MobileNetV3(
      [
        Setting(16, 3, 16, 16, se: true, hs: false, stride: 2),
        Setting(16, 3, 72, 24, se: false, hs: false, stride: 2),
        Setting(24, 3, 88, 24, se: false, hs: false),
        Setting(24, 5, 96, 40, se: true, hs: true, stride: 2),
        Setting(40, 5, 240, 40, se: true, hs: true),
        Setting(40, 5, 240, 40, se: true, hs: true),
        Setting(40, 5, 120, 48, se: true, hs: true),
        Setting(48, 5, 144, 48, se: true, hs: true),
        Setting(48, 5, 288, 96, se: true, hs: true, stride: 2),
        Setting(96, 5, 576, 96, se: true, hs: true),
        Setting(96, 5, 576, 96, se: true, hs: true),
      ], lastChannels: 1024, numClasses: numClasses)
  }

  private static func norm(_ channels: Int) -> Module { BatchNorm2d(channels, eps: 0.001, momentum: 0.01) }

  public override class var typeName: String { "torchvision.models.mobilenetv3.MobileNetV3" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(avgpool(features(input)).flatten(startDim: 1))
  }

  final class InvertedResidual: Module {
    let block: Sequential
    private let isResidual: Bool

    init(_ setting: Setting) {
      isResidual = setting.stride == 1 && setting.inChannels == setting.outChannels
      let expanded = setting.expandedChannels
      let activation: () -> Module = { setting.usesHardswish ? Hardswish() : ReLU() }
      var layers: [Module] = []
      if expanded != setting.inChannels {
        layers.append(
          Conv2dNormActivation(
            setting.inChannels, expanded, kernelSize: 1, norm: MobileNetV3.norm, activation: activation))
      }
      layers.append(
        Conv2dNormActivation(
          expanded, expanded, kernelSize: setting.kernelSize, stride: setting.stride, groups: expanded,
          norm: MobileNetV3.norm, activation: activation))
      if setting.usesSqueezeExcitation {
        layers.append(
          SqueezeExcitation(
            expanded, squeezeChannels: makeDivisible(Double(expanded / 4)), scaleActivation: Hardsigmoid()))
      }
      layers.append(
        Conv2dNormActivation(
          expanded, setting.outChannels, kernelSize: 1, norm: MobileNetV3.norm, activation: nil))
      block = Sequential(layers)
    }

    override class var typeName: String { "torchvision.models.mobilenetv3.InvertedResidual" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try block(input)
      return isResidual ? try x + input : x
    }
  }
}
