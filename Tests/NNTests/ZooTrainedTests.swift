import NN
import Swiftlet
import TestSupport
import Testing

/// A model in Swift and a trained one that PyTorch exported.
private struct TrainedModel: Sendable, CustomTestStringConvertible {
  /// Of the files in the shared data.
  let name: String
  let make: @Sendable () -> Module
  var testDescription: String { name }

  static let isAvailable = sharedData("models/resnet8_cifar10.pt2") != nil

  static let all = [
    TrainedModel(name: "resnet18_imagenette") { ResNet.resnet18(numClasses: 10) },
    TrainedModel(name: "efficientnet_lite0_imagenet") { EfficientNetLite0() },
    TrainedModel(name: "mobilenet_v2_imagenet") { FoldedMobileNetV2() },
    TrainedModel(name: "squeezenet1_1_imagenet") { SqueezeNetLogits() },
    TrainedModel(name: "resnet20_cifar10") { CIFARResNet.resnet20() },
    TrainedModel(name: "resnet8_cifar10") { ResNet8() },
    TrainedModel(name: "mobilenet_v1_vww") { MobileNetV1() },
    TrainedModel(name: "ds_cnn_kws") { DSCNN() },
    TrainedModel(name: "autoencoder_ad") { AutoEncoder() },
  ]

  func path(_ suffix: String) throws -> String {
    guard let path = sharedData("models/\(name)\(suffix)") else { throw UsageError("no data for \(name)\(suffix)") }
    return path
  }

  /// An array of the golden file, each sample with a batch dimension of 1.
  func golden(_ array: String) throws -> [Tensor] {
    let tensor = try NumPyArchive(path: path("_golden.npz")).tensor(array)
    let shape = Shape([1] + tensor.shape.dimensions.dropFirst())
    let (values, size) = (tensor.elements(as: Float.self), shape.elementCount)
    return (0..<tensor.shape[0]).map { Tensor(Array(values[$0 * size..<($0 + 1) * size]), shape: shape) }
  }
}

@Suite(.serialized, .enabled(if: TrainedModel.isAvailable, "needs the shared models"))
struct ZooTrainedTests {
  /// The graph is that of the file, and the file's weights in the Swift model give PyTorch's outputs.
  @Test(arguments: TrainedModel.all)
  fileprivate func graphAndOutputsEqualPyTorchs(_ trained: TrainedModel) throws {
    let exported = try PT2Archive.read(trained.path(".pt2"))
    let model = trained.make()
    try model.loadStateDict(StateDict.read(trained.path(".pt2")))
    let inputs = try trained.golden("input")
    let captured = try export(model, [inputs[0].spec])
    let difference = firstDifference(GraphText(captured).lines, GraphText(exported).lines)
    #expect(difference == nil, "\(difference ?? "")")
    try expectOutputs(of: captured, trained, inputs)
  }

  @Test fileprivate func stateDictThatPyTorchSavedFitsResNet20() throws {
    let trained = TrainedModel.all.first { $0.name == "resnet20_cifar10" }!
    let model = trained.make()
    try model.loadStateDict(StateDict.read(trained.path(".pth")))
    let inputs = try trained.golden("input")
    try expectOutputs(of: export(model, [inputs[0].spec]), trained, inputs)
  }

  private func expectOutputs(of program: ExportedProgram, _ trained: TrainedModel, _ inputs: [Tensor]) throws {
    let method = try Method(lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 2))
    for (input, expected) in zip(inputs, try trained.golden("float_output")) {
      let (output, golden) = (try method.run([input])[0].elements(as: Float.self), expected.elements(as: Float.self))
      #expect(output.count == golden.count)
      #expect(zip(output, golden).map { abs($0 - $1) }.max()! <= 1e-4 * (golden.max()! - golden.min()!))
    }
  }
}

/// SqueezeNet 1.1 whose logits may be negative.
private final class SqueezeNetLogits: Module {
  let features = SqueezeNet.squeezenet11().features
  let classifier = Sequential([
    Dropout(0.5), Conv2d(512, 1000, kernelSize: 1), Identity(), AdaptiveAvgPool2d(1),
  ])

  override class var typeName: String { SqueezeNet.typeName }

  override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(features(input)).flatten(startDim: 1)
  }
}

/// MobileNetV2 from a file whose normalizations are part of the convolutions.
private final class FoldedMobileNetV2: Module {
  let features: Sequential
  let dropout = Dropout(0.2)
  let classifier = Linear(1280, 1000)

  override init() {
    var channels = 32
    var layers: [Module] = [Conv2d(3, channels, kernelSize: 3, stride: 2, padding: 1), ReLU6()]
    for (expansion, outChannels, count, stride) in [
      (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ] {
      for index in 0..<count {
        layers.append(Block(channels, outChannels, expansion, stride: index == 0 ? stride : 1))
        channels = outChannels
      }
    }
    features = Sequential(layers + [Conv2d(channels, 1280, kernelSize: 1), ReLU6()])
  }

  override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try classifier(dropout(features(input).adaptiveAvgPool2d([1, 1]).flatten(startDim: 1)))
  }

  final class Block: Module {
    let conv: Sequential
    let isResidual: Bool

    init(_ inChannels: Int, _ outChannels: Int, _ expansion: Int, stride: Int) {
      isResidual = stride == 1 && inChannels == outChannels
      let hidden = inChannels * expansion
      conv = Sequential(
        (expansion == 1 ? [] : [Conv2d(inChannels, hidden, kernelSize: 1), ReLU6()]) + [
          Conv2d(hidden, hidden, kernelSize: 3, stride: Pair(stride), padding: 1, groups: hidden), ReLU6(),
          Conv2d(hidden, outChannels, kernelSize: 1),
        ])
    }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      let x = try conv(input)
      return isResidual ? try input + x : x
    }
  }
}
