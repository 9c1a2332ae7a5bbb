/// EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation and with ReLU6, padded as TensorFlow pads (Google
/// 2020, "Higher accuracy on vision models with EfficientNet-Lite").
///
/// Keys: `stem.0`, `blocks.1.expand.0`, `blocks.1.depthwise.0`, `blocks.1.project.0` …, `head.0`, `classifier`: those
/// of `models/efficientnet-lite0`. Normalizations are at index 1.
public final class EfficientNetLite0: Module {
  let stem: Sequential
  let blocks: Sequential
  let head: Sequential
  let pool = AdaptiveAvgPool2d(1)
  let classifier: Linear

  /// Input (N, 3, 224, 224).
  public init(numClasses: Int = 1000) {
    // Expansion, kernel size, stride of the first, channels, blocks.
    let settings = [
      (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
      (6, 3, 1, 320, 1),
    ]
    stem = Sequential([Same(3, 32, kernelSize: 3, stride: 2), EfficientNetLite0.norm(32), ReLU6()])
    var channels = 32
    var layers: [Module] = []
    for (expansion, kernelSize, stride, outChannels, count) in settings {
      for index in 0..<count {
        layers.append(
          MBBlock(
            channels, outChannels, expansion: expansion, kernelSize: kernelSize, stride: index == 0 ? stride : 1))
        channels = outChannels
      }
    }
    blocks = Sequential(layers)
    head = Sequential([Conv2d(channels, 1280, kernelSize: 1, bias: false), EfficientNetLite0.norm(1280), ReLU6()])
    classifier = Linear(1280, numClasses)
  }

  private static func norm(_ channels: Int) -> Module { BatchNorm2d(channels, eps: 0.001) }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(pool(head(blocks(stem(input)))).flatten(startDim: 1))
  }

  final class MBBlock: Module {
    let expand: Sequential?
    let depthwise: Sequential
    let project: Sequential
    private let isResidual: Bool

    init(_ inChannels: Int, _ outChannels: Int, expansion: Int, kernelSize: Int, stride: Int) {
      isResidual = stride == 1 && inChannels == outChannels
      let expanded = inChannels * expansion
      expand =
        expansion == 1
        ? nil
        : Sequential([
          Conv2d(inChannels, expanded, kernelSize: 1, bias: false), EfficientNetLite0.norm(expanded), ReLU6(),
        ])
      depthwise = Sequential([
        Same(expanded, expanded, kernelSize: kernelSize, stride: stride, groups: expanded),
        EfficientNetLite0.norm(expanded), ReLU6(),
      ])
      project = Sequential([
        Conv2d(expanded, outChannels, kernelSize: 1, bias: false), EfficientNetLite0.norm(outChannels),
      ])
    }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      var x = input
      if let expand { x = try expand(x) }
      x = try project(depthwise(x))
      return isResidual ? try input + x : x
    }
  }

  /// A convolution whose output has ⌈size / stride⌉ rows and columns, with the larger part of uneven padding behind.
  final class Same: Conv2d {
    private let window: (kernelSize: Int, stride: Int)

    init(_ inChannels: Int, _ outChannels: Int, kernelSize: Int, stride: Int, groups: Int = 1) {
      window = (kernelSize, stride)
      super.init(
        inChannels, outChannels, kernelSize: Pair(kernelSize), stride: Pair(stride),
        padding: stride == 1 ? Pair(kernelSize / 2) : 0, groups: groups, bias: false)
    }

    override class var typeName: String { String(reflecting: self) }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      guard window.stride > 1 else { return try super.forward(input) }
      // The last dimension first, as `pad` takes them.
      let padding = [3, 2].flatMap { dim in
        let size = Int(input.size(dim))
        let needed = ((size + window.stride - 1) / window.stride - 1) * window.stride + window.kernelSize - size
        return [max(0, needed) / 2, (max(0, needed) + 1) / 2]
      }
      return try super.forward(input.pad(padding))
    }
  }
}
