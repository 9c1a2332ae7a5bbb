import Operators

/// ResNet for images of 32×32, whose shortcuts have no weights (He et al. 2016, section 4.2, option A).
///
/// Keys: `conv1`, `bn1`, `layer1.0.conv1` …, `linear`: those of published CIFAR-10 checkpoints.
public final class CIFARResNet: Module {
  let conv1 = Conv2d(3, 16, kernelSize: 3, padding: 1, bias: false)
  let bn1 = BatchNorm2d(16)
  let layer1: Sequential
  let layer2: Sequential
  let layer3: Sequential
  let linear: Linear

  /// - Parameter blocks: The number of blocks of each of the three stages; 3 for ResNet-20.
  package init(blocks: Int, numClasses: Int = 10) {
    func stage(_ inPlanes: Int, _ planes: Int) -> Sequential {
      Sequential((0..<blocks).map { BasicBlock($0 == 0 ? inPlanes : planes, planes) })
    }
    layer1 = stage(16, 16)
    layer2 = stage(16, 32)
    layer3 = stage(32, 64)
    linear = Linear(64, numClasses)
  }

  /// 20 layers; input (N, 3, 32, 32).
  public static func resnet20(numClasses: Int = 10) -> CIFARResNet { CIFARResNet(blocks: 3, numClasses: numClasses) }

  /// - Parameter input: Images [N, 3, 32, 32].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let x = try layer3(layer2(layer1(bn1(conv1(input)).relu())))
    let window = [Int(x.size(2)), Int(x.size(3))]
    let pooled = try SymbolicTensor.call(
      .avgPool2d, ["self": .tensor(x), "kernel_size": .ints(window)])[0]
    return try linear(pooled.view([pooled.size(0), -1]))
  }

  final class BasicBlock: Module {
    let conv1: Conv2d
    let bn1: BatchNorm2d
    let conv2: Conv2d
    let bn2: BatchNorm2d
    let shortcut: Module

    init(_ inPlanes: Int, _ planes: Int) {
      let stride = inPlanes == planes ? 1 : 2
      conv1 = Conv2d(inPlanes, planes, kernelSize: 3, stride: Pair(stride), padding: 1, bias: false)
      bn1 = BatchNorm2d(planes)
      conv2 = Conv2d(planes, planes, kernelSize: 3, padding: 1, bias: false)
      bn2 = BatchNorm2d(planes)
      shortcut = stride == 1 ? Sequential([]) : Subsampled(addedChannels: planes - inPlanes)
    }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try bn2(conv2(bn1(conv1(input)).relu()))
      return try (x + shortcut(input)).relu()
    }
  }

  /// Every second row and column, with channels of zeros before and behind.
  final class Subsampled: Module {
    private let addedChannels: Int

    init(addedChannels: Int) { self.addedChannels = addedChannels }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try input.slice(dim: 2, step: 2).slice(dim: 3, step: 2)
      let padding = [0, 0, 0, 0, addedChannels / 2, addedChannels / 2]
      // The value is written, though it is what padding has by default, as `F.pad(x, pad, "constant", 0)` writes it.
      return try SymbolicTensor.call(
        .pad, ["self": .tensor(x), "pad": .ints(padding), "value": .float(0)])[0]
    }
  }
}
