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
    #expect(int8.output.allSatisfy { $0.isFinite })
    #expect(int8.operations.allSatisfy { $0.backend != .portable || $0.reason?.isEmpty == false })
    #expect(quantized.notQuantized.allSatisfy { !$0.reason.isEmpty })
    let noise = zip(int8.output, output).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    let signal = output.reduce(Float(0)) { $0 + $1 * $1 }
    print(
      "\(entry.name): float off by \(error / range) of the range; int8 \(10 * log10(signal / noise)) dB, "
        + "\(int8.operations.count { $0.backend == .portable }) of \(int8.operations.count) operations portable, "
        + "\(quantized.notQuantized.count) nodes in float")
  }

  private func drawnProgram(_ entry: ModelZoo.Entry, _ golden: ZooGolden) throws -> ExportedProgram {
    let model = entry.make()
    try model.loadStateDict(drawnStateDict(of: model, seed: golden.seed, gain: golden.gain))
    return try export(model, [TensorSpec(.float32, entry.inputShape)], name: entry.name)
  }

  private func run(
    _ program: ExportedProgram, _ input: Tensor
  ) throws -> (output: [Float], operations: [Method.Operation]) {
    let method = try Method(lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 2))
    return (try method.run([input])[0].elements(as: Float.self), method.operations)
  }
}
