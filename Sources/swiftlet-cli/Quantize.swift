import ArgumentParser
import Foundation
import Swiftlet

struct Quantize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Quantize a float model to int8 after training.",
    discussion: """
      The input samples come from an image folder (in sorted order) or the array 'calibration' of an .npz.

      Example: swiftlet quantize model.pt2 -o model_int8.pt2 --calibrate photos --limit 50
      """)

  struct Report: Codable {
    struct NotQuantized: Codable {
      var node: String
      var op: String
      var reason: String
    }
    var output: String
    var samples: Int
    var samplesPerSecond: Double
    var prepareMilliseconds: Double
    var convertMilliseconds: Double
    var lowerMilliseconds: Double
    var floatBytes: Int
    var quantizedBytes: Int
    var notQuantized: [NotQuantized]
  }

  @Argument(help: "A float .pt2 file.")
  var model: String

  @Option(name: .shortAndLong, help: "Where to write the Q/DQ .pt2 file.")
  var output: String

  @Option(
    help: ArgumentHelp(
      "An image folder or an .npz with samples; not needed for dynamic quantization.", valueName: "data"))
  var calibrate: String?

  @Option(help: "Use the first samples only.")
  var limit: Int?

  @Option(help: ArgumentHelp("How inputs are made (JSON; default: NAME.preprocess.json).", valueName: "file"))
  var preprocess: String?

  @OptionGroup(title: "What becomes int8") var quantizer: QuantizerOptions
  @OptionGroup var runtime: RuntimeOptions
  @OptionGroup(title: "Output") var format: OutputOptions

  func validate() throws {
    guard limit.map({ $0 > 0 }) ?? true else { throw ValidationError("--limit must be at least 1") }
  }

  func run() throws {
    try reportingErrors {
      try checkFolder(of: output)
      let program = try PT2Archive.read(model)
      let recipe = try findPreprocess(preprocess, model: model, program)
      let configuration = try quantizer.configuration()
      var data = try calibrate.map { path in
        noteMissingRecipe(recipe, for: path)
        return try openDataset(path, role: .calibration, preprocess: recipe)
      }
      if let limit { data = data.map { LimitedDataset($0, limit: limit) } }
      let bar = ProgressBar("calibrating")
      let result = try quantize(
        program, data, recipe: recipe, quantizer: configuration.quantizer,
        threads: runtime.threads, delegate: !runtime.noDelegate, progress: bar.update)
      let start = ContinuousClock.now
      let method = try Method(
        lower(result.program, partitioner: runtime.noDelegate ? nil : XNNPACKPartitioner()),
        threads: ThreadPool(threadCount: runtime.threads))
      let lowered = (ContinuousClock.now - start).seconds
      if quantizer.strict { try refuseFloat(method.program, result.notQuantized) }
      try PT2Archive.write(result.program, to: output)
      let report = Report(
        output: output, samples: data?.count ?? 0, samplesPerSecond: result.samplesPerSecond,
        prepareMilliseconds: result.prepareTime, convertMilliseconds: result.convertTime,
        lowerMilliseconds: lowered * 1e3, floatBytes: fileSize(model),
        quantizedBytes: fileSize(output),
        notQuantized: result.notQuantized.map { .init(node: $0.node, op: $0.operatorName, reason: $0.reason) })
      if format.json { return try Terminal.printJSON(report) }
      print(
        "\(output): \(Terminal.bytes(report.quantizedBytes)) from \(Terminal.bytes(report.floatBytes)),"
          + " calibrated on \(report.samples) samples at \(Terminal.number(report.samplesPerSecond, 1)) a second")
      print(
        "prepare \(Terminal.number(report.prepareMilliseconds, 0)) ms, convert"
          + " \(Terminal.number(report.convertMilliseconds, 0)) ms, lower and load"
          + " \(Terminal.number(report.lowerMilliseconds, 0)) ms")
      print(delegationReport(method))
      let groups = Dictionary(grouping: report.notQuantized) { "\($0.op): \($0.reason)" }.sorted { $0.key < $1.key }
      for (reason, nodes) in groups {
        print("  not quantized by itself: \(nodes.map(\.node).joined(separator: ", ")) — \(reason)")
      }
    }
  }
}

/// `--strict`: fails when the lowered program computes on real numbers, and says where and why.
private func refuseFloat(_ program: Program, _ notQuantized: [NotQuantized]) throws {
  let left = program.floatInstructions
  guard !left.isEmpty else { return }
  let reasons = Dictionary(notQuantized.map { ($0.node, $0.reason) }, uniquingKeysWith: { first, _ in first })
  let lines = left.map { instruction in
    let reason = instruction.sourceNodes.lazy.compactMap { reasons[$0] }.first ?? instruction.reason
    return "  \(instruction.node) (\(instruction.operatorName))\(reason.map { ": \($0)" } ?? "")"
  }
  throw UsageError(
    "--strict: \(left.count) operator\(left.count == 1 ? "" : "s") would run in float; nothing was written\n"
      + lines.joined(separator: "\n"))
}
