import Foundation
import GraphIR
import TensorCore
import TestSupport
import Testing
import TorchFormats

/// Every format, cut off, with changed bytes and with lengths and offsets out of range: an error or a valid result each
/// time. Each test runs in a process of its own; see `DamagedFile`.
struct DamageTests {
  private static func record(_ problems: [String]) {
    for problem in problems { Issue.record("\(problem)") }
  }

  private static func readWeights(_ path: String) throws {
    touch(try StateDict.read(path, verifyingChecksums: false).entries.map(\.tensor))
  }

  @Test func torchSaveArchives() async {
    await #expect(processExitsWith: .success) {
      let zip = goldenPath("formats", "weights_zip.pth")
      let checkpoint = goldenPath("formats", "weights_checkpoint.pth")
      Self.record(
        try DamagedFile.problems(
          [
            DamagedFile(zip), DamagedFile(zip, entry: "data.pkl"), DamagedFile(checkpoint, entry: "data.pkl"),
            DamagedFile(goldenPath("formats", "weights_parameters.pth"), entry: "data.pkl"),
          ], read: Self.readWeights))
    }
  }

  @Test func legacyTorchSave() async {
    await #expect(processExitsWith: .success) {
      Self.record(
        try DamagedFile.problems([DamagedFile(goldenPath("formats", "weights_legacy.pth"))], read: Self.readWeights))
    }
  }

  @Test func safetensors() async {
    await #expect(processExitsWith: .success) {
      Self.record(
        try DamagedFile.problems([DamagedFile(goldenPath("formats", "weights.safetensors"))], read: Self.readWeights))
    }
  }

  @Test func numPyArchives() async {
    await #expect(processExitsWith: .success) {
      Self.record(
        try DamagedFile.problems(
          [
            DamagedFile(goldenPath("formats", "arrays.npz")), DamagedFile(goldenPath("formats", "arrays_deflated.npz")),
            DamagedFile(goldenPath("formats", "arrays.npz"), entry: "float32.npy"),
          ], read: Self.readWeights))
    }
  }

  @Test func numPyArrays() async {
    await #expect(processExitsWith: .success) {
      Self.record(
        try DamagedFile.problems([DamagedFile(goldenPath("formats", "version2.npy"))]) { path in
          touch([try NumPyArchive.readArray(path)])
        })
    }
  }

  private static func readProgram(_ path: String) throws { touch(try PT2Archive.read(path).stateDict.values) }

  // Two tests, each with a half of the bytes that are flipped, to run side by side.
  @Test func floatPrograms() async {
    await #expect(processExitsWith: .success) {
      let float = goldenPath("formats", "tiny_float.pt2")
      Self.record(
        try DamagedFile.problems(
          [
            DamagedFile(float), DamagedFile(float, entry: "models/model.json"),
            DamagedFile(float, entry: "weights_config.json"),
          ], flips: 5000, read: Self.readProgram))
    }
  }

  @Test func quantizedPrograms() async {
    await #expect(processExitsWith: .success) {
      let int8 = goldenPath("formats", "tiny_int8.pt2")
      Self.record(
        try DamagedFile.problems(
          [DamagedFile(int8), DamagedFile(int8, entry: "models/model.json")], flips: 5000, seed: 2,
          read: Self.readProgram))
    }
  }

  /// Symbolic sizes: what is read can also be given other sizes, and written.
  @Test func dynamicPrograms() async {
    await #expect(processExitsWith: .success) {
      Self.record(
        try DamagedFile.problems(
          [DamagedFile(goldenPath("formats", "dynamic_derived.pt2"), entry: "models/model.json")], flips: 3000, seed: 4
        ) { path in
          let program = try PT2Archive.read(path)
          for symbol in (program.dynamicShapes?.hints ?? [:]).keys { _ = try? program.resized([symbol: 5]) }
          _ = try? Verifier.verify(program, as: .float)
          try PT2Archive.write(program, to: path + ".out")
        })
    }
  }

  // MARK: The harness itself

  @Test func aReaderThatHangsIsFound() throws {
    let problems = try DamagedFile.problems([DamagedFile(goldenPath("formats", "version2.npy"))]) { path in
      guard (try? NumPyArchive.readArray(path)) == nil else { return }
      try FileManager.default.removeItem(at: URL(fileURLWithPath: path).deletingLastPathComponent())
      Thread.sleep(forTimeInterval: 60)
    }
    #expect(problems == ["version2.npy: takes more than 2.0 s: truncated(0)"])
  }

  @Test func aReaderThatAllocatesTooMuchOrRefusesTheIntactFileIsFound() async {
    await #expect(processExitsWith: .success) {
      let greedy = try DamagedFile.problems([DamagedFile(goldenPath("formats", "version2.npy"))], flips: 10) { path in
        if (try? NumPyArchive.readArray(path)) == nil { _ = Storage(byteCount: 200 << 20) }
      }
      #expect(greedy.count == 1 && greedy[0].contains("bytes of memory"), "\(greedy)")
      let strict = try DamagedFile.problems([DamagedFile(goldenPath("formats", "version2.npy"))], flips: 10) { path in
        throw FormatError(path: path, reason: "never")
      }
      #expect(strict.count == 1 && strict[0].contains("intact: "), "\(strict)")
    }
  }

  /// What a test records in its own process arrives here, and so does a trap.
  @Test func problemsInTheOtherProcessFailTheTest() async {
    await withKnownIssue {
      await #expect(processExitsWith: .success) { Self.record(["a problem"]) }
    }
    await #expect(processExitsWith: .failure) { fatalError() }
  }
}
