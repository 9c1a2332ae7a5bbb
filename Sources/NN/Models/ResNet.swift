/// ResNet with torchvision's keys (He et al. 2016, "Deep Residual Learning for Image Recognition"), with the stride of
/// a bottleneck in its 3×3 convolution.
///
/// Keys: `conv1`, `bn1`, `layer1.0.conv1` …, `layer2.0.downsample.0`, `fc`.
public final class ResNet: Module {
  let conv1 = Conv2d(3, 64, kernelSize: 7, stride: 2, padding: 3, bias: false)
  let bn1 = BatchNorm2d(64)
  let relu = ReLU()
  let maxpool = MaxPool2d(kernelSize: 3, stride: 2, padding: 1)
  let layer1: Sequential
  let layer2: Sequential
  let layer3: Sequential
  let layer4: Sequential
  let avgpool = AdaptiveAvgPool2d(1)
  let fc: Linear

  /// - Parameters:
  ///   - usesBottlenecks: Blocks of three convolutions, whose output has four times the planes, in place of two.
  ///   - layers: The number of blocks of each of the four stages.
  package init(usesBottlenecks: Bool, layers: [Int], numClasses: Int = 1000) {
    let expansion = usesBottlenecks ? 4 : 1
    var inPlanes = 64
    func stage(_ planes: Int, _ count: Int, stride: Int) -> Sequential {
      var blocks: [Module] = []
      for index in 0..<count {
        let stride = index == 0 ? stride : 1
        var downsample: Sequential?
        if stride != 1 || inPlanes != planes * expansion {
          downsample = Sequential([
            Conv2d(inPlanes, planes * expansion, kernelSize: 1, stride: Pair(stride), bias: false),
            BatchNorm2d(planes * expansion),
          ])
        }
        blocks.append(
          usesBottlenecks
            ? Bottleneck(inPlanes, planes, stride: stride, downsample: downsample)
            : BasicBlock(inPlanes, planes, stride: stride, downsample: downsample))
        inPlanes = planes * expansion
      }
      return Sequential(blocks)
    }
    layer1 = stage(64, layers[0], stride: 1)
    layer2 = stage(128, layers[1], stride: 2)
    layer3 = stage(256, layers[2], stride: 2)
    layer4 = stage(512, layers[3], stride: 2)
    fc = Linear(512 * expansion, numClasses)
  }

  /// 18 layers, 11.7 million parameters; input (N, 3, 224, 224).
  public static func resnet18(numClasses: Int = 1000) -> ResNet {
    ResNet(usesBottlenecks: false, layers: [2, 2, 2, 2], numClasses: numClasses)
  }

  /// 34 layers, 21.8 million parameters; input (N, 3, 224, 224).
  public static func resnet34(numClasses: Int = 1000) -> ResNet {
    ResNet(usesBottlenecks: false, layers: [3, 4, 6, 3], numClasses: numClasses)
  }

  /// 50 layers, 25.6 million parameters; input (N, 3, 224, 224).
  public static func resnet50(numClasses: Int = 1000) -> ResNet {
    ResNet(usesBottlenecks: true, layers: [3, 4, 6, 3], numClasses: numClasses)
  }

  public override class var typeName: String { "torchvision.models.resnet.ResNet" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let x = try maxpool(relu(bn1(conv1(input))))
    let features = try layer4(layer3(layer2(layer1(x))))
    return try fc(avgpool(features).flatten(startDim: 1))
  }
}

extension ResNet {
  final class BasicBlock: Module {
    let conv1: Conv2d
    let bn1: BatchNorm2d
    let relu = ReLU()
    let conv2: Conv2d
    let bn2: BatchNorm2d
    let downsample: Sequential?

    init(_ inPlanes: Int, _ planes: Int, stride: Int, downsample: Sequential?) {
      conv1 = Conv2d(inPlanes, planes, kernelSize: 3, stride: Pair(stride), padding: 1, bias: false)
      bn1 = BatchNorm2d(planes)
      conv2 = Conv2d(planes, planes, kernelSize: 3, padding: 1, bias: false)
      bn2 = BatchNorm2d(planes)
      self.downsample = downsample
    }

    override class var typeName: String { "torchvision.models.resnet.BasicBlock" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try bn2(conv2(relu(bn1(conv1(input)))))
      var identity = input
      if let downsample { identity = try downsample(input) }
      return try relu(x + identity)
    }
  }

  final class Bottleneck: Module {
    let conv1: Conv2d
    let bn1: BatchNorm2d
    let conv2: Conv2d
    let bn2: BatchNorm2d
    let conv3: Conv2d
    let bn3: BatchNorm2d
    let relu = ReLU()
    let downsample: Sequential?

    init(_ inPlanes: Int, _ planes: Int, stride: Int, downsample: Sequential?) {
      conv1 = Conv2d(inPlanes, planes, kernelSize: 1, bias: false)
      bn1 = BatchNorm2d(planes)
      conv2 = Conv2d(planes, planes, kernelSize: 3, stride: Pair(stride), padding: 1, bias: false)
      bn2 = BatchNorm2d(planes)
      conv3 = Conv2d(planes, planes * 4, kernelSize: 1, bias: false)
      bn3 = BatchNorm2d(planes * 4)
      self.downsample = downsample
    }

    override class var typeName: String { "torchvision.models.resnet.Bottleneck" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      var x = try relu(bn1(conv1(input)))
      x = try relu(bn2(conv2(x)))
      x = try bn3(conv3(x))
      var identity = input
      if let downsample { identity = try downsample(input) }
      return try relu(x + identity)
    }
  }
}
