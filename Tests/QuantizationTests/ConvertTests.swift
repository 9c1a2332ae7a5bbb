import GraphIR
import Swiftlet
import TensorCore
import TestSupport
import Testing
import XNNPACKBackend

@testable import Quantization

@Suite struct ConvertTests {
  /// conv → relu6 → two convolutions and an operator in float.
  fileprivate func branching(isPerChannel: Bool = true) throws -> ObservedProgram {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let stem = model.relu6("relu6", model.convolution("stem", x, channels: 4, module: "stem"))
    model.program.graph.outputs = [
      model.convolution("left", stem, channels: 2), model.convolution("right", stem, channels: 2),
      model.unary("aten.sigmoid.default", "sigmoid", stem),
    ]
    let quantizer = XNNPACKQuantizer(.symmetric(isPerChannel: isPerChannel)).setOperatorType("aten.sigmoid", nil)
    return try prepare(model.program, quantizer: quantizer)
  }

  @Test func convertingUncalibratedTellsWhatToDo() throws {
    let observed = try branching()
    let error = #expect(throws: QuantizationError.self) { try convert(observed) }
    #expect(error == .observer(program: "test", value: "x", .notCalibrated))
    #expect("\(try #require(error))".contains("run the prepared model on calibration data"))
  }

  @Test func everyQuantizedReaderHasItsOwnDequantize() throws {
    let observed = try branching()
    try observed.calibrateWithRamps(low: 0, high: 6)
    let converted = try convert(observed)
    try Verifier.verify(converted, as: .quantizeDequantize)
    let quantize = try #require(converted.node("quantize_per_tensor_1"))
    let readers = converted.graph.nodes.filter { $0.inputs.contains(quantize.output) }
    #expect(readers.map(\.name) == ["dequantize_per_tensor_1", "dequantize_per_tensor_2", "dequantize_per_tensor_3"])
    let consumers = readers.map { reader in
      converted.graph.nodes.filter { $0.inputs.contains(reader.output) }.map(\.name)
    }
    #expect(consumers == [["sigmoid"], ["right"], ["left"]])
    #expect(readers.allSatisfy { $0.operand("scale") == quantize.operand("scale") })
    #expect(quantize.operand("zero_point") == .attribute(.int(-128)))
  }

  @Test func perChannelWeightsBecomeBuffers() throws {
    let observed = try branching()
    try observed.calibrateWithRamps()
    let converted = try convert(observed)
    let scales = try #require(converted.stateDict["_scale_0"])
    let weight = try #require(converted.stateDict["_frozen_param0"])
    #expect(converted.stateDict["_zero_point_0"]?.spec == TensorSpec(.int64, [4]))
    #expect(weight.spec == TensorSpec(.int8, [4, 3, 1, 1]))
    // Of the ramp over 12 values: the largest magnitude of each row of 3 becomes ±127.
    let rows = weight.elements(as: Int8.self)
    #expect([rows[0], rows[3], rows[8], rows[11]] == [-127, -127, 127, 127])
    #expect(scales.elements(as: Float.self)[0] == 1 / Float(127))
    #expect(converted.stateDict["stem.weight"] == nil)
    #expect(converted.stateDict["stem.bias"] != nil)
  }

  @Test func perTensorWeightsHaveLiteralParameters() throws {
    let observed = try branching(isPerChannel: false)
    try observed.calibrateWithRamps()
    let converted = try convert(observed)
    #expect(!converted.stateDict.keys.contains { $0.hasPrefix("_scale_") })
    #expect(!converted.operatorNames.contains { $0.contains("per_channel") })
    let weight = try #require(converted.node("stem")?.value("weight"))
    let dequantize = try #require(converted.node(converted.graph[weight].name))
    #expect(dequantize.operand("quant_min") == .attribute(.int(-127)))
    #expect(dequantize.operand("scale") == .attribute(.float(Double(1 / Float(127)))))
  }

  @Test func nodesKnowTheirModules() throws {
    let observed = try branching()
    try observed.calibrateWithRamps()
    let converted = try convert(observed)
    #expect(converted.node("dequantize_per_tensor")?.modulePath == "stem")
    #expect(converted.node("dequantize_per_channel")?.modulePath == "stem")
  }

  @Test func convertingLeavesTheObservedProgramUsable() throws {
    let observed = try branching()
    try observed.calibrateWithRamps()
    let first = try convert(observed)
    #expect(try convert(observed).graph == first.graph)
    try observed.calibrateWithRamps(low: -9, high: 9)
    #expect(try convert(observed).graph != first.graph)
  }

  @Test func refusedValuesAreNamed() throws {
    let observed = try branching()
    let nan = Tensor([Float](repeating: .nan, count: 48), shape: [1, 3, 4, 4])
    #expect(throws: QuantizationError.observer(program: "test", value: "x", .notANumber)) {
      try observed.record([nan], observer: 0)
    }
    #expect(throws: QuantizationError.wrongObservationCount(program: "test", observer: 0, expected: 1, actual: 2)) {
      try observed.record([nan, nan], observer: 0)
    }
    #expect(throws: QuantizationError.self) { try observed.update([:], threads: 2) { _, _ in } }
  }

  @Test func quantizingRoundsHalfToEven() {
    let tensor = Tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 300, -300, Float.nan], shape: [9])
    let integers = tensor.quantized(
      QParams(scale: 1, zeroPoint: 1), low: -127, high: 127, as: Int8.self)
    #expect(integers.elements(as: Int8.self) == [-1, -1, 1, 1, 3, 3, 127, -127, -127])
  }
}

extension ConvertTests {
  @Test func referenceRepresentationIsAnOptionOfConvert() throws {
    let observed = try branching()
    try observed.calibrateWithRamps()
    let reference = try convert(observed, useReferenceRepresentation: true)
    #expect(!reference.operatorNames.contains { $0.hasPrefix("quantized_decomposed.") })
    #expect(throws: QuantizationError.self) {
      try convert(observed, foldQuantize: false, useReferenceRepresentation: true)
    }
  }

  @Test func unfoldedWeightsGiveTheSameResult() throws {
    let observed = try branching()
    try observed.calibrateWithRamps()
    let (folded, unfolded) = (try convert(observed), try convert(observed, foldQuantize: false))
    #expect(unfolded.stateDict["stem.weight"] != nil && unfolded.stateDict["_frozen_param0"] == nil)
    let input = Tensor((0..<48).map { Float($0) / 24 - 1 }, shape: [1, 3, 4, 4])
    let (a, b) = (try Interpreter(folded).run([input]), try Interpreter(unfolded).run([input]))
    for (x, y) in zip(a, b) { #expect(x.elements(as: Float.self) == y.elements(as: Float.self)) }
    let lowered = try lower(unfolded, partitioner: nil)
    #expect(
      try lowered.instructions.map(\.operatorName) == lower(folded, partitioner: nil).instructions.map(\.operatorName))
  }
}
