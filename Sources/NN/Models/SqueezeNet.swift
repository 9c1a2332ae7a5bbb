/// SqueezeNet 1.1 with torchvision's keys (Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer
/// parameters and <0.5MB model size").
///
/// Keys: `features.0`, `features.3.squeeze`, `features.3.expand1x1`, `features.3.expand3x3` …, `classifier.1`.
public final class SqueezeNet: Module {
  package let features: Sequential
  package let classifier: Sequential

  package init(numClasses: Int = 1000, dropout: Double = 0.5) {
    func pool() -> Module { MaxPool2d(kernelSize: 3, stride: 2, ceilMode: true) }
    features = Sequential([
      Conv2d(3, 64, kernelSize: 3, stride: 2), ReLU(), pool(),
      Fire(64, 16, 64), Fire(128, 16, 64), pool(),
      Fire(128, 32, 128), Fire(256, 32, 128), pool(),
      Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    ])
    classifier = Sequential([
      Dropout(dropout), Conv2d(512, numClasses, kernelSize: 1), ReLU(), AdaptiveAvgPool2d(1),
    ])
  }

  /// torchvision's `squeezenet1_1`.
  public static func squeezenet11(numClasses: Int = 1000) -> SqueezeNet { SqueezeNet(numClasses: numClasses) }

  public override class var typeName: String { "torchvision.models.squeezenet.SqueezeNet" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits, not negative, [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(features(input)).flatten(startDim: 1)
  }

  final class Fire: Module {
    let squeeze: Conv2d
    let squeezeActivation = ReLU()
    let expand1x1: Conv2d
    let expand1x1Activation = ReLU()
    let expand3x3: Conv2d
    let expand3x3Activation = ReLU()

    /// - Parameter expandPlanes: Channels of each of the two convolutions whose results are concatenated.
    init(_ inPlanes: Int, _ squeezePlanes: Int, _ expandPlanes: Int) {
      squeeze = Conv2d(inPlanes, squeezePlanes, kernelSize: 1)
      expand1x1 = Conv2d(squeezePlanes, expandPlanes, kernelSize: 1)
      expand3x3 = Conv2d(squeezePlanes, expandPlanes, kernelSize: 3, padding: 1)
    }

    override class var typeName: String { "torchvision.models.squeezenet.Fire" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try squeezeActivation(squeeze(input))
      return try cat([expand1x1Activation(expand1x1(x)), expand3x3Activation(expand3x3(x))], dim: 1)
    }
  }
}
