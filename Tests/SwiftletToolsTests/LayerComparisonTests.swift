import Foundation
import PipelineTesting
import TestSupport
import Testing

@testable import Swiftlet
@testable import SwiftletTools

/// The layer comparison, with the scenarios of torchao's numeric debugger.
@Suite struct LayerComparisonTests {
  static let data = RandomSamples(shape: [1, 3, 8, 8], count: 4)

  static func quantized(_ float: ExportedProgram) throws -> ExportedProgram {
    try quantize(float, data, threads: 1).program
  }

  static func compare(_ float: ExportedProgram, _ quantized: ExportedProgram) throws -> ModelComparison {
    try compareLayers(float: float, quantized: quantized, data: data, threads: 1)
  }

  @Test(arguments: [0, 1, 7, 8, 9, 4095, 4104, 10_000])
  func sumsAreThoseOfTheDefinition(_ count: Int) {
    let reference = random([max(count, 1)], scale: 2, seed: 3).prefix(count).map { $0 }
    let actual = reference.enumerated().map { $1 + Float($0 % 3) * 0.01 }
    var sums = ErrorSums()
    reference.withUnsafeBufferPointer { r in actual.withUnsafeBufferPointer { sums.add(reference: r, actual: $0) } }
    let signal = reference.reduce(0.0) { $0 + Double($1) * Double($1) }
    let noise = zip(reference, actual).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
    #expect(sums.count == count)
    #expect(abs(sums.signal - signal) <= 1e-5 * signal)
    #expect(abs(sums.noise - noise) <= 1e-5 * noise)
    if count == 0 { #expect(sums.sqnr.isNaN) }
    if count > 1 { #expect(abs(sums.sqnr - 20 * log10(signal.squareRoot() / noise.squareRoot())) < 1e-3) }
  }

  /// torchao's `simple`: the ratios of every layer, computed by hand on the reference interpreter.
  @Test func cumulativeRatiosAreTheDefinitionsOnTheInterpreter() throws {
    let float = TestModel.residual()
    let quantized = try Self.quantized(float)
    let comparison = try compareLayers(
      float: float, quantized: quantized, data: Self.data, threads: 1, delegate: false)
    #expect(comparison.layers.map(\.name) == ["x", "relu", "middle", "relu_1", "head"])
    #expect(comparison.unmatched.isEmpty && comparison.samples == 4)
    let layers = quantized.quantizedLayers()
    let (reference, simulation) = (try Interpreter(float), try Interpreter(quantized))
    for (layer, compared) in zip(layers, comparison.layers) where !layer.nodes.isEmpty {
      let quantize = try #require(layer.quantize)
      let dequantize = try #require(
        quantized.graph.nodes.first { $0.isDequantize && $0.value("input") == quantize.output })
      let source = try #require(float.graph.nodes.first { $0.name == compared.floatName }).output
      var sums = ErrorSums()
      for index in 0..<Self.data.count {
        var (real, seen): ([Float], [Float]) = ([], [])
        _ = try reference.run([Self.data.input(index)]) { if $0 == source { real = $1.elements() } }
        _ = try simulation.run([Self.data.input(index)]) { if $0 == dequantize.output { seen = $1.elements() } }
        real.withUnsafeBufferPointer { r in seen.withUnsafeBufferPointer { sums.add(reference: r, actual: $0) } }
      }
      // The integer kernels may differ from the simulation by one quantum where a sum lies between two.
      #expect(abs(sums.sqnr - compared.cumulative.sqnr) < 0.1, "\(compared.name)")
      #expect(compared.isQuantized && compared.cumulative.sqnr > 20 && compared.cumulative.sqnr < 60)
    }
  }

  @Test func firstLayersHaveTheSameErrorAloneAndTogether() throws {
    let float = TestModel.residual()
    let layers = try Self.compare(float, Self.quantized(float)).layers
    for layer in layers.prefix(2) { #expect(layer.isolated == layer.cumulative, "\(layer.name)") }
    #expect(layers[0].op == "input" && layers[0].weightBytes == 0)
    #expect(layers[1].shortOperator == "conv2d + relu" && layers[1].modulePath == "net.stem")
    // 8·27 int8 weights, 8 float scales, 8 int64 zero points, 8 float biases.
    #expect(layers[1].weightBytes == 216 + 32 + 64 + 32 && layers[1].floatWeightBytes == 864 + 32)
    let (head, isolated) = (layers[4].cumulative.sqnr, try #require(layers[4].isolated).sqnr)
    #expect(isolated > head)
  }

  @Test func anIdenticalGraphHasInfiniteRatios() throws {
    let float = TestModel.residual()
    let comparison = try Self.compare(float, float)
    #expect(comparison.layers.map(\.name) == ["relu", "middle", "relu_1", "head"].filter { $0 != "relu_1" })
    for layer in comparison.layers {
      #expect(layer.cumulative.sqnr == .infinity && layer.isolated?.sqnr == .infinity && !layer.isQuantized)
    }
  }

  /// torchao's `copy_preserve_handle` and `re_export_preserve_handle`.
  @Test func partnersAreFoundAfterSavingAndLoadingAndUnderOtherNames() throws {
    let float = TestModel.residual()
    let quantized = try Self.quantized(float)
    let expected = try Self.compare(float, quantized)
    let folder = try TemporaryFolder()
    try PT2Archive.write(quantized, to: folder.path("int8.pt2"))
    let loaded = try Self.compare(float, PT2Archive.read(folder.path("int8.pt2")))
    #expect(loaded.layers.map(\.cumulative) == expected.layers.map(\.cumulative))
    #expect(loaded.layers.map(\.isolated) == expected.layers.map(\.isolated))
    let other = try Self.compare(float, quantized.renamed { "exported_" + $0 })
    #expect(other.unmatched.isEmpty)
    #expect(other.layers.map(\.floatName) == expected.layers.map(\.floatName))
    #expect(other.layers.map(\.name) == expected.layers.map { "exported_" + $0.name })
    #expect(other.layers.map(\.cumulative) == expected.layers.map(\.cumulative))
    #expect(other.layers.map(\.isolated) == expected.layers.map(\.isolated))
  }

  /// torchao's `prepare_for_propagation_comparison`: the prepared program beside the converted one.
  @Test func aPreparedProgramCanBeTheReference() throws {
    let observed = try prepare(TestModel.residual(), quantizer: XNNPACKQuantizer())
    try calibrate(observed, with: Self.data, threads: 1)
    let comparison = try Self.compare(observed.floatProgram, convert(observed))
    let expected = try Self.compare(TestModel.residual(), convert(observed))
    #expect(comparison.layers.map(\.cumulative) == expected.layers.map(\.cumulative))
    #expect(comparison.layers.count == 5)
  }

  @Test func operatorsWithoutAPartnerAreNamed() throws {
    var shorter = TestModel()
    let x = shorter.input("x", [1, 3, 8, 8])
    let stem = shorter.randomConvolution("stem", x, channels: 8, kernel: 3)
    let relu = shorter.unary("aten.relu.default", "relu", stem)
    shorter.program.graph.outputs = [shorter.randomConvolution("head", relu, channels: 4)]
    let comparison = try Self.compare(shorter.program, Self.quantized(TestModel.residual()))
    #expect(comparison.unmatched == ["middle", "sum", "relu_1"])
    #expect(comparison.layers.map(\.name) == ["x", "relu", "head"])
    // The head reads the sum, which the float program does not have.
    #expect(comparison.layers[2].isolated == nil && comparison.layers[1].isolated != nil)
  }

  @Test func layersInFloatAreMeasuredToo() throws {
    let options = QuantizationOptions(floatNodes: ["middle"])
    let float = TestModel.residual()
    let mixed = try quantize(float, Self.data, options: options, threads: 1).program
    let method = try Method(lower(mixed, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
    // A layer in float behind an int8 one runs on XNNPACK, too.
    #expect(method.fallback.isEmpty)
    let comparison = try Self.compare(float, mixed)
    let middle = try #require(comparison.layers.first { $0.floatNodes == ["middle"] })
    let before = try #require(try Self.compare(float, Self.quantized(float)).layers.first { $0.name == "middle" })
    #expect(try #require(middle.isolated).sqnr > #require(before.isolated).sqnr)
    #expect(middle.weightBytes == middle.floatWeightBytes)
  }

  @Test func ranksAndRefusals() throws {
    let float = TestModel.residual()
    let quantized = try Self.quantized(float)
    let comparison = try Self.compare(float, quantized)
    for order in ModelComparison.Order.allCases {
      let ratios = comparison.worstFirst(order).map { order == .isolated ? $0.isolated?.sqnr ?? 0 : $0.cumulative.sqnr }
      #expect(ratios == ratios.sorted())
    }
    #expect(throws: GraphError.self) { try Self.compare(quantized, quantized) }
    #expect(throws: UsageError.self) {
      try compareLayers(float: float, quantized: quantized, data: RandomSamples(shape: [1, 3, 8, 8], count: 0))
    }
    #expect(throws: (any Error).self) {
      try compareLayers(float: float, quantized: quantized, data: RandomSamples(shape: [1, 2, 8, 8], count: 1))
    }
  }

  @Test func thePageStandsAlone() throws {
    let float = TestModel.residual()
    let quantized = try Self.quantized(float).renamed { $0 == "middle" ? "<script>alert('1')</script>" : $0 }
    let comparison = try Self.compare(float, quantized)
    let page = comparison.htmlPage()
    for layer in comparison.layers { #expect(page.contains(SVGPlot.escape(layer.name))) }
    #expect(!page.contains("<script") && !page.contains("http") && !page.contains("<link") && !page.contains("@import"))
    // SQNR and sizes, then weights and activations: the input, the sum and its ReLU have no weights.
    #expect(page.components(separatedBy: "<svg ").count - 1 == 2 + 5 + 3)
    #expect(page.contains("prefers-color-scheme:dark"))
    let histogram = try #require(comparison.layers[1].activation)
    let range = try #require(histogram.range)
    #expect(histogram.counts.reduce(0, +) == Double(4 * 8 * 64))
    #expect(histogram.minimum == 0 && range.lowerBound == 0 && range.upperBound <= histogram.maximum * 1.01)
    let weight = try #require(comparison.layers[1].weight)
    #expect(try #require(weight.narrowestRange).upperBound < #require(weight.range).upperBound)
  }
}
