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
}
