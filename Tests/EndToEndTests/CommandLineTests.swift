import Foundation
import Swiftlet
import SwiftletTools
import TestSupport
import Testing

extension EndToEnd {
  /// The executable as users run it.
  struct CommandLineTests {
    struct Result {
      let status: Int32
      let output: String
      let errors: String
    }

    /// The executable lies beside the test bundle.
    static func swiftlet(_ arguments: [String]) throws -> Result {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appendingPathComponent("swiftlet")
      process.arguments = arguments
      let (output, errors) = (Pipe(), Pipe())
      process.standardOutput = output
      process.standardError = errors
      try process.run()
      // Neither stream of these commands exceeds a pipe's buffer, so they can be read one after the other.
      let text = output.fileHandleForReading.readDataToEndOfFile()
      let notes = errors.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      return Result(
        status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
        errors: String(decoding: notes, as: UTF8.self))
    }

    static let resnet8 = repositoryPath("models/resnet8/resnet8.pt2")

    /// A calibration file of noise for ResNet-8, with labels, in a folder of its own.
    static func noise(_ folder: TemporaryFolder) throws -> String {
      let noise = NoiseDataset(shape: [8, 3, 32, 32], count: 1, scale: 255).input(0)
      let labels = Tensor((0..<8).map { Int64($0) }, shape: [8])
      try NumPyArchive.write(
        [("calibration", noise), ("val", noise), ("labels", labels)], to: folder.path("noise.npz"))
      return folder.path("noise.npz")
    }

    @Test(arguments: ["demo", "inspect", "quantize", "compare", "run", "eval", "bench", "weights"])
    func everyCommandHasHelpWithAnExample(_ command: String) throws {
      let result = try Self.swiftlet([command, "--help"])
      #expect(result.status == 0)
      #expect(result.output.contains("Example: swiftlet \(command)"))
      #expect(result.output.contains("--json"))
    }

    @Test func quantizeEvalRunAndBench() throws {
      let folder = try TemporaryFolder()
      let (data, int8) = (try Self.noise(folder), folder.path("int8.pt2"))
      let quantized = try Self.swiftlet([
        "quantize", Self.resnet8, "-o", int8, "--calibrate", data, "--limit", "4", "--json",
      ])
      #expect(quantized.status == 0, "\(quantized.errors)")
      #expect(fileExists(int8))

      let evaluated = try Self.swiftlet(["eval", int8, "--data", data, "--json"])
      #expect(evaluated.status == 0, "\(evaluated.errors)")
      let evaluation = try JSONDecoder().decode(Evaluation.self, from: Data(evaluated.output.utf8))
      #expect(evaluation.images == 8 && evaluation.imagesPerSecond > 0 && evaluation.top5 != nil)

      for delegation in [[], ["--no-delegate"]] {
        let bench = try Self.swiftlet(
          ["bench", int8, "--json", "--profile", "--runs", "3", "--threads", "1"] + delegation)
        #expect(bench.status == 0, "\(bench.errors)")
        let report = try JSONDecoder().decode(BenchmarkReport.self, from: Data(bench.output.utf8))
        #expect(report.threads == 1 && report.runs == 3 && report.p90 >= report.p50 && report.peakMemory > 0)
        #expect((report.delegated.nodes == 0) == !delegation.isEmpty)
        #expect(report.ops?.count == report.delegated.nodes + report.fallback.count)
      }

      let input = folder.path("x.npy")
      try NumPyArchive.writeArray(NoiseDataset(shape: [1, 3, 32, 32], count: 1, scale: 255).input(3), to: input)
      var outputs: [[Float]] = []
      for (name, flags) in [("a.npy", []), ("b.npy", ["--no-delegate"])] {
        let run = try Self.swiftlet(["run", int8, "--input", input, "-o", folder.path(name)] + flags)
        #expect(run.status == 0, "\(run.errors)")
        outputs.append(try NumPyArchive.readArray(folder.path(name)).elements())
      }
      #expect(outputs[0] == outputs[1])
      #expect(try Self.swiftlet(["inspect", int8, "--graph"]).output.contains("quantize_per_tensor"))
    }

    @Test func weightsListsAndConverts() throws {
      let folder = try TemporaryFolder()
      let checkpoint = goldenPath("formats", "weights_checkpoint.pth")
      let listed = try Self.swiftlet(["weights", checkpoint])
      #expect(listed.status == 0, "\(listed.errors)")
      #expect(listed.output.contains("torch.save, 26 tensors under 'state_dict'"))
      #expect(listed.output.contains("not a weight  arch: 'tiny'"))

      for name in ["a.safetensors", "a.npz"] {
        let written = try Self.swiftlet(["weights", checkpoint, "-o", folder.path(name), "--widen", "--json"])
        #expect(written.status == 0, "\(written.errors)")
        #expect(written.output.contains(#""dtype" : "float32""#) && !written.output.contains(#""bfloat16""#))
        #expect(try StateDict.read(folder.path(name)).count == 26)
      }
      let bfloat16 = try Self.swiftlet(["weights", checkpoint, "-o", folder.path("b.npz")])
      #expect(bfloat16.status == 1 && bfloat16.errors.contains("NumPy has no bfloat16"))
      #expect(try Self.swiftlet(["weights", checkpoint, "-o", folder.path("b.pth")]).status == 64)
      #expect(!fileExists(folder.path("b.npz")))
    }

    @Test func badInputIsOneClearLineAndExitStatusOne() throws {
      let folder = try TemporaryFolder()
      let data = try Self.noise(folder)
      let whole = try Data(contentsOf: URL(fileURLWithPath: Self.resnet8))
      try whole.prefix(whole.count / 2).write(to: URL(fileURLWithPath: folder.path("truncated.pt2")))
      try Data("hello".utf8).write(to: URL(fileURLWithPath: folder.path("foreign.pt2")))
      try NumPyArchive.writeArray(Tensor([1, 2] as [Float], shape: [1, 2]), to: folder.path("small.npy"))
      let output = folder.path("out.pt2")
      let cases: [([String], String)] = [
        (["inspect", "no-such.pt2"], "no-such.pt2"),
        (["inspect", folder.path("truncated.pt2")], "truncated.pt2"),
        (["inspect", folder.path("foreign.pt2")], "foreign.pt2"),
        (["quantize", folder.path("truncated.pt2"), "-o", output, "--calibrate", data], "truncated.pt2"),
        (["quantize", Self.resnet8, "-o", output, "--calibrate", "no-such-folder"], "no-such-folder"),
        (["quantize", Self.resnet8, "-o", output, "--calibrate", folder.path("small.npy")], "small.npy"),
        (["weights", folder.path("foreign.pt2")], "foreign.pt2"),
        (["run", Self.resnet8, "--input", folder.path("missing.jpg")], "missing.jpg"),
        (["run", Self.resnet8, "--input", folder.path("small.npy")], "[1, 3, 32, 32]"),
      ]
      for (arguments, expected) in cases {
        let result = try Self.swiftlet(arguments)
        #expect(result.status == 1, "\(arguments)")
        #expect(result.errors.contains(expected) && result.errors.hasPrefix("swiftlet: error: "), "\(result.errors)")
        #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        #expect(result.output.isEmpty)
      }
      #expect(!fileExists(output))
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("")).count == 4)
      #expect(try Self.swiftlet(["bench"]).status == 64)
      #expect(try Self.swiftlet(["bench", Self.resnet8, "--threads", "0"]).status == 64)
    }

    private func fileExists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
  }
}
