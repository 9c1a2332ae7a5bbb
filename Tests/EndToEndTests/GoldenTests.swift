import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

extension EndToEnd {
  /// Against PyTorch's results on its own files.
  @Suite(.enabled(if: ZooModel.isAvailable, "needs the shared models"))
  struct GoldenTests {
    @Test(arguments: ZooModel.all)
    func floatOutputsEqualPyTorch(_ model: ZooModel) throws {
      let method = try load(model.program())
      for (input, expected) in zip(try model.goldenSamples("input"), try model.goldenSamples("float_output")) {
        let output = try method.run([input])[0].elements(as: Float.self)
        let golden = expected.elements(as: Float.self)
        let range = golden.max()! - golden.min()!
        #expect(zip(output, golden).map { abs($0 - $1) }.max()! <= 1e-4 * range)
      }
    }

    @Test(arguments: ["resnet8_cifar10", "resnet20_cifar10", "ds_cnn_kws", "mobilenet_v1_vww", "autoencoder_ad"])
    func portableFloatOutputsEqualPyTorch(_ name: String) throws {
      let model = ZooModel.named(name)
      let program = try model.program()
      let method = try load(program, delegate: false)
      let interpreter = try Interpreter(program)
      for (input, expected) in zip(try model.goldenSamples("input"), try model.goldenSamples("float_output")) {
        let golden = expected.elements(as: Float.self)
        let range = golden.max()! - golden.min()!
        for output in [try method.run([input])[0], try interpreter.run([input])[0]] {
          #expect(zip(output.elements(as: Float.self), golden).map { abs($0 - $1) }.max()! <= 1e-4 * range)
        }
      }
    }

    /// A Q/DQ graph that PyTorch made, simulated in float as PyTorch does.
    @Test(arguments: ["resnet8_cifar10", "resnet20_cifar10", "ds_cnn_kws", "mobilenet_v1_vww", "autoencoder_ad"])
    func simulatedTorchaoGraphsEqualPyTorch(_ name: String) throws {
      let model = ZooModel.named(name)
      let program = try PT2Archive.read(model.path("_int8_torchao.pt2"))
      try Verifier.verify(program, as: .quantizeDequantize)
      let interpreter = try Interpreter(program)
      let quantum = try Quantum(ofOutputOf: program)
      for (input, expected) in zip(try model.goldenSamples("input"), try model.goldenSamples("qdq_output")) {
        let output = try interpreter.run([input])[0].elements(as: Float.self)
        let distances = zip(output, expected.elements(as: Float.self)).map { abs($0 - $1) / quantum.scale }
        // Another order of summation may tip a value on the edge between two quanta, here or in an earlier layer.
        #expect(distances.max()! <= 3)
        #expect(distances.count { $0 > 0.5 } <= max(1, distances.count / 10))
      }
    }

    /// The same graphs lowered to int8 operators.
    @Test(arguments: ["resnet8_cifar10", "resnet20_cifar10", "ds_cnn_kws", "mobilenet_v1_vww", "autoencoder_ad"])
    func loweredTorchaoGraphsAreInt8Throughout(_ name: String) throws {
      let model = ZooModel.named(name)
      let program = try PT2Archive.read(model.path("_int8_torchao.pt2"))
      let method = try load(program)
      #expect(method.operations.count { $0.operatorName == "fused.quantize" } == 1, "a float island")
      #expect(method.operations.count { $0.operatorName == "fused.dequantize" } == 1, "a float island")
      let scale = try Quantum(ofOutputOf: program).scale
      for (input, expected) in zip(try model.goldenSamples("input"), try model.goldenSamples("qdq_output")) {
        let output = try method.run([input])[0].elements(as: Float.self)
        let golden = expected.elements(as: Float.self)
        let noise = zip(output, golden).map { ($0 - $1) / scale }
        // Differences of one quantum in single layers add up; they stay small against the output.
        #expect((noise.map { $0 * $0 }.reduce(0, +) / Float(noise.count)).squareRoot() <= 4)
        if model.name != "autoencoder_ad" {
          #expect(topK(output, 1)[0].index == topK(golden, 1)[0].index)
        }
      }
    }
  }
}

/// The output quantization of a Q/DQ graph.
struct Quantum {
  let scale: Float

  init(ofOutputOf program: ExportedProgram) throws {
    let producers = program.graph.producers()
    guard let index = producers[program.graph.outputs[0]],
      case .attribute(.float(let scale)) = program.graph.nodes[index].operand("scale")
    else { throw UsageError("\(program.name): its output is not dequantized") }
    self.scale = Float(scale)
  }
}
