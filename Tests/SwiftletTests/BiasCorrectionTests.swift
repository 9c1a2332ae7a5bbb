import PipelineTesting
import Swiftlet
import SwiftletTools
import TestSupport
import Testing

@Suite struct BiasCorrectionTests {
  static let data = RandomSamples(shape: [1, 3, 8, 8], count: 4)
  /// Calibrated on small values, so that the inputs saturate and every layer's mean is off.
  static let small = RandomSamples(shape: [1, 3, 8, 8], count: 4, scale: 0.3)

  static func quantized(_ float: ExportedProgram) throws -> ExportedProgram {
    try quantize(float, small, options: .init(quantizer: XNNPACKQuantizer(.symmetric(isPerChannel: false))), threads: 1)
      .program
  }

  @Test(arguments: BiasCorrection.allCases)
  func aSecondCorrectionFindsNothing(_ method: BiasCorrection) throws {
    let float = TestModel.residual()
    var corrected = try Self.quantized(float)
    let first = try correctBiases(of: &corrected, float: float, data: Self.data, method: method, threads: 1)
    #expect(first.map(\.node) == ["stem", "middle", "head"])
    #expect(first.allSatisfy { $0.largest > 1e-3 && $0.mean > 0 && $0.mean <= $0.largest })
    try Verifier.verify(corrected, as: .quantizeDequantize)
    let second = try correctBiases(of: &corrected, float: float, data: Self.data, method: method, threads: 1)
    #expect(second.allSatisfy { $0.largest < 1e-5 }, "\(second)")
  }

  @Test(arguments: BiasCorrection.allCases)
  func theResultIsCloserToTheFloatModel(_ method: BiasCorrection) throws {
    let float = TestModel.residual()
    let plain = try Self.quantized(float)
    var corrected = plain
    try correctBiases(of: &corrected, float: float, data: Self.data, method: method, threads: 1)
    func error(_ program: ExportedProgram) throws -> Double {
      let comparison = try compareLayers(float: float, quantized: program, data: Self.data, threads: 1)
      return try #require(comparison.layers.last).cumulative.meanSquaredError
    }
    #expect(try error(corrected) < error(plain))
    // Only biases differ.
    #expect(plain.graph == corrected.graph)
    for (name, tensor) in plain.stateDict where !name.hasSuffix("bias") {
      #expect(
        try tensor.withUnsafeBytes { Array($0) } == #require(corrected.stateDict[name]).withUnsafeBytes { Array($0) })
    }
  }

  @Test func aLayerWithoutABiasGetsOne() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 8, 8])
    let first = model.randomConvolution("first", x, channels: 8, kernel: 3, hasBias: false)
    model.program.graph.outputs = [first]
    var corrected = try Self.quantized(model.program)
    try correctBiases(of: &corrected, float: model.program, data: Self.data, threads: 1)
    let folder = try TemporaryFolder()
    try PT2Archive.write(corrected, to: folder.path("corrected.pt2"))
    let loaded = try PT2Archive.read(folder.path("corrected.pt2"))
    let node = try #require(loaded.node("first"))
    #expect(node.value("bias") != nil)
    #expect(try largestDifference(corrected, loaded, on: Self.data) == 0)
  }

  /// A linear layer on [1, 8, 8, 3], whose channels are the last dimension, and a convolution without a batch.
  static let unusualShapes: [(name: String, program: ExportedProgram, input: Shape)] = {
    var rows = TestModel()
    let image = rows.randomConvolution("conv", rows.input("x", [1, 3, 8, 8]), channels: 3)
    let last = rows.call(
      "aten.permute.default", "permute", ["self": .value(image), "dims": .attribute(.ints([0, 2, 3, 1]))], [1, 8, 8, 3])
    let (weight, bias) = (rows.parameter("linear.weight", [5, 3]), rows.parameter("linear.bias", [5]))
    rows.program.graph.outputs = [
      rows.call(
        "aten.linear.default", "linear",
        ["input": .value(last), "weight": .value(weight), "bias": .value(bias)], [1, 8, 8, 5])
    ]
    var single = TestModel()
    let x = single.input("x", [3, 8, 8])
    let (kernel, offset) = (single.parameter("conv.weight", [5, 3, 1, 1]), single.parameter("conv.bias", [5]))
    single.program.graph.outputs = [
      single.call(
        "aten.conv2d.default", "conv",
        ["input": .value(x), "weight": .value(kernel), "bias": .value(offset)], [5, 8, 8])
    ]
    return [("permute, linear", rows.program, [1, 3, 8, 8]), ("without batch", single.program, [3, 8, 8])]
  }()

  @Test(arguments: unusualShapes.indices, BiasCorrection.allCases)
  func channelsAreWhereTheLayerHasThem(_ index: Int, _ method: BiasCorrection) throws {
    let (name, float, shape) = Self.unusualShapes[index]
    let (small, data) = (
      RandomSamples(shape: shape, count: 4, scale: 0.3), RandomSamples(shape: shape, count: 4)
    )
    var corrected = try quantize(float, small, threads: 1).program
    let first = try correctBiases(of: &corrected, float: float, data: data, method: method, threads: 1)
    #expect(first.allSatisfy { $0.largest > 1e-3 } && !first.isEmpty, "\(name)")
    try Verifier.verify(corrected, as: .quantizeDequantize)
    for (target, tensor) in corrected.stateDict where target.hasSuffix("bias") {
      #expect(tensor.shape == float.stateDict[target]?.shape)
    }
    let second = try correctBiases(of: &corrected, float: float, data: data, method: method, threads: 1)
    #expect(second.allSatisfy { $0.largest < 1e-5 }, "\(name): \(second)")
  }

  /// A weight that is a view, and a BatchNorm behind the layer: folded on both sides, or the layers are not the same.
  @Test func aLayerWithABatchNormIsComparedWithOne() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 8, 8])
    let weight = model.call(
      "aten.view.default", "weight",
      ["self": .value(model.parameter("w", [12])), "size": .attribute(.ints([4, 3, 1, 1]))], [4, 3, 1, 1])
    let conv = model.call(
      "aten.conv2d.default", "conv", ["input": .value(x), "weight": .value(weight)], [1, 4, 8, 8])
    model.program.graph.outputs = [model.batchNorm("norm", conv)]
    var corrected = try quantize(model.program, Self.data, threads: 1).program
    let biases = try correctBiases(of: &corrected, float: model.program, data: Self.data, threads: 1)
    #expect(biases.map(\.node) == ["conv"])
    #expect(biases.allSatisfy { $0.largest < 0.02 }, "\(biases)")
    #expect(try largestDifference(model.program, corrected, on: Self.data) < 0.02)
  }
}
