import GraphIR
import TensorCore
import TestSupport
import Testing

/// That the numbers equal PyTorch's is tested by `PT2EGoldenTests`.
@Suite struct FoldBatchNormTests {
  @Test func foldsIntoTheLayerBefore() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let norm = model.batchNorm("norm", model.convolution("conv", x, channels: 2))
    model.program.graph.outputs = [norm]
    var program = model.program
    #expect(try foldBatchNorms(in: &program).isEmpty)
    #expect(program.operatorNames == ["aten.conv2d.default"])
    #expect(Set(program.stateDict.keys) == ["conv.weight", "conv.bias"])
    #expect(program.graph[program.graph.outputs[0]].name == "conv")
    try Verifier.verify(program, as: .float)
  }

  @Test func keepsWhatCannotBeFolded() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let shared = model.convolution("shared", x, channels: 2)
    let rows = model.input("rows", [2, 5, 3])
    let weight = model.parameter("linear.weight", [5, 3])
    let linear = model.call(
      "aten.linear.default", "linear", ["input": .value(rows), "weight": .value(weight)], [2, 5, 5])
    model.program.graph.outputs = [
      model.batchNorm("a", x), model.batchNorm("b", shared), shared,
      model.batchNorm("c", model.convolution("conv", x, channels: 2), training: true), model.batchNorm("d", linear),
    ]
    var program = model.program
    let reasons = try foldBatchNorms(in: &program)
    #expect(reasons.map(\.node) == ["a", "b", "c", "d"])
    #expect(reasons[0].reason.contains("does not follow"))
    #expect(reasons[1].reason.contains("also read by others"))
    #expect(reasons[2].reason.contains("training mode"))
    #expect(reasons[3].reason.contains("not 2-D"))
    #expect(program.graph == model.program.graph)
  }

  @Test func aSharedWeightIsFoldedOnceForEachBatchNorm() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let weight = model.parameter("conv.weight", [3, 3, 1, 1])
    var outputs: [ValueID] = []
    for index in 0..<2 {
      let conv = model.call(
        "aten.conv2d.default", "conv\(index)", ["input": .value(x), "weight": .value(weight)], [1, 3, 4, 4])
      outputs.append(model.batchNorm("norm\(index)", conv, seed: Float(index + 1)))
    }
    model.program.graph.outputs = outputs
    var program = model.program
    #expect(try foldBatchNorms(in: &program).isEmpty)
    let weights = program.graph.nodes.compactMap { $0.value("weight") }
    #expect(Set(weights).count == 2)
    let tensors = program.constants()
    #expect(tensors[weights[0]]?.bits != tensors[weights[1]]?.bits)
    try Verifier.verify(program, as: .float)
  }

  /// Of [channels, H, W], BatchNorm takes the height for channels.
  @Test func aConvolutionWithoutABatchKeepsItsBatchNorm() throws {
    var model = TestModel()
    let x = model.input("x", [3, 4, 4])
    let weight = model.parameter("conv.weight", [4, 3, 1, 1])
    let conv = model.call("aten.conv2d.default", "conv", ["input": .value(x), "weight": .value(weight)], [4, 4, 4])
    model.program.graph.outputs = [model.batchNorm("norm", conv)]
    var program = model.program
    #expect(try foldBatchNorms(in: &program).first?.reason.contains("no batch") == true)
    #expect(program.graph == model.program.graph)
  }

  @Test func statisticsOfAnotherSizeAreRefused() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let norm = model.batchNorm("norm", model.convolution("conv", x, channels: 2))
    model.program.graph.outputs = [norm]
    model.program.stateDict["norm.running_var"] = Tensor([Float](repeating: 1, count: 5), shape: [5])
    #expect(try foldBatchNorms(in: &model.program).first?.reason.contains("channels") == true)
  }
}
