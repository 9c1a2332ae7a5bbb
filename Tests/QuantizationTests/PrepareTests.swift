import GraphIR
import TensorCore
import TestSupport
import Testing
import XNNPACKBackend

@testable import Quantization

@Suite struct PrepareTests {
  @Test(arguments: ["aten.relu.default", "aten.hardtanh.default", "aten.clamp.default"])
  func convolutionAndClampAreOneUnit(op: String) throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let conv = model.convolution("conv", x, channels: 4)
    let more: KeyValuePairs<String, Operand> = op.contains("clamp") ? ["min": .attribute(.float(0))] : [:]
    model.program.graph.outputs = [model.unary(op, "clamp", conv, more)]
    let observed = try prepare(model.program, quantizer: XNNPACKQuantizer())
    #expect(observed.watchedNames == ["x:[0]", "clamp:[2]"])
    #expect(observed.notQuantized.isEmpty)
  }

  @Test func clampOfASharedConvolutionSharesItsObserver() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let conv = model.convolution("conv", x, channels: 4)
    model.program.graph.outputs = [model.relu6("relu6", conv), conv]
    let observed = try prepare(model.program, quantizer: XNNPACKQuantizer())
    #expect(observed.watchedNames == ["x:[0]", "conv:[2]", "relu6:[2]"])
  }

  @Test func weightsAreObservedByPrepareAlone() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    model.program.graph.outputs = [model.convolution("conv", x, channels: 4)]
    let observed = try prepare(model.program, quantizer: XNNPACKQuantizer())
    #expect(observed.calibratedObservers == [0, 2])
    #expect(observed.observers.map(\.hasObserved) == [false, true, false])
    #expect(observed.program.operatorNames.count { $0 == "quantization.observe" } == 3)
    #expect(try observed.floatProgram.operatorNames == ["aten.conv2d.default"])
  }

  @Test func aSharedWeightHasOneObserver() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let first = model.convolution("conv", x, channels: 3)
    let weight = try #require(model.program.node("conv")?.value("weight"))
    model.program.graph.outputs = [
      model.call("aten.conv2d.default", "again", ["input": .value(first), "weight": .value(weight)], [1, 3, 4, 4])
    ]
    let observed = try prepare(model.program, quantizer: XNNPACKQuantizer())
    #expect(observed.watchedNames == ["x:[0]", "conv:[2]", "again:[3]"])
    try observed.calibrateWithRamps()
    let converted = try convert(observed)
    #expect(converted.stateDict.keys.filter { $0.hasPrefix("_frozen_param") } == ["_frozen_param0"])
    #expect(converted.operatorNames.count { $0.contains("dequantize_per_channel") } == 2)
  }

  @Test func aDroppedDropoutIsSeenTwiceAndQuantizedOnce() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let first = model.convolution("first", x, channels: 4)
    let dropout = model.unary(
      "aten.dropout.default", "dropout", first, ["p": .attribute(.float(0.5)), "train": .attribute(.bool(false))])
    model.program.graph.outputs = [model.convolution("second", dropout, channels: 4)]
    let observed = try prepare(model.program, quantizer: XNNPACKQuantizer())
    #expect(observed.watchedNames == ["x:[0]", "first:[2, 2]", "second:[4]"])
    #expect(observed.values(watchedBy: 2).count == 2)
    try observed.calibrateWithRamps()
    let converted = try convert(observed)
    #expect(!converted.operatorNames.contains("aten.dropout.default"))
    #expect(converted.operatorNames.count { $0.contains(".quantize_per_tensor") } == 3)
  }

  @Test func everythingInFloatHasAReason() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let conv = model.convolution("conv", x, channels: 3, module: "a.b")
    let sigmoid = model.unary("aten.sigmoid.default", "sigmoid", conv)
    let relu = model.unary("aten.relu.default", "relu", sigmoid)
    let dynamic = model.call(
      "aten.conv2d.default", "dynamic", ["input": .value(x), "weight": .value(relu)], [1, 1, 1, 1])
    model.program.graph.outputs = [relu, dynamic]
    let observed = try prepare(model.program, quantizer: XNNPACKQuantizer(patterns: .torchao).setModuleName("a", nil))
    #expect(observed.notQuantized.map(\.node) == ["conv", "sigmoid", "relu", "dynamic"])
    #expect(observed.notQuantized[0].reason == "the module 'a' is set to stay in float")
    #expect(observed.notQuantized[1].reason.contains("no rule"))
    #expect(observed.notQuantized[2].reason.contains("'sigmoid', which is not quantized"))
    #expect(observed.notQuantized[3].reason.contains("computed in the graph"))
    #expect(observed.observers.isEmpty)
  }

  @Test func theInnermostModuleDecides() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let first = model.convolution("first", x, channels: 4, module: "a.b")
    model.program.graph.outputs = [model.convolution("second", first, channels: 4, module: "a.c")]
    let quantizer = XNNPACKQuantizer(nil).setModuleName("a", .symmetric()).setModuleName("a.c", nil)
    let observed = try prepare(model.program, quantizer: quantizer)
    #expect(observed.notQuantized.map(\.node) == ["second"])
    #expect(observed.watchedNames == ["x:[0]", "first:[2]"])
  }

  @Test func aQuantizedProgramIsNotPreparedAgain() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    model.program.graph.outputs = [model.convolution("conv", x, channels: 4)]
    let observed = try prepare(model.program, quantizer: XNNPACKQuantizer())
    try observed.calibrateWithRamps()
    let converted = try convert(observed)
    for program in [converted, observed.program] {
      let error = #expect(throws: QuantizationError.self) { try prepare(program, quantizer: XNNPACKQuantizer()) }
      guard case .alreadyQuantized = error else { throw error ?? .invalidConfiguration(reason: "no error") }
    }
  }

  @Test func unsuitableConfigurationsAreRefused() throws {
    var config = QuantizationConfig.symmetric()
    config.weight?.scheme = .perTensorAffine
    var wide = QuantizationConfig.symmetric()
    wide.inputActivation?.quantMax = 300
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    model.program.graph.outputs = [model.convolution("conv", x, channels: 4)]
    for config in [config, wide] {
      #expect(throws: QuantizationError.self) { try prepare(model.program, quantizer: XNNPACKQuantizer(config)) }
    }
  }
}
