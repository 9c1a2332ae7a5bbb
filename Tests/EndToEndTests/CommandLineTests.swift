import Foundation
import PipelineTesting
import Swiftlet
import SwiftletTools
import TestSupport
import Testing

extension EndToEnd {
  /// The executable as users run it.
  struct CommandLineTests {
    @Test func quantizeEvalRunAndBench() throws {
      let folder = try TemporaryFolder()
      let (data, int8) = (try CLI.noise(folder), folder.path("int8.pt2"))
      let quantized = try CLI.swiftlet([
        "quantize", ResNet8.path, "-o", int8, "--calibrate", data, "--limit", "4", "--json",
      ])
      #expect(quantized.status == 0, "\(quantized.errors)")
      #expect(fileExists(int8))

      let evaluated = try CLI.swiftlet(["eval", int8, "--data", data, "--json"])
      #expect(evaluated.status == 0, "\(evaluated.errors)")
      let evaluation = try JSONDecoder().decode(Evaluation.self, from: Data(evaluated.output.utf8))
      #expect(evaluation.images == 8 && evaluation.imagesPerSecond > 0 && evaluation.top5 != nil)

      for delegation in [[], ["--no-delegate"]] {
        let bench = try CLI.swiftlet(
          ["bench", int8, "--json", "--profile", "--runs", "3", "--threads", "1"] + delegation)
        #expect(bench.status == 0, "\(bench.errors)")
        let report = try JSONDecoder().decode(BenchmarkReport.self, from: Data(bench.output.utf8))
        #expect(report.threads == 1 && report.runs == 3 && report.p90 >= report.p50 && report.peakMemory > 0)
        #expect((report.delegated.nodes == 0) == !delegation.isEmpty)
        #expect(report.ops?.count == report.delegated.nodes + report.fallback.count)
      }

      let input = folder.path("x.npy")
      try NumPyArchive.writeArray(ResNet8.input(3), to: input)
      var outputs: [[Float]] = []
      for (name, flags) in [("a.npy", []), ("b.npy", ["--no-delegate"])] {
        let run = try CLI.swiftlet(["run", int8, "--input", input, "-o", folder.path(name)] + flags)
        #expect(run.status == 0, "\(run.errors)")
        outputs.append(try NumPyArchive.readArray(folder.path(name)).elements())
      }
      #expect(outputs[0] == outputs[1])
      #expect(try CLI.swiftlet(["inspect", int8, "--graph"]).output.contains("quantize_per_tensor"))
    }

    @Test func weightsListsAndConverts() throws {
      let folder = try TemporaryFolder()
      let checkpoint = goldenPath("formats", "weights_checkpoint.pth")
      let listed = try CLI.swiftlet(["weights", checkpoint])
      #expect(listed.status == 0, "\(listed.errors)")
      #expect(listed.output.contains("torch.save, 26 tensors under 'state_dict'"))
      #expect(listed.output.contains("not a weight  arch: 'tiny'"))

      for name in ["a.safetensors", "a.npz"] {
        let written = try CLI.swiftlet(["weights", checkpoint, "-o", folder.path(name), "--widen", "--json"])
        #expect(written.status == 0, "\(written.errors)")
        #expect(written.output.contains(#""dtype" : "float32""#) && !written.output.contains(#""bfloat16""#))
        #expect(try StateDict.read(folder.path(name)).count == 26)
      }
      let bfloat16 = try CLI.swiftlet(["weights", checkpoint, "-o", folder.path("b.npz")])
      #expect(bfloat16.status == 1 && bfloat16.errors.contains("NumPy has no bfloat16"))
      #expect(try CLI.swiftlet(["weights", checkpoint, "-o", folder.path("b.pth")]).status == 64)
      #expect(!fileExists(folder.path("b.npz")))
    }

    @Test func badInputIsOneClearLineAndExitStatusOne() throws {
      let folder = try TemporaryFolder()
      let data = try CLI.noise(folder)
      let whole = try Data(contentsOf: URL(fileURLWithPath: ResNet8.path))
      try whole.prefix(whole.count / 2).write(to: URL(fileURLWithPath: folder.path("truncated.pt2")))
      try Data("hello".utf8).write(to: URL(fileURLWithPath: folder.path("foreign.pt2")))
      try NumPyArchive.writeArray(Tensor([1, 2] as [Float], shape: [1, 2]), to: folder.path("small.npy"))
      let output = folder.path("out.pt2")
      let cases: [([String], String)] = [
        (["inspect", "no-such.pt2"], "no-such.pt2"),
        (["inspect", folder.path("truncated.pt2")], "truncated.pt2"),
        (["inspect", folder.path("foreign.pt2")], "foreign.pt2"),
        (["quantize", folder.path("truncated.pt2"), "-o", output, "--calibrate", data], "truncated.pt2"),
        (["quantize", ResNet8.path, "-o", output, "--calibrate", "no-such-folder"], "no-such-folder"),
        (["quantize", ResNet8.path, "-o", output, "--calibrate", folder.path("small.npy")], "small.npy"),
        (["weights", folder.path("foreign.pt2")], "foreign.pt2"),
        (["run", ResNet8.path, "--input", folder.path("missing.jpg")], "missing.jpg"),
        (["run", ResNet8.path, "--input", folder.path("small.npy")], "[1, 3, 32, 32]"),
      ]
      for (arguments, expected) in cases {
        let result = try CLI.swiftlet(arguments)
        #expect(result.status == 1, "\(arguments)")
        #expect(result.errors.contains(expected) && result.errors.hasPrefix("swiftlet: error: "), "\(result.errors)")
        #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        #expect(result.output.isEmpty)
      }
      #expect(!fileExists(output))
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("")).count == 4)
      #expect(try CLI.swiftlet(["bench"]).status == 64)
      #expect(try CLI.swiftlet(["bench", ResNet8.path, "--threads", "0"]).status == 64)
    }

    private func fileExists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
  }
}
