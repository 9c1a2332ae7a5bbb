import TensorCore

/// ConvNeXt with torchvision's keys (Liu et al. 2022, "A ConvNet for the 2020s").
///
/// Keys: `features.0.0`, `features.1.0.layer_scale`, `features.1.0.block.0` …, `features.2.1`, `classifier.0`,
/// `classifier.2`.
///
/// Stochastic depth, which torchvision's has, drops blocks in training only: it has no weights and leaves no trace in a
/// graph.
public final class ConvNeXt: Module {
  let features: Sequential
  let avgpool = AdaptiveAvgPool2d(1)
  let classifier: Sequential

  /// - Parameter stages: Channels and number of blocks of each stage.
  package init(stages: [(channels: Int, blocks: Int)], numClasses: Int = 1000) {
    var layers: [Module] = [
      Conv2dNormActivation(
        3, stages[0].channels, kernelSize: 4, stride: 4, padding: 0, bias: true, norm: { LayerNorm2d($0) },
        activation: nil)
    ]
    for (index, stage) in stages.enumerated() {
      layers.append(Sequential((0..<stage.blocks).map { _ in CNBlock(stage.channels) }))
      if index + 1 < stages.count {
        layers.append(
          Sequential([
            LayerNorm2d(stage.channels),
            Conv2d(stage.channels, stages[index + 1].channels, kernelSize: 2, stride: 2),
          ]))
      }
    }
    features = Sequential(layers)
    let channels = stages[stages.count - 1].channels
    classifier = Sequential([LayerNorm2d(channels), Flatten(), Linear(channels, numClasses)])
  }

  /// 28.6 million parameters; input (N, 3, 224, 224).
  public static func convnextTiny(numClasses: Int = 1000) -> ConvNeXt {
    ConvNeXt(stages: [(96, 3), (192, 3), (384, 9), (768, 3)], numClasses: numClasses)
  }

  public override class var typeName: String { "torchvision.models.convnext.ConvNeXt" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(avgpool(features(input)))
  }
}

extension ConvNeXt {
  final class CNBlock: Module {
    let layerScale: Parameter
    let block: Sequential

    init(_ channels: Int) {
      layerScale = Parameter([channels, 1, 1], .constant(1e-6))
      block = Sequential([
        Conv2d(channels, channels, kernelSize: 7, padding: 3, groups: channels),
        Permute([0, 2, 3, 1]),
        LayerNorm([channels], eps: 1e-6),
        Linear(channels, 4 * channels),
        GELU(),
        Linear(4 * channels, channels),
        Permute([0, 3, 1, 2]),
      ])
    }

    override class var typeName: String { "torchvision.models.convnext.CNBlock" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      try input.parameter(layerScale) * block(input) + input
    }
  }

  /// Normalizes the channels of each pixel of an image [N, C, H, W].
  final class LayerNorm2d: LayerNorm {
    init(_ channels: Int) { super.init([channels], eps: 1e-6) }

    override class var typeName: String { "torchvision.models.convnext.LayerNorm2d" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      try super.forward(input.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
    }
  }

  final class Permute: Module {
    private let dims: [Int]

    init(_ dims: [Int]) { self.dims = dims }

    override class var typeName: String { "torchvision.ops.misc.Permute" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.permute(dims) }
  }
}
