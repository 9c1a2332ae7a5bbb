import Foundation
import PipelineTesting
import Swiftlet
import SwiftletTools
import TestSupport
import Testing

extension EndToEnd {
  /// What XNNPACK runs, and that it gives the portable kernels' bytes.
  struct DelegationTests {
    @Test func delegatedEqualsPortableOnTheShippedModel() throws {
      try expectEqualBytes(ResNet8.quantized(), inputs: (10..<14).map(ResNet8.input))
    }

    @Test(.enabled(if: ZooModel.isAvailable, "needs the shared models"), arguments: ZooModel.all)
    func delegatedEqualsPortable(_ model: ZooModel) async throws {
      try expectEqualBytes(await QuantizedZoo.shared.program(model), inputs: model.goldenSamples("input"))
    }

    private func expectEqualBytes(_ program: ExportedProgram, inputs: [Tensor]) throws {
      let pipeline = try Pipeline(program, samples: inputs.map { [$0] }).lower()
      #expect(pipeline.lowered?.delegates.isEmpty == false)
      try pipeline.run(threads: [2]).compare(portable: .bytes)
    }

    @Test(
      .enabled(if: ZooModel.isAvailable, "needs the shared models"),
      arguments: ["efficientnet_lite0_imagenet", "mobilenet_v2_imagenet"])
    func atMostOnePortableOperator(_ name: String) async throws {
      let method = try load(await QuantizedZoo.shared.program(ZooModel.named(name)))
      let portable = method.operations.filter { $0.backend == .portable && $0.operatorName != "fused.quantize" }
      #expect(portable.count <= 1, "\(portable.map(\.node))")
    }

    @Test func rowMajorWeightsAreMappedNotCopied() throws {
      let counts = try PT2Archive.read(repositoryPath("models/resnet8/resnet8.pt2")).stateByteCounts
      #expect(counts.mapped > 300_000 && counts.copied == 0)
    }

    @Test func everyFallbackHasAReason() throws {
      let method = try load(ResNet8.quantized(), delegate: false)
      #expect(method.fallback.count == method.operations.count)
      #expect(method.fallback.allSatisfy { !$0.reason.isEmpty })
    }

    @Test func savingAndLoadingGivesTheSameOutputsAndTheSameFile() throws {
      let program = try ResNet8.quantized()
      let folder = try TemporaryFolder()
      try PT2Archive.write(program, to: folder.path("a.pt2"))
      let again = try PT2Archive.read(folder.path("a.pt2"))
      try PT2Archive.write(again, to: folder.path("b.pt2"))
      #expect(
        try Data(contentsOf: URL(fileURLWithPath: folder.path("a.pt2")))
          == Data(contentsOf: URL(fileURLWithPath: folder.path("b.pt2"))))
      let input = ResNet8.input(0)
      #expect(
        try load(program).run([input])[0].elements(as: Float.self)
          == load(again).run([input])[0].elements(as: Float.self)
      )
    }
  }
}
