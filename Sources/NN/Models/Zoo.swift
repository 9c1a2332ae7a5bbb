import TensorCore

/// A model of the zoo: torchvision's name, the size of its input, and how to make it.
public struct ZooModel: Sendable {
  /// `resnet18`, as in `torchvision.models`; the MLPerf Tiny models have the names of the benchmark's tasks at their end.
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

  public static func named(_ name: String) -> ZooModel? { all.first { $0.name == name } }

  public static let all: [ZooModel] = [
    ZooModel("resnet18") { ResNet.resnet18() },
    ZooModel("resnet34") { ResNet.resnet34() },
    ZooModel("resnet50") { ResNet.resnet50() },
    ZooModel("mobilenet_v2") { MobileNetV2.mobilenetV2() },
    ZooModel("mobilenet_v3_small") { MobileNetV3.mobilenetV3Small() },
    ZooModel("mobilenet_v3_large") { MobileNetV3.mobilenetV3Large() },
    ZooModel("squeezenet1_1") { SqueezeNet.squeezenet11() },
    ZooModel("efficientnet_b0") { EfficientNet.efficientnetB0() },
    ZooModel("efficientnet_lite0") { EfficientNetLite0() },
    ZooModel("shufflenet_v2_x1_0") { ShuffleNetV2.shufflenetV2X10() },
    ZooModel("vgg11_bn") { VGG.vgg11BN() },
    ZooModel("densenet121") { DenseNet.densenet121() },
    ZooModel("mnasnet1_0") { MNASNet.mnasnet10() },
    ZooModel("regnet_y_400mf") { RegNet.regnetY400MF() },
    ZooModel("regnet_x_400mf") { RegNet.regnetX400MF() },
    ZooModel("convnext_tiny") { ConvNeXt.convnextTiny() },
    ZooModel("vit_b_16") { VisionTransformer.vitB16() },
    ZooModel("resnet20", [1, 3, 32, 32]) { CIFARResNet.resnet20() },
    ZooModel("resnet8", [1, 3, 32, 32]) { ResNet8() },
    ZooModel("mobilenet_v1_vww", [1, 3, 96, 96]) { MobileNetV1() },
    ZooModel("ds_cnn_kws", [1, 1, 49, 10]) { DSCNN() },
    ZooModel("autoencoder_ad", [1, 640]) { AutoEncoder() },
  ]
}
