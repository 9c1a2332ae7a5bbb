import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

extension EndToEnd {
  struct ShippedReferenceTests {
    /// Written to a file, and read again, the reference gives the same.
    @Test func savedReferenceGivesTheSameOutputs() throws {
      let program = try ResNet8.quantized()
      let reference = try referenceRepresentation(of: program)
      let folder = try TemporaryFolder()
      try PT2Archive.write(reference.program, to: folder.path("reference.pt2"))
      let again = try PT2Archive.read(folder.path("reference.pt2"))
      let input = ResNet8.input(20)
      let output = try Interpreter(again).run([input])[0].elements(as: Float.self)
      #expect(try output == load(program).run([input])[0].elements(as: Float.self))
    }
  }

  /// The integer reference of whole models, a third opinion beside the fused kernels and XNNPACK. The interpreter's
  /// integer kernels are plain loops, so these run in release builds only.
  @Suite(
    .enabled(if: ZooModel.isAvailable, "needs the shared models"),
    .enabled(if: !_isDebugAssertConfiguration(), "too slow without optimization"))
  struct ReferenceRepresentationTests {
    @Test(arguments: ZooModel.all)
    func equalsTheDelegatedProgram(_ model: ZooModel) async throws {
      let program = try await QuantizedZoo.shared.program(model)
      let reference = try referenceRepresentation(of: program)
      #expect(reference.notRewritten.isEmpty, "\(reference.notRewritten)")
      #expect(!reference.program.graph.nodes.contains { $0.operatorName.hasPrefix("quantized_decomposed.") })
      try compare(reference, program, model)
    }

    /// PyTorch's own Q/DQ graphs.
    @Test(arguments: ["resnet8_cifar10", "resnet20_cifar10", "ds_cnn_kws", "mobilenet_v1_vww", "autoencoder_ad"])
    func equalsTheDelegatedTorchaoGraph(_ name: String) throws {
      let model = ZooModel.named(name)
      let program = try PT2Archive.read(model.path("_int8_torchao.pt2"))
      try compare(referenceRepresentation(of: program), program, model)
    }

    private func compare(
      _ reference: ReferenceRepresentation, _ program: ExportedProgram, _ model: ZooModel
    ) throws {
      let interpreter = try Interpreter(reference.program)
      let method = try load(program)
      var time = Duration.zero
      for input in try model.goldenSamples("input") {
        var quanta: [String: Tensor] = [:]
        let start = ContinuousClock.now
        let output = try interpreter.run([input]) { id, tensor in
          if tensor.dataType == .int8 { quanta[reference.program.graph[id].name] = tensor }
        }
        time += ContinuousClock.now - start
        #expect(try output[0].elements(as: Float.self) == method.run([input])[0].elements(as: Float.self))

        let isolated = try IsolatedComparison(program, input, reference.quantizedValues.compactMapValues { quanta[$0] })
        #expect(isolated.comparedValues == program.graph.nodes.count { $0.isActivationQuantize })
        #expect(isolated.largestDifference <= 1)
        print(
          "\(model.name): \(isolated.differing) of \(isolated.comparedElements) elements differ from the "
            + "simulation of their operator by one quantum; reference after \(time)")
      }
    }
  }
}

/// Every unit of a Q/DQ program simulated in float on the reference's own integers, so that differences do not add up.
private struct IsolatedComparison {
  private(set) var comparedValues = 0
  private(set) var comparedElements = 0
  private(set) var differing = 0
  private(set) var largestDifference = 0

  /// `quanta`: the reference's integers by the name of the quantize node's output.
  init(_ program: ExportedProgram, _ input: Tensor, _ quanta: [String: Tensor]) throws {
    let constants = program.constants()
    var tensors = constants
    tensors[program.userInputs[0]] = input
    for node in program.graph.nodes {
      let (op, call) = try program.call(of: node, constants: constants)
      let inputs = try node.callInputs.map { try #require(tensors[$0]) }
      let output = try op.execute(call, inputs: inputs)[0]
      if node.isActivationQuantize, let known = quanta[program.graph[node.output].name] {
        compare(output.elements(as: Int8.self), known.elements(as: Int8.self))
        tensors[node.output] = known
      } else {
        tensors[node.output] = output
      }
    }
  }

  private mutating func compare(_ a: [Int8], _ b: [Int8]) {
    comparedValues += 1
    comparedElements += a.count
    for (x, y) in zip(a, b) where x != y {
      differing += 1
      largestDifference = max(largestDifference, abs(Int(x) - Int(y)))
    }
  }
}

extension Node {
  fileprivate var isActivationQuantize: Bool {
    operatorName == "quantized_decomposed.quantize_per_tensor.default"
  }
}
