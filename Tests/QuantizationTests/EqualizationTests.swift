import GraphIR
import PipelineTesting
import Swiftlet
import SwiftletTools
import TensorCore
import TestSupport
import Testing

@testable import Quantization

@Suite struct EqualizationTests {
  static let data = RandomSamples(shape: [1, 3, 8, 8], count: 4)
  /// Channels of very different size, as BatchNorm folding leaves them.
  static let skewed: [Float] = [0.01, 0.05, 0.3, 1, 2, 5, 0.1, 0.7]

  enum Between: String, CaseIterable { case nothing, relu, maxPool }

  static func pair(_ between: Between) -> ExportedProgram {
    var model = TestModel()
    let x = model.input("x", [1, 3, 8, 8])
    var value = model.randomConvolution("first", x, channels: 8, kernel: 3, rowScales: skewed)
    switch between {
    case .nothing: break
    case .relu: value = model.unary("aten.relu.default", "relu", value)
    case .maxPool:
      value = model.call(
        "aten.max_pool2d.default", "pool",
        ["self": .value(value), "kernel_size": .attribute(.ints([2, 2])), "stride": .attribute(.ints([2, 2]))],
        [1, 8, 4, 4])
    }
    model.program.graph.outputs = [model.randomConvolution("second", value, channels: 4)]
    return model.program
  }

  static func ranges(_ program: ExportedProgram, _ target: String, rows: Bool) throws -> [Float] {
    let tensor = try #require(program.stateDict[target])
    let values: [Float] = tensor.elements()
    let (columns, area) = (tensor.shape[1], tensor.shape[2] * tensor.shape[3])
    var result = [Float](repeating: 0, count: rows ? tensor.shape[0] : columns)
    for (index, value) in values.enumerated() {
      let channel = rows ? index / (columns * area) : index / area % columns
      result[channel] = max(result[channel], abs(value))
    }
    return result
  }

