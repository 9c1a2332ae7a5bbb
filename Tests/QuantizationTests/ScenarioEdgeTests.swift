import GraphIR
import Operators
import TensorCore
import TestSupport
import Testing
import XNNPACKBackend

@testable import Quantization

/// torchao's scenarios that are about refusals and about what is left alone; ScenarioTests has those with golden graphs.
@Suite struct ScenarioEdgeTests {
  private func float(_ build: (inout TestModel, ValueID) -> ValueID) -> ExportedProgram {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    model.program.graph.outputs = [build(&model, x)]
    return model.program
  }

  /// input_edge_sanity_check: an annotated input must be one that the node reads, and a float32 tensor.
  @Test func annotationsMustFitTheGraph() throws {
    let program = float { model, x in model.unary("aten.relu.default", "b", model.unary("aten.relu.default", "a", x)) }
    let spec = QuantizationSpec(scheme: .perTensorAffine, observer: .minMax)
    let x = program.graph.inputs[0]
    let quantizer = AnnotatingQuantizer { node, annotations in
      if node.name == "b" { annotations[node.output] = QuantizationAnnotation(inputs: [(x, .own(spec))]) }
    }
    let error = #expect(throws: QuantizationError.self) { try prepare(program, quantizer: quantizer) }
    #expect("\(try #require(error))".contains("does not read"))
  }

  /// mul_float32_max: a scalar too large for a histogram stays in float, with a reason.
  @Test func operandsThatCannotBeObserved() throws {
    let program = float { model, x in
      model.call("aten.mul.Tensor", "mul", ["self": .value(x), "other": .attribute(.float(3.4e38))], [1, 3, 4, 4])
    }
    let observed = try prepare(program, quantizer: XNNPACKQuantizer())
    #expect(observed.observers.isEmpty)
    #expect(observed.notQuantized.first?.reason.contains("too large") == true)
  }

  /// add_mul_long: integers are not quantized, and a node that computes them needs no reason.
  @Test func integersAreLeftAlone() throws {
    var program = ExportedProgram(name: "test")
    let x = program.graph.addValue("x", TensorSpec(.int64, [2, 3]))
    program.graph.inputs = [x]
    program.inputKinds = [.userInput]
    let node = program.graph.makeNode(
      OperatorSet.standard.resolve("aten.view.default"), name: "view",
      arguments: [.init("self", .value(x)), .init("size", .attribute(.ints([6])))],
      output: TensorSpec(.int64, [6]))
    program.graph.nodes = [node]
    program.graph.outputs = [node.output]
    let observed = try prepare(program, quantizer: XNNPACKQuantizer())
    #expect(observed.observers.isEmpty && observed.notQuantized.isEmpty)
  }

  /// transform_for_annotation: a quantizer may rewrite the graph before it is annotated.
  @Test func quantizersMayRewriteTheGraph() throws {
    struct Rewriting: Quantizer {
      func transformForAnnotation(_ program: inout ExportedProgram) {
        for index in program.graph.nodes.indices where program.graph.nodes[index].operatorName == "aten.sigmoid.default"
        {
          program.graph.nodes[index].op = .hardsigmoid
        }
      }
      func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) throws(QuantizationError) {
        try XNNPACKQuantizer().annotate(program, &annotations)
      }
    }
    let observed = try prepare(
      float { model, x in model.unary("aten.sigmoid.default", "s", x) }, quantizer: Rewriting())
    #expect(try observed.floatProgram.operatorNames == ["aten.hardsigmoid.default"])
  }

  /// dont_fold_other_constant: only weights become integers.
  @Test func otherConstantsStayReal() throws {
    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    let offset = model.parameter("offset", [1, 3, 4, 4])
    let sum = model.call("aten.add.Tensor", "add", ["self": .value(x), "other": .value(offset)], [1, 3, 4, 4])
    model.program.graph.outputs = [model.convolution("conv", sum, channels: 2)]
    let observed = try prepare(
      model.program, quantizer: XNNPACKQuantizer().setOperatorType("aten.add", nil))
    try observed.calibrateWithRamps()
    let converted = try convert(observed)
    #expect(converted.stateDict["offset"]?.dataType == .float32)
    #expect(converted.stateDict.values.count { $0.dataType == .int8 } == 1)
  }

  /// fold_all_ops_before_quantize, constant_prop_preserve_metadata: a weight that is transposed before it is used is quantized as
  /// it is used, and what reads it knows its module.
  @Test func movementsOfConstantsAreFolded() throws {
    func program(isTransposed: Bool) -> ExportedProgram {
      var model = TestModel()
      let x = model.input("x", [2, 3])
      let values = (0..<12).map { Float($0) / 6 - 1 }
      let turned = (0..<12).map { values[$0 % 4 * 3 + $0 / 4] }
      var weight = model.parameter(
        "weight", isTransposed ? Tensor(turned, shape: [3, 4]) : Tensor(values, shape: [4, 3]))
      if isTransposed {
        let axes: KeyValuePairs<String, Operand> = [
          "self": .value(weight), "dim0": .attribute(.int(0)), "dim1": .attribute(.int(1)),
        ]
        weight = model.call("aten.transpose.int", "t", axes, [4, 3])
      }
      model.program.graph.outputs = [
        model.call("aten.linear.default", "l", ["input": .value(x), "weight": .value(weight)], [2, 4], module: "m")
      ]
      return model.program
    }
    let converted = try [true, false].map { isTransposed in
      let observed = try prepare(program(isTransposed: isTransposed), quantizer: XNNPACKQuantizer())
      #expect(observed.notQuantized.isEmpty)
      try observed.calibrateWithRamps()
      return try convert(observed)
    }
    #expect(try converted[0].lines() == converted[1].lines())
    #expect(converted[0].stateDict["_frozen_param0"]?.bits == converted[1].stateDict["_frozen_param0"]?.bits)
    #expect(converted[0].node("dequantize_per_channel")?.modulePath == "m")
  }

  /// move_exported_model: what was exported in training mode is refused, or named, not silently evaluated.
  @Test func trainingModeIsNamed() throws {
    let dropout = float { model, x in
      model.unary(
        "aten.dropout.default", "dropout", x, ["p": .attribute(.float(0.5)), "train": .attribute(.bool(true))])
    }
    #expect(throws: QuantizationError.self) { try prepare(dropout, quantizer: XNNPACKQuantizer()) }
  }

  /// reentrant: a program that has been converted is not prepared again; compose quantizers instead.
  @Test func convertedProgramsAreNotPreparedAgain() throws {
    let observed = try prepare(
      float { model, x in model.convolution("conv", x, channels: 2) }, quantizer: XNNPACKQuantizer())
    try observed.calibrateWithRamps()
    let converted = try convert(observed)
    let error = #expect(throws: QuantizationError.self) { try prepare(converted, quantizer: XNNPACKQuantizer()) }
    #expect("\(try #require(error))".contains("quantized already"))
  }

  /// Unknown operators are refused by name.
  @Test func unknownOperatorsAreNamed() throws {
    let program = float { model, x in
      model.call("aten.rnn_tanh.input", "rnn_tanh", ["input": .value(x)], [1, 3, 4, 4], module: "rnn")
    }
    let error = #expect(throws: QuantizationError.self) { try prepare(program, quantizer: XNNPACKQuantizer()) }
    let text = "\(try #require(error))"
    #expect(text.contains("aten.rnn_tanh.input") && text.contains("rnn"))
  }
}
