import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

extension EndToEnd {
  /// The options of `swiftlet quantize`, on the shipped ResNet-8 and noise.
  struct QuantizeOptionsTests {
    private struct Run {
      let folder: TemporaryFolder
      let data: String

      init() throws {
        folder = try TemporaryFolder()
        data = try CLI.noise(folder)
      }

      /// Quantizes to `name`, calibrating unless told otherwise.
      func quantize(_ name: String, _ options: [String], calibrating: Bool = true) throws -> CLI.Result {
        try CLI.swiftlet(
          ["quantize", ResNet8.path, "-o", folder.path(name)] + (calibrating ? ["--calibrate", data] : []) + options)
      }

      func program(_ name: String) throws -> ExportedProgram { try PT2Archive.read(folder.path(name)) }
      func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: folder.path(name))) }
      func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: folder.path(name)) }
    }

    @Test func strictWritesNothingAndSaysWhy() throws {
      let run = try Run()
      #expect(try run.quantize("whole.pt2", ["--strict"]).status == 0)
      let result = try run.quantize("part.pt2", ["--strict", "--skip-operator", "aten.linear"])
      #expect(result.status == 1 && !run.exists("part.pt2"))
      #expect(result.errors.contains("aten.linear") || result.errors.contains("set to stay in float"))
      #expect(try run.quantize("part.pt2", ["--skip-operator", "linear"]).status == 64)
      let typo = try run.quantize("part.pt2", ["--skip-module", "no.such.module"])
      #expect(typo.status == 1 && typo.errors.contains("no module 'no.such.module'"))
    }

    @Test func dynamicNeedsNoSamples() throws {
      let run = try Run()
      let result = try run.quantize("dynamic.pt2", ["--dynamic"], calibrating: false)
      #expect(result.status == 0, "\(result.errors)")
      let names = try run.program("dynamic.pt2").graph.nodes.map(\.operatorName)
      #expect(names.contains("quantized_decomposed.choose_qparams_per_token_asymmetric.default"))
      #expect(names.contains("quantized_decomposed.choose_qparams.tensor"))
      let input = ResNet8.input(3)
      let outputs = try [run.program("dynamic.pt2"), PT2Archive.read(ResNet8.path)].map {
        try load($0).run([input])[0].elements(as: Float.self)
      }
      let norm = outputs[1].reduce(0) { $0 + $1 * $1 }
      let error = zip(outputs[0], outputs[1]).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      #expect(error < norm * 0.01)
      // Static quantization does need samples.
      let errors = try run.quantize("static.pt2", [], calibrating: false).errors
      #expect(errors.contains("no samples to calibrate with") && errors.contains("--calibrate"))
    }

    @Test func calibrationIsSavedResumedAndPutTogether() throws {
      let run = try Run()
      let options = ["--observer", "minmax"]
      let states = [run.folder.path("a.json"), run.folder.path("b.json")]
      #expect(try run.quantize("a.pt2", options + ["--limit", "3", "--save-calibration", states[0]]).status == 0)
      #expect(try run.quantize("b.pt2", options + ["--save-calibration", states[1]]).status == 0)
      let merged = options + ["--resume-calibration", states[0], "--resume-calibration", states[1]]
      let result = try run.quantize("merged.pt2", merged, calibrating: false)
      #expect(result.status == 0, "\(result.errors)")
      // The second one has seen what the first has.
      #expect(try run.bytes("merged.pt2") == run.bytes("b.pt2"))
      #expect(try run.bytes("a.pt2") != run.bytes("b.pt2"))

      let other = try run.quantize("c.pt2", ["--resume-calibration", states[0]], calibrating: false)
      #expect(other.status == 1 && other.errors.contains("another model or configuration"))
      try Data("{\"observers\": 3}".utf8).write(to: URL(fileURLWithPath: states[0]))
      let damaged = try run.quantize("c.pt2", options + ["--resume-calibration", states[0]], calibrating: false)
      #expect(damaged.status == 1 && damaged.errors.contains("is not a saved calibration"))
    }

    @Test(arguments: ["minmax", "moving-average", "percentile", "mse", "entropy"])
    func everyObserverGivesAModel(_ name: String) throws {
      let run = try Run()
      let result = try run.quantize("int8.pt2", ["--observer", name, "--json"])
      #expect(result.status == 0, "\(result.errors)")
      #expect(try load(run.program("int8.pt2")).program.floatInstructions.isEmpty)
    }

    @Test func configurationFiles() throws {
      let run = try Run()
      func file(_ text: String) throws -> [String] {
        try Data(text.utf8).write(to: URL(fileURLWithPath: run.folder.path("config.json")))
        return ["--config", run.folder.path("config.json")]
      }
      let whole = try file(
        """
        {"global": {"observer": "minmax", "per_channel": false, "activation_range": [-127, 127]},
         "operators": {"aten.linear": {"dynamic": true}}, "patterns": "torchao"}
        """)
      #expect(try run.quantize("int8.pt2", whole).status == 0)
      let program = try run.program("int8.pt2")
      #expect(program.graph.nodes.contains { $0.operatorName.contains("choose_qparams_per_token") })
      let mistakes = [
        ("[]", "not a JSON object"), ("{\"globl\": null}", "unknown key 'globl'"),
        ("{\"global\": {\"observer\": \"best\"}}", "unknown observer 'best'"),
        ("{\"global\": {\"per_channel\": 3.5}}", "true or false"),
        ("{\"global\": {\"weight_range\": [127, -127]}}", "two integers"), ("{\"patterns\": \"some\"}", "torchao"),
        ("{\"module_names\": []}", "object"), ("{\"operators\": {\"aten.add\": {\"eps\": 1}}}", "unknown key"),
      ]
      for (text, words) in mistakes {
        let result = try run.quantize("bad.pt2", file(text))
        #expect(result.status == 1 && result.errors.contains(words), "\(text): \(result.errors)")
        #expect(!run.exists("bad.pt2"))
      }
    }
  }
}
