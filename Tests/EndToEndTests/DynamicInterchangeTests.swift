import Swiftlet
import TestSupport
import Testing

/// Dynamically quantized programs of torch.export: read, interpreted, written again and lowered.
@Suite struct DynamicInterchangeTests {
  @Test(arguments: ["tensor", "token"])
  func runsAsInPyTorch(_ name: String) throws {
    let program = try PT2Archive.read(goldenPath("formats", "dynamic_\(name).pt2"))
    let (input, expected) = try golden(name)
    expectClose(try Interpreter(program).run([input])[0], expected)
    let chosen = try #require(program.graph.nodes.first { $0.operatorName.contains("choose_qparams") })
    #expect(chosen.outputs.map { program.graph.spec($0).dataType } == [.float64, .int64])
    for partitioner in [XNNPACKPartitioner(), nil] as [XNNPACKPartitioner?] {
      let lowered = try lower(program, partitioner: partitioner)
      let names = lowered.instructions.map(\.operatorName)
      #expect(names.filter { $0 == "fused.dynamic_linear" }.count == 2, "\(names)")
      #expect(!names.contains { $0.hasPrefix("quantized_decomposed.") }, "\(names)")
      #expect(lowered.floatInstructions.isEmpty, "\(lowered.floatInstructions.map(\.operatorName))")
      expectClose(try Method(lowered, threads: ThreadPool(threadCount: 1)).run([input])[0], expected)
    }
  }

  @Test(arguments: ["tensor", "token"])
  func survivesWriting(_ name: String) throws {
    let program = try PT2Archive.read(goldenPath("formats", "dynamic_\(name).pt2"))
    let folder = try TemporaryFolder()
    try PT2Archive.write(program, to: folder.path("a.pt2"))
    let again = try PT2Archive.read(folder.path("a.pt2"))
    #expect(again.graph == program.graph)
    let (input, _) = try golden(name)
    let (a, b) = (try Interpreter(program).run([input])[0], try Interpreter(again).run([input])[0])
    #expect(a.elements(as: Float.self) == b.elements(as: Float.self))
  }

  private func golden(_ name: String) throws -> (input: Tensor, expected: Tensor) {
    let archive = try NumPyArchive(path: goldenPath("formats", "dynamic_outputs.npz"))
    return (try archive.tensor("x").aligned(), try archive.tensor(name).aligned())
  }

  /// Within 1e-5 of the expected values' range: sums in another order.
  private func expectClose(_ actual: Tensor, _ expected: Tensor) {
    let (a, b) = (actual.elements(as: Float.self), expected.elements(as: Float.self))
    #expect(actual.shape == expected.shape)
    let tolerance = 1e-5 * ((b.max() ?? 0) - (b.min() ?? 0))
    for (index, (x, y)) in zip(a, b).enumerated() where !((x - y).magnitude <= tolerance) {
      Issue.record("element \(index) is \(x), PyTorch's \(y)")
      return
    }
  }
}
