/// MNASNet-B1 with torchvision's keys (Tan et al. 2019, "MnasNet: Platform-Aware Neural Architecture Search for
/// Mobile").
///
/// Keys: `layers.0`, `layers.8.0.layers.0` …, `layers.14`, `classifier.1`.
public final class MNASNet: Module {
  let layers: Sequential
  let classifier: Sequential

  /// - Parameter alpha: Factor of the numbers of channels.
  package init(alpha: Double, numClasses: Int = 1000, dropout: Double = 0.2) {
    let depths = [32, 16, 24, 40, 80, 96, 192, 320].map { makeDivisible(Double($0) * alpha) }
    // Kernel size, stride of the first, expansion, blocks.
    let settings = [(3, 2, 3, 3), (5, 2, 3, 3), (5, 2, 6, 3), (3, 1, 6, 2), (5, 2, 6, 4), (3, 1, 6, 1)]
    var modules: [Module] = [
      Conv2d(3, depths[0], kernelSize: 3, stride: 2, padding: 1, bias: false), MNASNet.norm(depths[0]), ReLU(),
      Conv2d(depths[0], depths[0], kernelSize: 3, padding: 1, groups: depths[0], bias: false),
      MNASNet.norm(depths[0]), ReLU(),
      Conv2d(depths[0], depths[1], kernelSize: 1, bias: false), MNASNet.norm(depths[1]),
    ]
    for (index, (kernelSize, stride, expansion, count)) in settings.enumerated() {
      let (inChannels, outChannels) = (depths[index + 1], depths[index + 2])
      modules.append(
        Sequential(
          (0..<count).map {
            InvertedResidual(
              $0 == 0 ? inChannels : outChannels, outChannels, kernelSize: kernelSize, stride: $0 == 0 ? stride : 1,
              expansion: expansion)
          }))
    }
    modules += [Conv2d(depths[7], 1280, kernelSize: 1, bias: false), MNASNet.norm(1280), ReLU()]
    layers = Sequential(modules)
    classifier = Sequential([Dropout(dropout), Linear(1280, numClasses)])
  }

  /// torchvision's `mnasnet1_0`.
  public static func mnasnet10(numClasses: Int = 1000) -> MNASNet { MNASNet(alpha: 1, numClasses: numClasses) }

  /// TensorFlow's momentum 0.9997, as PyTorch counts it.
  private static func norm(_ channels: Int) -> Module { BatchNorm2d(channels, momentum: 1 - 0.9997) }

  public override class var typeName: String { "torchvision.models.mnasnet.MNASNet" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(layers(input).mean(dim: [2, 3]))
  }

  final class InvertedResidual: Module {
    let layers: Sequential
    private let isResidual: Bool

    init(_ inChannels: Int, _ outChannels: Int, kernelSize: Int, stride: Int, expansion: Int) {
      isResidual = stride == 1 && inChannels == outChannels
      let middle = inChannels * expansion
      layers = Sequential([
        Conv2d(inChannels, middle, kernelSize: 1, bias: false), MNASNet.norm(middle), ReLU(),
        Conv2d(
          middle, middle, kernelSize: Pair(kernelSize), stride: Pair(stride), padding: Pair(kernelSize / 2),
          groups: middle, bias: false),
        MNASNet.norm(middle), ReLU(),
        Conv2d(middle, outChannels, kernelSize: 1, bias: false), MNASNet.norm(outChannels),
      ])
    }

    override class var typeName: String { "torchvision.models.mnasnet._InvertedResidual" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try layers(input)
      return isResidual ? try x + input : x
    }
  }
}
