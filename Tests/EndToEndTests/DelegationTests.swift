import Foundation
import Swiftlet
import SwiftletTools
import TestSupport
import Testing

extension EndToEnd {
  /// What XNNPACK runs, and that it gives the portable kernels' bytes.
  struct DelegationTests {
    /// ResNet-8 as it is shipped, calibrated on noise: enough for comparing kernels.
    static func quantizedResNet8() throws -> ExportedProgram {
      let program = try PT2Archive.read(repositoryPath("models/resnet8/resnet8.pt2"))
      return try quantize(program, NoiseDataset(shape: [1, 3, 32, 32], count: 4, scale: 255)).program
    }

    @Test func delegatedEqualsPortableOnTheShippedModel() throws {
      let program = try Self.quantizedResNet8()
      try expectEqualBytes(
        program, inputs: (10..<14).map { NoiseDataset(shape: [1, 3, 32, 32], count: 0, scale: 255).input($0) })
    }

    @Test(.enabled(if: ZooModel.isAvailable, "needs the shared models"), arguments: ZooModel.all)
    func delegatedEqualsPortable(_ model: ZooModel) async throws {
      try expectEqualBytes(await QuantizedZoo.shared.program(model), inputs: model.goldenSamples("input"))
    }

    private func expectEqualBytes(_ program: ExportedProgram, inputs: [Tensor]) throws {
      let delegated = try load(program)
      let portable = try load(program, delegate: false)
      #expect(delegated.delegated.nodes > 0)
      #expect(portable.delegated.nodes == 0)
      for input in inputs {
        let a = try delegated.run([input])[0].elements(as: Float.self)
        let b = try portable.run([input])[0].elements(as: Float.self)
        #expect(a == b)
      }
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
      let method = try load(Self.quantizedResNet8(), delegate: false)
      #expect(method.fallback.count == method.operations.count)
      #expect(method.fallback.allSatisfy { !$0.reason.isEmpty })
    }

    @Test func savingAndLoadingGivesTheSameOutputsAndTheSameFile() throws {
      let program = try Self.quantizedResNet8()
      let folder = try TemporaryFolder()
      try PT2Archive.write(program, to: folder.path("a.pt2"))
      let again = try PT2Archive.read(folder.path("a.pt2"))
      try PT2Archive.write(again, to: folder.path("b.pt2"))
      #expect(
        try Data(contentsOf: URL(fileURLWithPath: folder.path("a.pt2")))
          == Data(contentsOf: URL(fileURLWithPath: folder.path("b.pt2"))))
      let input = NoiseDataset(shape: [1, 3, 32, 32], count: 1, scale: 255).input(0)
      #expect(
        try load(program).run([input])[0].elements(as: Float.self)
          == load(again).run([input])[0].elements(as: Float.self)
      )
    }

    @Test func aWrongInputIsRefusedByName() throws {
      let method = try load(Self.quantizedResNet8())
      #expect(throws: ProgramError.self) {
        try method.run([Tensor([Float](repeating: 0, count: 3), shape: [1, 3, 1, 1])])
      }
      #expect(throws: ProgramError.self) { try method.run([]) }
    }
  }
}

/// Seeded uniform noise in [0, scale).
struct NoiseDataset: Dataset {
  let shape: Shape
  let count: Int
  let scale: Float

  func input(_ index: Int) -> Tensor {
    var state = UInt32(truncatingIfNeeded: index &* 2_654_435_761 &+ 12_345) | 1
    let values = (0..<shape.elementCount).map { _ in
      state ^= state << 13
      state ^= state >> 17
      state ^= state << 5
      return Float(state >> 8) / Float(1 << 24) * scale
    }
    return Tensor(values, shape: shape)
  }

  func label(_ index: Int) -> Int? { nil }
}
