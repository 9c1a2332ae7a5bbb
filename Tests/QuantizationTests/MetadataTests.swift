import GraphIR
import TensorCore
import TestSupport
import Testing
import XNNPACKBackend

@testable import Quantization

/// Where quantize and dequantize nodes stand in the model (torchao's metadata porting scenarios): a quantize node stands
/// with the node that computes its value, a dequantize node with the one that reads it.
@Suite struct MetadataTests {
  private func converted(
    _ quantizer: XNNPACKQuantizer = XNNPACKQuantizer(), _ build: (inout TestModel) -> [ValueID]
  ) throws -> ExportedProgram {
    var model = TestModel()
    model.program.graph.outputs = build(&model)
    let observed = try prepare(model.program, quantizer: quantizer)
    try observed.calibrateWithRamps()
    return try convert(observed)
  }

  /// "producer>reader" in module paths, for each node between two operators.
  private func places(_ program: ExportedProgram, _ kind: String) -> [String] {
    program.graph.nodes.filter { $0.operatorName.hasPrefix("quantized_decomposed.\(kind).") }.map(\.modulePath).sorted()
  }

  /// simple: conv → pool → linear-like chain, all quantized.
  @Test func simple() throws {
    let program = try converted { model in
      let x = model.input("x", [1, 3, 4, 4])
      return [model.convolution("b", model.convolution("a", x, channels: 2, module: "m.a"), channels: 2, module: "m.b")]
    }
    #expect(places(program, "quantize_per_tensor") == ["", "m.a", "m.b"])
    // The model's input has no place; its dequantize node stands with the reader, that of the result with its producer.
    #expect(places(program, "dequantize_per_tensor") == ["m.a", "m.b", "m.b"])
    #expect(places(program, "dequantize_per_channel") == ["m.a", "m.b"])
  }

  /// no quantization in between: nothing is invented there.
  @Test func noQuantInBetween() throws {
    let program = try converted(XNNPACKQuantizer().setModuleName("m.b", nil)) { model in
      let x = model.input("x", [1, 3, 4, 4])
      let a = model.convolution("a", x, channels: 2, module: "m.a")
      let b = model.unary("aten.sigmoid.default", "b", a, module: "m.b")
      return [model.convolution("c", b, channels: 2, module: "m.c")]
    }
    #expect(places(program, "quantize_per_tensor") == ["", "m.a", "m.b", "m.c"])
    // The one that a float operator reads stands with that operator.
    #expect(places(program, "dequantize_per_tensor") == ["m.a", "m.b", "m.c", "m.c"])
  }

  /// two dq: each of two readers has a dequantize node at its own place.
  @Test func twoReaders() throws {
    let program = try converted { model in
      let x = model.input("x", [1, 3, 4, 4])
      let a = model.convolution("a", x, channels: 2, module: "m.a")
      return [
        model.convolution("b", a, channels: 2, module: "m.b"), model.convolution("c", a, channels: 2, module: "m.c"),
      ]
    }
    #expect(places(program, "dequantize_per_tensor") == ["m.a", "m.b", "m.b", "m.c", "m.c"])
  }

  /// dq without static q: dynamic quantization stands with the layer whose input it is.
  @Test func dynamicQuantization() throws {
    let program = try converted(XNNPACKQuantizer(.symmetric(isDynamic: true))) { model in
      let x = model.input("x", [1, 3, 4, 4])
      return [model.convolution("a", x, channels: 2, module: "m.a")]
    }
    #expect(places(program, "choose_qparams") == ["m.a"])
    #expect(program.graph.nodes.filter { $0.operatorName.contains("quantize") }.allSatisfy { $0.modulePath == "m.a" })
  }

  /// none, and not through unknown operators: without annotations there is no node, hence no metadata.
  @Test func nothingQuantized() throws {
    let program = try converted(XNNPACKQuantizer(nil)) { model in
      let x = model.input("x", [1, 3, 4, 4])
      return [model.convolution("a", x, channels: 2, module: "m.a")]
    }
    #expect(program.operatorNames == ["aten.conv2d.default"])
    #expect(program.node("a")?.modulePath == "m.a")
  }
}
