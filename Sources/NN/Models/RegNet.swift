import Foundation

/// RegNetX and RegNetY with torchvision's keys (Radosavovic et al. 2020, "Designing Network Design Spaces").
///
/// Keys: `stem.0`, `trunk_output.block1.block1-0.proj.0`, `trunk_output.block1.block1-0.f.a.0` …, `…f.se.fc1`
/// (RegNetY), `fc`.
public final class RegNet: Module {
  let stem: SimpleStem
  let trunkOutput: Sequential
  let avgpool = AdaptiveAvgPool2d(1)
  let fc: Linear

  /// - Parameters:
  ///   - depth: The number of blocks.
  ///   - initialWidth: w₀ of the paper: channels of the first block.
  ///   - slope: w_a: channels that each block adds, before widths become steps.
  ///   - multiplier: w_m: the ratio of the widths of neighbouring steps.
  ///   - groupWidth: Channels of each group of the 3×3 convolutions.
  ///   - squeezeRatio: Channels in the middle of squeeze-and-excitation over those of the block's input; nil for
  ///     RegNetX.
  package init(
    depth: Int, initialWidth: Int, slope: Double, multiplier: Double, groupWidth: Int, squeezeRatio: Double? = nil,
    numClasses: Int = 1000
  ) {
    let widths = (0..<depth).map { index in
      let width = Double(initialWidth) + slope * Double(index)
      let step = (log(width / Double(initialWidth)) / log(multiplier)).rounded(.toNearestOrEven)
      return Int((Double(initialWidth) * pow(multiplier, step) / 8).rounded(.toNearestOrEven)) * 8
    }
    stem = SimpleStem(3, 32, stride: 2)
    var channels = 32
    var stages: [(key: String, module: Module)] = []
    for width in Set(widths).sorted() {
      let group = min(groupWidth, width)
      let outChannels = makeDivisible(Double(width), by: group)
      let name = "block\(stages.count + 1)"
      var blocks: [(key: String, module: Module)] = []
      for index in 0..<widths.count(where: { $0 == width }) {
        blocks.append(
          (
            "\(name)-\(index)",
            ResBottleneckBlock(
              channels, outChannels, stride: index == 0 ? 2 : 1, groupWidth: group, squeezeRatio: squeezeRatio)
          ))
        channels = outChannels
      }
      stages.append((name, AnyStage(named: blocks)))
    }
    trunkOutput = Sequential(named: stages)
    fc = Linear(channels, numClasses)
  }

  /// torchvision's `regnet_y_400mf`.
  public static func regnetY400MF(numClasses: Int = 1000) -> RegNet {
    RegNet(
      depth: 16, initialWidth: 48, slope: 27.89, multiplier: 2.09, groupWidth: 8, squeezeRatio: 0.25,
      numClasses: numClasses)
  }

  /// torchvision's `regnet_x_400mf`.
  public static func regnetX400MF(numClasses: Int = 1000) -> RegNet {
    RegNet(depth: 22, initialWidth: 24, slope: 24.48, multiplier: 2.54, groupWidth: 16, numClasses: numClasses)
  }

  public override class var typeName: String { "torchvision.models.regnet.RegNet" }

  /// - Parameter input: Images [N, 3, H, W].
  /// - Returns: Logits [N, numClasses].
  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try fc(avgpool(trunkOutput(stem(input))).flatten(startDim: 1))
  }
}

extension RegNet {
  final class SimpleStem: Conv2dNormActivation {
    override class var typeName: String { "torchvision.models.regnet.SimpleStemIN" }
  }

  final class AnyStage: Sequential {
    override class var typeName: String { "torchvision.models.regnet.AnyStage" }
  }

  final class BottleneckTransform: Sequential {
    override class var typeName: String { "torchvision.models.regnet.BottleneckTransform" }
  }

  final class ResBottleneckBlock: Module {
    let proj: Conv2dNormActivation?
    let f: BottleneckTransform
    let activation = ReLU()

    init(_ inChannels: Int, _ outChannels: Int, stride: Int, groupWidth: Int, squeezeRatio: Double?) {
      proj =
        inChannels == outChannels && stride == 1
        ? nil : Conv2dNormActivation(inChannels, outChannels, kernelSize: 1, stride: stride, activation: nil)
      var layers: [(key: String, module: Module)] = [
        ("a", Conv2dNormActivation(inChannels, outChannels, kernelSize: 1)),
        ("b", Conv2dNormActivation(outChannels, outChannels, stride: stride, groups: outChannels / groupWidth)),
      ]
      if let squeezeRatio {
        let squeezed = Int((squeezeRatio * Double(inChannels)).rounded(.toNearestOrEven))
        layers.append(("se", SqueezeExcitation(outChannels, squeezeChannels: squeezed)))
      }
      layers.append(("c", Conv2dNormActivation(outChannels, outChannels, kernelSize: 1, activation: nil)))
      f = BottleneckTransform(named: layers)
    }

    override class var typeName: String { "torchvision.models.regnet.ResBottleneckBlock" }

    override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
      var identity = input
      if let proj { identity = try proj(input) }
      return try activation(identity + f(input))
    }
  }
}
