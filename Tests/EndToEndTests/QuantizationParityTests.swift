import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

extension EndToEnd {
  /// Scales and zero points against torchao's, with its patterns, for the same calibration data in the same order.
  @Suite(.enabled(if: ZooModel.isAvailable, "needs the shared models"))
  struct QuantizationParityTests {
    struct Activation: Decodable {
      let input: String
      let scale: Double
      let zeroPoint: Int

      enum CodingKeys: String, CodingKey {
        case input, scale
        case zeroPoint = "zero_point"
      }
    }

    struct Parameters: Decodable {
      let activations: [Activation]
    }

    @Test(arguments: ["resnet8_cifar10", "ds_cnn_kws", "resnet18_imagenette", "resnet20_cifar10"])
    func activationParametersEqualTorchao(_ name: String) async throws {
      let model = ZooModel.named(name)
      let program = try await QuantizedZoo.shared.torchaoProgram(model)
      let golden = try JSONDecoder().decode(
        Parameters.self, from: Data(contentsOf: URL(fileURLWithPath: model.path("_qparams.json"))))
      let quantizers = program.graph.nodes.filter {
        $0.operatorName == "quantized_decomposed.quantize_per_tensor.default"
      }
      #expect(quantizers.count == golden.activations.count)
      for (node, expected) in zip(quantizers, golden.activations) {
        guard case .attribute(.float(let scale)) = node.operand("scale"),
          case .attribute(.int(let zeroPoint)) = node.operand("zero_point")
        else {
          Issue.record("\(node.name) has no literal parameters")
          continue
        }
        #expect(abs(scale / expected.scale - 1) <= 1e-5, "\(node.name) of \(expected.input)")
        #expect(zeroPoint == expected.zeroPoint, "\(node.name) of \(expected.input)")
      }
    }

    /// Folded weights and their scales, where torchao's graph is at hand.
    @Test(arguments: ["resnet8_cifar10", "ds_cnn_kws", "resnet20_cifar10"])
    func weightsEqualTorchao(_ name: String) async throws {
      let model = ZooModel.named(name)
      let ours = try await QuantizedZoo.shared.torchaoProgram(model)
      let golden = try PT2Archive.read(model.path("_int8_torchao.pt2"))
      let (a, b) = (weights(ours), weights(golden))
      #expect(a.count == b.count && !a.isEmpty)
      for (x, y) in zip(a, b) {
        let differing = zip(x.0.elements(as: Int8.self), y.0.elements(as: Int8.self)).count { $0 != $1 }
        #expect(differing * 10_000 <= x.0.shape.elementCount, "a weight of shape \(x.0.shape)")
        for (s, t) in zip(x.1, y.1) { #expect(abs(s / t - 1) <= 1e-5) }
      }
    }

    private func weights(_ program: ExportedProgram) -> [(Tensor, [Float])] {
      let constants = program.constants()
      return program.graph.nodes.compactMap { node in
        guard node.operatorName == "quantized_decomposed.dequantize_per_channel.default",
          let weight = node.value("input").flatMap({ constants[$0] }),
          let scales = node.value("scales").flatMap({ constants[$0] })
        else { return nil }
        return (weight, scales.elements())
      }
    }
  }
}
