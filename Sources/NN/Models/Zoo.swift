import TensorCore

/// The models that come with the project, by torchvision's names.
public enum ModelZoo {
  /// A model by its name, without its weights.
  public struct Entry: Sendable {
    /// `resnet18`, as in `torchvision.models`; the models of MLPerf Tiny have its task in their name.
    public let name: String
    /// One sample: (1, channels, height, width), or (1, features).
    public let inputShape: Shape
    /// Of the published weights; nil for a model that does not classify.
    public let numClasses: Int?
    private let build: @Sendable (Int) -> Module

    init(
      _ name: String, _ inputShape: Shape = [1, 3, 224, 224], numClasses: Int? = 1000,
      _ build: @escaping @Sendable (Int) -> Module
    ) {
      self.name = name
      self.inputShape = inputShape
      self.numClasses = numClasses
      self.build = build
    }

    /// A new model without weights.
    /// - Parameter numClasses: outputs of the last layer, `self.numClasses` when nil; a model that does not classify
    ///   has none.
    public func make(numClasses: Int? = nil) -> Module { build(numClasses ?? self.numClasses ?? 0) }
  }

  /// The model of that name; nil when there is none.
  public static func entry(named name: String) -> Entry? { all.first { $0.name == name } }

  /// All models.
  public static let all: [Entry] = [
    Entry("resnet18") { ResNet.resnet18(numClasses: $0) },
    Entry("resnet34") { ResNet.resnet34(numClasses: $0) },
    Entry("resnet50") { ResNet.resnet50(numClasses: $0) },
    Entry("mobilenet_v2") { MobileNetV2.mobilenetV2(numClasses: $0) },
    Entry("mobilenet_v3_small") { MobileNetV3.mobilenetV3Small(numClasses: $0) },
    Entry("mobilenet_v3_large") { MobileNetV3.mobilenetV3Large(numClasses: $0) },
    Entry("squeezenet1_1") { SqueezeNet.squeezenet11(numClasses: $0) },
    Entry("efficientnet_b0") { EfficientNet.efficientnetB0(numClasses: $0) },
    Entry("efficientnet_lite0") { EfficientNetLite0(numClasses: $0) },
    Entry("shufflenet_v2_x1_0") { ShuffleNetV2.shufflenetV2X10(numClasses: $0) },
    Entry("vgg11_bn") { VGG.vgg11BN(numClasses: $0) },
    Entry("densenet121") { DenseNet.densenet121(numClasses: $0) },
    Entry("mnasnet1_0") { MNASNet.mnasnet10(numClasses: $0) },
    Entry("regnet_y_400mf") { RegNet.regnetY400MF(numClasses: $0) },
    Entry("regnet_x_400mf") { RegNet.regnetX400MF(numClasses: $0) },
    Entry("convnext_tiny") { ConvNeXt.convnextTiny(numClasses: $0) },
    Entry("vit_b_16") { VisionTransformer.vitB16(numClasses: $0) },
    Entry("resnet20", [1, 3, 32, 32], numClasses: 10) { CIFARResNet.resnet20(numClasses: $0) },
    Entry("resnet8", [1, 3, 32, 32], numClasses: 10) { ResNet8(numClasses: $0) },
    Entry("mobilenet_v1_vww", [1, 3, 96, 96], numClasses: 2) { MobileNetV1(numClasses: $0) },
    Entry("ds_cnn_kws", [1, 1, 49, 10], numClasses: 12) { DSCNN(numClasses: $0) },
    Entry("autoencoder_ad", [1, 640], numClasses: nil) { _ in AutoEncoder() },
  ]
}
