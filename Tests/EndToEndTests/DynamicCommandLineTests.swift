import Foundation
import NN
import PipelineTesting
import Swiftlet
import SwiftletTools
import TestSupport
import Testing

extension EndToEnd {
  /// The executable on a model with a dynamic batch whose example has two images.
  struct DynamicCommandLineTests {
    private let model = goldenPath("dynamic", "residual.pt2")
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func swiftlet(_ arguments: String...) throws -> CLI.Result {
      try CLI.swiftlet(arguments)
    }

    private func images(_ count: Int) throws -> String {
      let path = folder.path("x\(count).npy")
      let shape: Shape = [count, 3, 12, 12]
      try NumPyArchive.writeArray(
        Tensor((0..<shape.elementCount).map { Float($0 % 23) / 8 - 1 }, shape: shape), to: path)
      return path
    }

    @Test func runTakesEveryBatchInRange() throws {
      var rows: [[Float]] = []
      for (arguments, count) in [([], 5), (["--simulate"], 5), ([], 1)] {
        let output = folder.path("y.npy")
        let run = try CLI.swiftlet(["run", model, "--input", images(count), "-o", output] + arguments)
        #expect(run.status == 0, "\(run.errors)")
        rows.append(try NumPyArchive.readArray(output).aligned().elements(as: Float.self))
      }
      #expect(rows.map(\.count) == [50, 50, 10])
      for (a, b) in zip(rows[0], rows[1]) { #expect(abs(a - b) <= 1e-5) }
      let refused = try swiftlet("run", model, "--input", images(33))
      #expect(
        refused.status == 1 && refused.errors.contains("input 'x'") && refused.errors.contains("= 33 lies outside"))
    }

    @Test func benchTakesABatch() throws {
      let bench = try swiftlet("bench", model, "--batch", "32", "--runs", "2", "--json")
      #expect(try JSONDecoder().decode(BenchmarkReport.self, from: Data(bench.output.utf8)).batch == 32)
      let large = try swiftlet("bench", model, "--batch", "33")
      #expect(large.status == 1 && large.errors.contains("= 33 lies outside 1 ≤ "))
      let fixed = try swiftlet("bench", ResNet8.path, "--batch", "2")
      #expect(fixed.status == 1 && fixed.errors.contains("its batch size is fixed"))
      #expect(try swiftlet("bench", model, "--batch", "0").status == 64)
    }

    @Test func inspectSaysWhatVaries() throws {
      let inspected = try swiftlet("inspect", model)
      #expect(inspected.output.contains(", 3, 12, 12], 1 ≤ ") && inspected.output.contains("at the largest sizes)"))
    }

    @Test func lowerSaysWhatVaries() throws {
      let file = folder.path("x.pte")
      let dynamic = try swiftlet("lower", model, "-o", file)
      #expect(dynamic.output.contains("sizes vary: x: float32[") && dynamic.output.contains(" ≤ 32"))
      let fixed = try swiftlet("lower", model, "-o", file, "--fixed-sizes")
      #expect(fixed.status == 0 && !fixed.output.contains("sizes vary"))
      #expect(try swiftlet("run", file, "--input", images(2)).status == 0)
    }

    /// An ExecuTorch program has no way to say that two sizes of a view vary.
    @Test func lowerSaysHowToFixSizes() throws {
      let sizes = [0: Dim("batch", min: 1, max: 4), 2: Dim("length", min: 1, max: 9)]
      let program = try export(
        Sequential([ReLU(), Flatten(), ReLU()]), [TensorSpec(.float32, [2, 3, 5])], dynamicShapes: [sizes])
      let (path, file) = (folder.path("flat.pt2"), folder.path("flat.pte"))
      try PT2Archive.write(program, to: path)
      let refused = try swiftlet("lower", path, "-o", file)
      #expect(refused.status == 1 && refused.errors.contains("--fixed-sizes"), "\(refused.errors)")
      #expect(try swiftlet("lower", path, "-o", file, "--fixed-sizes").status == 0)
    }

    /// Samples have a batch of 1.
    @Test func quantizesMeasuresAndCompares() throws {
      let data = folder.path("data.npz")
      var generator = SeededGenerator(seed: 9)
      let shape: Shape = [6, 3, 12, 12]
      let images = Tensor(
        (0..<shape.elementCount).map { _ in Float.random(in: -2...2, using: &generator) }, shape: shape)
      let labels = Tensor((0..<6).map { Int64($0) }, shape: [6])
      try NumPyArchive.write([("calibration", images), ("val", images), ("labels", labels)], to: data)
      let int8 = folder.path("int8.pt2")
      let options = ["--equalize", "--correct-bias", "--bias-correction"]
      for extra in [[], options + ["sequential"], options + ["isolated"]] {
        let quantized = try CLI.swiftlet(["quantize", model, "-o", int8, "--calibrate", data] + extra)
        #expect(quantized.status == 0, "\(quantized.errors)")
        #expect(try readProgram(int8).dynamicShapes?.hints.values.first == 2)
        #expect(try swiftlet("eval", int8, "--data", data).output.contains("over 6 samples"))
        #expect(try swiftlet("compare", model, int8, "--data", data).status == 0)
        #expect(try swiftlet("bench", int8, "--batch", "7", "--runs", "2").status == 0)
      }
    }
  }
}
