import TensorCore

/// The models that come with the project, by torchvision's names.
public enum ModelZoo {
  public struct Entry: Sendable {
    /// `resnet18`, as in `torchvision.models`; the models of MLPerf Tiny have its task in their name.
    public let name: String
    /// One sample: (1, channels, height, width), or (1, features).
    public let inputShape: Shape
    /// A new model without weights.
    public let make: @Sendable () -> Module

    init(_ name: String, _ inputShape: Shape = [1, 3, 224, 224], _ make: @escaping @Sendable () -> Module) {
      self.name = name
      self.inputShape = inputShape
      self.make = make
    }
  }

  public static func entry(named name: String) -> Entry? { all.first { $0.name == name } }

  public static let all: [Entry] = [
    Entry("resnet18") { ResNet.resnet18() },
    Entry("resnet34") { ResNet.resnet34() },
    Entry("resnet50") { ResNet.resnet50() },
    Entry("mobilenet_v2") { MobileNetV2.mobilenetV2() },
    Entry("mobilenet_v3_small") { MobileNetV3.mobilenetV3Small() },
    Entry("mobilenet_v3_large") { MobileNetV3.mobilenetV3Large() },
    Entry("squeezenet1_1") { SqueezeNet.squeezenet11() },
    Entry("efficientnet_b0") { EfficientNet.efficientnetB0() },
    Entry("efficientnet_lite0") { EfficientNetLite0() },
    Entry("shufflenet_v2_x1_0") { ShuffleNetV2.shufflenetV2X10() },
    Entry("vgg11_bn") { VGG.vgg11BN() },
    Entry("densenet121") { DenseNet.densenet121() },
    Entry("mnasnet1_0") { MNASNet.mnasnet10() },
    Entry("regnet_y_400mf") { RegNet.regnetY400MF() },
    Entry("regnet_x_400mf") { RegNet.regnetX400MF() },
    Entry("convnext_tiny") { ConvNeXt.convnextTiny() },
    Entry("vit_b_16") { VisionTransformer.vitB16() },
    Entry("resnet20", [1, 3, 32, 32]) { CIFARResNet.resnet20() },
    Entry("resnet8", [1, 3, 32, 32]) { ResNet8() },
    Entry("mobilenet_v1_vww", [1, 3, 96, 96]) { MobileNetV1() },
    Entry("ds_cnn_kws", [1, 1, 49, 10]) { DSCNN() },
    Entry("autoencoder_ad", [1, 640]) { AutoEncoder() },
  ]
}
