import GraphIR
import TensorCore
import TestSupport
import Testing
import TorchFormats

/// One model, exported and saved by each PyTorch (Tests/Golden/formats/generate_versions.py).
struct PT2VersionTests {
  @Test(arguments: ["2.5", "2.6", "2.7", "2.8", "2.9", "2.15"])
  func givesWhatPyTorchGives(_ version: String) throws {
    let program = try PT2Archive.read(goldenPath("formats", "version_\(version).pt2"))
    try Verifier.verify(program, as: .float)
    let archive = try NumPyArchive(path: goldenPath("formats", "version_outputs.npz"))
    let output = try Interpreter(program).run([archive.tensor("input")])[0].elements(as: Float.self)
    let expected = try archive.tensor("output").elements(as: Float.self)
    #expect(zip(output, expected).allSatisfy { abs($0 - $1) <= 1e-6 })
    let names = program.graph.nodes.map(\.operatorName)
    #expect(
      names.prefix(4) == [
        "aten.conv2d.default", "aten.batch_norm.default", "aten.relu.default", "aten.max_pool2d.default",
      ])
    #expect(program.graph.nodes[0].modulePath.hasSuffix("conv"))
  }

  /// What an old archive holds is written in the new layout.
  @Test(arguments: ["2.5", "2.8"])
  func becomesANewArchive(_ version: String) throws {
    let folder = try TemporaryFolder()
    let program = try PT2Archive.read(goldenPath("formats", "version_\(version).pt2"))
    try PT2Archive.write(program, to: folder.path("new.pt2"))
    let again = try PT2Archive.read(folder.path("new.pt2"))
    #expect(again.graph.nodes.map(\.operatorName) == program.graph.nodes.map(\.operatorName))
    #expect(again.stateDict.keys.sorted() == program.stateDict.keys.sorted())
  }
}