  @Test(arguments: Between.allCases)
  func rowsAndColumnsBecomeProportionalAndTheModelStaysTheSame(_ between: Between) throws {
    let float = Self.pair(between)
    var equalized = float
    let report = try equalizeCrossLayer(&equalized)
    #expect(report.equalized.map(\.layers) == [["first"]] && report.equalized.map(\.readers) == [["second"]])
    #expect(report.skipped.map(\.layers) == [["second"]])
    try Verifier.verify(equalized, as: .float)
    #expect(try largestDifference(float, equalized, on: Self.data) < 1e-4)
    let rows = try Self.ranges(equalized, "first.weight", rows: true)
    let columns = try Self.ranges(equalized, "second.weight", rows: false)
    // Proportional, but for channels whose factors were held at the limits.
    let factors = try #require(report.equalized.first).factors
    let proportions = factors.indices.filter { factors[$0] > 0.2501 && factors[$0] < 3.999 }.map {
      rows[$0] / columns[$0]
    }
    #expect(proportions.count >= 4)
    for proportion in proportions { #expect(abs(proportion - proportions[0]) <= 1e-5 * proportions[0]) }
    #expect(factors.allSatisfy { (0.25...4).contains($0) } && factors.sorted()[4] == 1)
    let before = try Self.ranges(float, "first.weight", rows: true)
    #expect(rows.max()! / rows.min()! < before.max()! / before.min()! / 5)
  }

  @Test func depthwiseLayersScaleOnBothSides() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 8, 8])
    let first = model.randomConvolution("expand", x, channels: 8, rowScales: Self.skewed)
    let second = model.randomConvolution(
      "depthwise", model.unary("aten.relu.default", "relu", first), channels: 8, kernel: 3, isDepthwise: true)
    let third = model.randomConvolution("project", model.unary("aten.relu.default", "relu_1", second), channels: 4)
    model.program.graph.outputs = [third]
    for withData in [false, true] {
      var equalized = model.program
      let report =
        withData ? try equalizeCrossLayer(&equalized, with: Self.data, threads: 1) : try equalizeCrossLayer(&equalized)
      #expect(report.equalized.map(\.layers) == [["expand"], ["depthwise"]])
      #expect(try largestDifference(model.program, equalized, on: Self.data) < 1e-4)
      #expect(report.equalized.allSatisfy { Set($0.factors).count > 4 })
    }
  }

  @Test func residualConnectionsAreScaledTogether() throws {
    let float = TestModel.residual(rowScales: Self.skewed)
    for withData in [false, true] {
      var equalized = float
      let report =
        withData ? try equalizeCrossLayer(&equalized, with: Self.data, threads: 1) : try equalizeCrossLayer(&equalized)
      #expect(report.equalized.map(\.layers) == [["stem", "middle"]])
      #expect(report.equalized.map(\.readers) == [["middle", "head"]])
      #expect(try largestDifference(float, equalized, on: Self.data) < 1e-4)
    }
  }

  static func relu6Model(scales: [Float]) -> ExportedProgram {
    var model = TestModel()
    let x = model.input("x", [1, 3, 8, 8])
    let first = model.randomConvolution("first", x, channels: 8, kernel: 3, rowScales: scales)
    model.program.graph.outputs = [model.randomConvolution("second", model.relu6("relu6", first), channels: 4)]
    return model.program
  }

  @Test func relu6IsSkippedWithoutData() throws {
    let float = Self.relu6Model(scales: Self.skewed)
    var equalized = float
    let report = try equalizeCrossLayer(&equalized)
    #expect(report.equalized.isEmpty)
    #expect(report.skipped.contains { $0.layers == ["first"] && $0.reason.contains("clamp with an upper bound") })
    #expect(try largestDifference(float, equalized, on: Self.data) == 0)
  }

  @Test func throughRelu6OnlyChannelsThatStayBelowTheBoundAreScaled() throws {
    let float = Self.relu6Model(scales: Self.skewed.map { $0 * 2 })
    var equalized = float
    let report = try equalizeCrossLayer(&equalized, with: Self.data, threads: 1)
    let factors = try #require(report.equalized.first).factors
    // The channels with scales 4 and 10 reach 6.
    #expect(factors[4] == 1 && factors[5] == 1)
    #expect(factors[0] < 0.5 && factors.allSatisfy { $0 <= 1 })
    #expect(try largestDifference(float, equalized, on: Self.data) < 1e-4)
  }

  @Test func whatCannotBeScaledIsNamed() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 8, 8])
    let read = model.randomConvolution("read", x, channels: 3)
    let gate = model.unary("aten.sigmoid.default", "gate", read)
    let shared = model.randomConvolution("shared", gate, channels: 3)
    // A second layer with the same weight.
    var twice = try #require(model.program.graph.nodes.last)
    let again = model.program.graph.addValue("twice", model.program.graph.spec(shared))
    twice.name = "twice"
    twice.outputs = [again]
    twice.mapInputs { $0 == gate ? shared : $0 }
    model.program.graph.nodes.append(twice)
    model.program.graph.outputs = [again]
    try Verifier.verify(model.program, as: .float)
    var equalized = model.program
    let report = try equalizeCrossLayer(&equalized)
    #expect(report.equalized.isEmpty)
    #expect(report.skipped.contains { $0.layers == ["read"] && $0.reason.contains("'gate'") })
    #expect(try largestDifference(model.program, equalized, on: Self.data) == 0)
  }

  @Test func batchNormsAreFoldedFirst() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 8, 8])
    let first = model.randomConvolution("first", x, channels: 8, kernel: 3)
    let relu = model.unary("aten.relu.default", "relu", model.batchNorm("norm", first))
    model.program.graph.outputs = [model.randomConvolution("second", relu, channels: 4)]
    var equalized = model.program
    #expect(try equalizeCrossLayer(&equalized).equalized.map(\.layers) == [["first"]])
    #expect(try largestDifference(model.program, equalized, on: Self.data) < 1e-4)
  }

  /// The point of it: channels of different size share one scale of the activations.
  @Test func quantizingLosesLessAndTheComparisonKnows() throws {
    let float = TestModel.residual(rowScales: Self.skewed)
    func result(_ equalize: Bool) throws -> ModelComparison {
      let int8 = try quantize(float, Self.data, options: .init(equalize: equalize), threads: 1).program
      return try compareLayers(float: float, quantized: int8, data: Self.data, threads: 1)
    }
    let (plain, equalized) = (try result(false), try result(true))
    #expect(try #require(equalized.layers.last).cumulative.sqnr > #require(plain.layers.last).cumulative.sqnr)
    // Compared with the float model equalized alike: otherwise channels would be off by their factors.
    for layer in equalized.layers { #expect(layer.cumulative.sqnr > 20, "\(layer.name)") }
  }

  /// A weight, or a factor, that is computed from parameters alone is nothing that could be scaled.
  @Test(arguments: ["aten.mean.dim", "aten.view.default", "aten.reshape.default"])
  func whatIsComputedFromParametersIsLeftAlone(_ op: String) throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 8, 8])
    let first = model.unary("aten.relu.default", "relu", model.randomConvolution("first", x, channels: 4))
    let isMean = op == "aten.mean.dim"
    let parameter = model.parameter("p", isMean ? [1, 4, 2, 2] : [4])
    let argument = isMean ? "dim" : op == "aten.view.default" ? "size" : "shape"
    var factor = model.call(
      op, "computed", ["self": .value(parameter), argument: .attribute(.ints(isMean ? [2, 3] : [1, 4, 1, 1]))],
      isMean ? [1, 4] : [1, 4, 1, 1])
    if isMean {
      factor = model.call(
        "aten.view.default", "view", ["self": .value(factor), "size": .attribute(.ints([1, 4, 1, 1]))], [1, 4, 1, 1])
    }
    let sum = model.call("aten.add.Tensor", "sum", ["self": .value(first), "other": .value(factor)], [1, 4, 8, 8])
    let weight = model.call(
      "aten.view.default", "weight",
      ["self": .value(model.parameter("w", [8])), "size": .attribute(.ints([2, 4, 1, 1]))],
      [2, 4, 1, 1])
    model.program.graph.outputs = [
      model.call("aten.conv2d.default", "second", ["input": .value(sum), "weight": .value(weight)], [1, 2, 8, 8])
    ]
    try Verifier.verify(model.program, as: .float)
    var equalized = model.program
    let report = try equalizeCrossLayer(&equalized, with: Self.data, threads: 1)
    #expect(report.equalized.isEmpty && report.skipped.contains { $0.layers == ["first"] })
    #expect(try largestDifference(model.program, equalized, on: Self.data) == 0)
  }

  @Test func aGraphIsVerifiedFirst() {
    var model = TestModel()
    let x = model.input("x", [1, 3, 8, 8])
    let first = model.randomConvolution("first", x, channels: 4)
    model.program.graph.outputs = [model.randomConvolution("second", first, channels: 4)]
    model.program.graph.setSpec(TensorSpec(.float32, [4]), of: first)
    #expect(throws: GraphError.self) { try equalizeCrossLayer(&model.program) }
  }
}
