// The four models of MLPerf Tiny (Banbury et al. 2021, "MLPerf Tiny Benchmark"), padded as TensorFlow pads. Their keys
// are those of `models/resnet8` and of the project's shared data.

/// A convolution with bias that is padded by given numbers of columns and rows: left, right, top, bottom.
final class SameConv: Module {
  let conv: Conv2d
  private let padding: [Int]

  init(
    _ inChannels: Int, _ outChannels: Int, kernelSize: Pair, stride: Int = 1, padding: [Int], groups: Int = 1
  ) {
    let isEven = padding[0] == padding[1] && padding[2] == padding[3]
    self.padding = isEven ? [] : padding
    conv = Conv2d(
      inChannels, outChannels, kernelSize: kernelSize, stride: Pair(stride),
      padding: isEven ? Pair(padding[2], padding[0]) : 0, groups: groups)
  }

  /// 3×3: padded on all sides, or with stride 2, whose images have even sides, behind only.
  convenience init(_ inChannels: Int, _ outChannels: Int, stride: Int = 1, groups: Int = 1) {
    self.init(
      inChannels, outChannels, kernelSize: 3, stride: stride, padding: stride == 1 ? [1, 1, 1, 1] : [0, 1, 0, 1],
      groups: groups)
  }

  override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try conv(padding.isEmpty ? input : input.pad(padding))
  }
}

/// Image classification: ResNet with three blocks on CIFAR-10.
///
/// Keys: `conv.conv`, `bn`, `layer1.conv1.conv` …, `layer2.downsample.conv`, `fc`.
public final class ResNet8: Module {
  let conv = SameConv(3, 16)
  let bn = BatchNorm2d(16, eps: 0.001)
  let relu = ReLU()
  let layer1 = Block(16, 16, stride: 1)
  let layer2 = Block(16, 32, stride: 2)
  let layer3 = Block(32, 64, stride: 2)
  let pool = AvgPool2d(kernelSize: 8)
  let fc: Linear

  /// Input (N, 3, 32, 32).
  public init(numClasses: Int = 10) { fc = Linear(64, numClasses) }

  /// - Parameter input: Images [N, 3, 32, 32].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let x = try layer3(layer2(layer1(relu(bn(conv(input))))))
    return try fc(pool(x).flatten(startDim: 1))
  }

  final class Block: Module {
    let conv1: SameConv
    let bn1: BatchNorm2d
    let relu1 = ReLU()
    let conv2: SameConv
    let bn2: BatchNorm2d
    let downsample: SameConv?
    let relu2 = ReLU()

    init(_ inPlanes: Int, _ planes: Int, stride: Int) {
      conv1 = SameConv(inPlanes, planes, stride: stride)
      bn1 = BatchNorm2d(planes, eps: 0.001)
      conv2 = SameConv(planes, planes)
      bn2 = BatchNorm2d(planes, eps: 0.001)
      downsample =
        stride == 1
        ? nil : SameConv(inPlanes, planes, kernelSize: 1, stride: stride, padding: [0, 0, 0, 0])
    }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try bn2(conv2(relu1(bn1(conv1(input)))))
      var identity = input
      if let downsample { identity = try downsample(input) }
      return try relu2(identity + x)
    }
  }
}

/// Visual wake words: MobileNetV1 with a quarter of the channels (Howard et al. 2017), on images of 96×96.
///
/// Keys: `features.0.conv`, `features.1`, `features.3.conv` …, `classifier`.
public final class MobileNetV1: Module {
  let features: Sequential
  let pool = AvgPool2d(kernelSize: 3)
  let classifier: Linear

  /// Input (N, 3, 96, 96).
  public init(numClasses: Int = 2) {
    // Channels and stride of the depthwise separable convolutions.
    let settings = [
      (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1), (256, 2),
      (256, 1),
    ]
    func activated(_ conv: Module, _ channels: Int) -> [Module] { [conv, BatchNorm2d(channels, eps: 0.001), ReLU()] }
    var channels = 8
    var layers = activated(SameConv(3, channels, stride: 2), channels)
    for (outChannels, stride) in settings {
      layers += activated(SameConv(channels, channels, stride: stride, groups: channels), channels)
      layers += activated(Conv2d(channels, outChannels, kernelSize: 1), outChannels)
      channels = outChannels
    }
    features = Sequential(layers)
    classifier = Linear(channels, numClasses)
  }

  /// - Parameter input: Images [N, 3, 96, 96].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(pool(features(input)).flatten(startDim: 1))
  }
}

/// Keyword spotting: depthwise separable convolutions on spectra, with their normalization folded in (Zhang et al.
/// 2017, "Hello Edge: Keyword Spotting on Microcontrollers").
///
/// Keys: `conv.conv`, `blocks.0.conv`, `blocks.2` …, `fc`.
public final class DSCNN: Module {
  let conv = SameConv(1, 64, kernelSize: Pair(10, 4), stride: 2, padding: [1, 1, 4, 5])
  let relu = ReLU()
  let blocks = Sequential(
    (0..<4).flatMap { _ in
      [SameConv(64, 64, groups: 64), ReLU(), Conv2d(64, 64, kernelSize: 1), ReLU()] as [Module]
    })
  let pool = AvgPool2d(kernelSize: Pair(25, 5))
  let fc: Linear

  /// Input (N, 1, 49, 10).
  public init(numClasses: Int = 12) { fc = Linear(64, numClasses) }

  /// - Parameter input: Mel-frequency cepstral coefficients [N, 1, 49, 10].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try fc(pool(blocks(relu(conv(input)))).flatten(startDim: 1))
  }
}

/// Anomaly detection: an autoencoder of windows of a spectrogram, whose error is the score (Koizumi et al. 2020).
///
/// Keys: `layers.0`, `layers.1` …, `out`.
public final class AutoEncoder: Module {
  let layers: Sequential
  let out: Linear

  /// - Parameter features: Numbers of a window: five spectra of 128.
  public init(features: Int = 640) {
    let sizes = [features, 128, 128, 128, 128, 8, 128, 128, 128, 128]
    layers = Sequential(
      zip(sizes, sizes.dropFirst()).flatMap { size, next in
        [Linear(size, next), BatchNorm1d(next, eps: 0.001), ReLU()] as [Module]
      })
    out = Linear(128, features)
  }

  /// - Parameter input: Windows [N, features].
  /// - Returns: The windows as the model knows them, [N, features].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try out(layers(input))
  }
}
