import PipelineTesting
import Swiftlet
import SwiftletTools
import TestSupport
import Testing

@Suite struct TargetDropTests {
  /// A classifier: the residual model with a flat result; labels are the float model's own answers.
  static func classifier() throws -> (ExportedProgram, RandomSamples) {
    var program = TestModel.residual()
    let flat = program.graph.makeNode(
      OperatorSet.standard.resolve("aten.view.default"), name: "flat",
      arguments: [
        .init("self", .value(program.graph.outputs[0])), .init("size", .attribute(.ints([1, 256]))),
      ], output: TensorSpec(.float32, [1, 256]))
    program.graph.nodes.append(flat)
    program.graph.outputs = [flat.output]
    var data = RandomSamples(shape: [1, 3, 8, 8], count: 40, seed: 9)
    let method = try Method(lower(program, partitioner: nil), threads: ThreadPool(threadCount: 1))
    data.labels = try (0..<data.count).map { topK(try method.run([data.input($0)])[0].elements(), 1)[0].index }
    return (program, data)
  }

  /// Far too small, so that nearly everything saturates.
  static let badSamples = RandomSamples(shape: [1, 3, 8, 8], count: 2, scale: 0.02)

  @Test func theFewestLayersStayInFloat() throws {
    let (program, labelled) = try Self.classifier()
    #expect(Set(labelled.labels ?? []).count > 1)
    let tradeOff = try quantize(program, Self.badSamples, keeping: 5, on: labelled, threads: 1)
    #expect(tradeOff.floatAccuracy == 100)
    #expect(tradeOff.points.first?.floatLayers.isEmpty == true)
    #expect(tradeOff.points.first!.drop > 5)
    #expect(tradeOff.chosen.drop <= 5 && !tradeOff.chosen.floatLayers.isEmpty)
    // Every point with fewer layers in float misses the target, and the next smaller one was tried.
    let counts = tradeOff.points.map(\.floatLayers.count)
    #expect(counts == counts.sorted() && counts.contains(tradeOff.chosen.floatLayers.count - 1))
    for point in tradeOff.points where point.floatLayers.count < tradeOff.chosen.floatLayers.count {
      #expect(point.drop > 5 && point.weightBytes <= tradeOff.chosen.weightBytes)
    }
    // The program that is returned is the chosen one.
    let method = try Method(
      lower(tradeOff.result.program, partitioner: nil), threads: ThreadPool(threadCount: 1))
    #expect(abs(try evaluate(method, on: labelled).accuracy - tradeOff.chosen.accuracy) <= 2.5)
    for layer in tradeOff.chosen.floatLayers {
      #expect(tradeOff.result.notQuantized.contains { $0.node == layer && $0.reason.contains("filter") }, "\(layer)")
    }
  }

  @Test func aTargetThatInt8HoldsKeepsNothingInFloat() throws {
    let (program, labelled) = try Self.classifier()
    let tradeOff = try quantize(
      program, RandomSamples(shape: [1, 3, 8, 8], count: 8), keeping: 100, on: labelled, threads: 1)
    #expect(tradeOff.points.count == 1 && tradeOff.chosen.floatLayers.isEmpty)
    #expect(tradeOff.chosen.weightBytes < tradeOff.floatWeightBytes)
  }

  @Test func headroomWidensEveryActivation() throws {
    let (program, labelled) = try Self.classifier()
    let plain = try quantize(program, Self.badSamples, threads: 1).program
    let wide = try quantize(program, Self.badSamples, options: .init(headroom: 2), threads: 1).program
    var widened = 0
    for (a, b) in zip(plain.graph.nodes, wide.graph.nodes) {
      guard case .attribute(.float(let x))? = a.operand("scale"), case .attribute(.float(let y))? = b.operand("scale")
      else { continue }
      #expect(y == 2 * x && a.operand("zero_point") == b.operand("zero_point"))
      widened += 1
    }
    #expect(widened > 8)
    let errors = try [plain, wide].map {
      try compareLayers(float: program, quantized: $0, data: labelled, threads: 1).layers.last?.cumulative.sqnr ?? 0
    }
    #expect(errors[1] > errors[0])
    #expect(throws: UsageError.self) { try quantize(program, Self.badSamples, options: .init(headroom: 0.5)) }
  }
}
