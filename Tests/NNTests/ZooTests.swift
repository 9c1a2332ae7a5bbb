import Foundation
import NN
import Swiftlet
import TestSupport
import Testing

extension ModelZoo.Entry: CustomTestStringConvertible {
  public var testDescription: String { name }
}

/// The models of the zoo against what PyTorch exports and computes.
@Suite(.serialized) struct ZooTests {
  @Test func generatorGivesPyTorchsNumbers() {
    var generator = MersenneTwister(seed: 1)
    // torch.rand(4, generator=torch.Generator().manual_seed(1))
    #expect(generator.uniform(4) == [0.7576316, 0.27931088, 0.40306926, 0.73468447])
  }

  @Test func everyModelHasItsGoldenGraph() throws {
    for entry in ModelZoo.all {
      let golden = try ZooGolden(entry.name)
      #expect(golden.lines.last?.hasPrefix("output") == true)
    }
    #expect(Set(ModelZoo.all.map(\.name)).count == ModelZoo.all.count)
  }

  @Test(arguments: ModelZoo.all)
  func capturedGraphEqualsPyTorchs(_ entry: ModelZoo.Entry) throws {
    let golden = try ZooGolden(entry.name)
    let model = try entry.makeWithoutWeights()
    #expect(Set(model.namedTensors().map(\.name)) == golden.keys)
    let program = try export(model, [TensorSpec(.float32, entry.inputShape)])
    let difference = firstDifference(GraphText(program).lines, golden.lines)
    #expect(difference == nil, "\(difference ?? "")")
  }

  /// Other names for the parts would be taken for those of nodes when PyTorch loads the program.
  @Test func partsOfAListAreNamedAsPyTorchNamesThem() throws {
    let entry = try #require(ModelZoo.entry(named: "shufflenet_v2_x1_0"))
    let program = try export(entry.makeWithoutWeights(), [TensorSpec(.float32, entry.inputShape)])
    let chunks = program.graph.nodes.filter { $0.operatorName == "aten.chunk.default" }
    #expect(chunks.prefix(2).map(\.name) == ["chunk", "chunk_1"])
    #expect(chunks[1].outputs.map { program.graph[$0].name } == ["getitem_2", "getitem_3"])
    #expect(Set(program.graph.nodes.map(\.name)).count == program.graph.nodes.count)
  }

  /// With the weights that the golden output was computed with.
  @Test(.enabled(if: !_isDebugAssertConfiguration(), "too slow without optimization"), arguments: ModelZoo.all)
  func outputsEqualPyTorchsAndInt8IsExplained(_ entry: ModelZoo.Entry) throws {
    let golden = try ZooGolden(entry.name)
    let expected = try ZooGolden.output(entry.name)
    let program = try drawnProgram(entry, golden)
    let input = entry.drawnInput(seed: golden.seed + 1)

    let output = try run(program, input).output
    let range = expected.max()! - expected.min()!
    let error = zip(output, expected).map { abs($0 - $1) }.max()!
    #expect(output.count == expected.count)
    #expect(error <= 1e-4 * range, "largest difference \(error / range) of the range")

    let samples = SampleDataset(inputs: [input, entry.drawnInput(seed: golden.seed + 2)])
    let quantized = try quantize(program, samples)
    let int8 = try run(quantized.program, input)
    let portable = int8.operations.filter { $0.backend == .portable }
    #expect(try run(quantized.program, input, delegate: false).output == int8.output)
    #expect(portable.allSatisfy { $0.reason?.isEmpty == false })
    #expect(quantized.notQuantized.allSatisfy { !$0.reason.isEmpty })
    // Not a measure of accuracy, which random weights have none of: a layer that computes something else gives noise as
    // strong as the signal.
    let signalToNoise = decibels(output, int8.output)
    #expect(signalToNoise > 10)
    print(
      "\(entry.name): float off by \(error / range) of the range; int8 \(Int(signalToNoise.rounded())) dB, "
        + "\(portable.count) of \(int8.operations.count) operations portable, "
        + "\(quantized.notQuantized.count) nodes in float")
  }

  private func decibels(_ signal: [Float], _ noisy: [Float]) -> Double {
    let noise = zip(signal, noisy).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
    return 10 * log10(signal.reduce(0) { $0 + Double($1) * Double($1) } / noise)
  }

  private func drawnProgram(_ entry: ModelZoo.Entry, _ golden: ZooGolden) throws -> ExportedProgram {
    let model = entry.make()
    try model.loadStateDict(drawnStateDict(of: model, seed: golden.seed, gain: golden.gain))
    return try export(model, [TensorSpec(.float32, entry.inputShape)], name: entry.name)
  }

  private func run(
    _ program: ExportedProgram, _ input: Tensor, delegate: Bool = true
  ) throws -> (output: [Float], operations: [Method.Operation]) {
    let lowered = try lower(program, partitioner: delegate ? XNNPACKPartitioner() : nil)
    let method = try Method(lowered, threads: ThreadPool(threadCount: 2))
    return (try method.run([input])[0].elements(as: Float.self), method.operations)
  }
}
