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

  @Option(help: ArgumentHelp("An image folder or an .npz with samples.", valueName: "data"))
  var calibrate: String

  @Option(help: "Use the first samples only.")
  var limit: Int?

  @Flag(help: "One scale for each weight tensor, instead of one per output channel.")
  var perTensor = false

  @Flag(help: "Equalize channels across layers before (cross-layer equalization).")
  var equalize = false

  @Flag(help: "Correct the biases for the mean error of each layer afterwards.")
  var correctBias = false

  @Option(help: ArgumentHelp("How the ranges of activations are chosen.", valueName: "observer"))
  var activationObserver: ObserverKind = .histogram

  @Option(help: ArgumentHelp("How inputs are made (JSON; default: NAME.preprocess.json).", valueName: "file"))
  var preprocess: String?

  @OptionGroup var runtime: RuntimeOptions
  @OptionGroup(title: "Output") var format: OutputOptions

  private var options: QuantizationOptions {
    QuantizationOptions(
      isPerChannel: !perTensor, activationObserver: activationObserver, equalize: equalize,
      biasCorrection: correctBias ? (ProcessInfo.processInfo.environment["BC"].flatMap { BiasCorrection(rawValue: $0) } ?? .sequential) : nil)
  }

  func validate() throws {
    guard limit.map({ $0 > 0 }) ?? true else { throw ValidationError("--limit must be at least 1") }
  }

  func run() throws {
    try reportingErrors {
      try checkFolder(of: output)
      let program = try PT2Archive.read(model)
      let recipe = try findPreprocess(preprocess, model: model, program)
      noteMissingRecipe(recipe, for: calibrate)
      var data = try openDataset(calibrate, role: .calibration, preprocess: recipe)
      if let limit { data = LimitedDataset(data, limit: limit) }
      let bar = ProgressBar("calibrating")
      let result = try quantize(
        program, data, recipe: recipe, options: options,
        threads: runtime.threads, delegate: !runtime.noDelegate, progress: bar.update)
      let start = ContinuousClock.now
      let method = try Method(
        lower(result.program, partitioner: runtime.noDelegate ? nil : XNNPACKPartitioner()),
        threads: ThreadPool(threadCount: runtime.threads))
      let lowered = (ContinuousClock.now - start).seconds
      try PT2Archive.write(result.program, to: output)
      let report = Report(
        output: output, samples: data.count, samplesPerSecond: result.samplesPerSecond,
        prepareMilliseconds: result.prepareTime, convertMilliseconds: result.convertTime,
        lowerMilliseconds: lowered * 1e3, floatBytes: fileSize(model),
        quantizedBytes: fileSize(output),
        notQuantized: result.notQuantized.map { .init(node: $0.node, op: $0.operatorName, reason: $0.reason) })
      if format.json { return try Terminal.printJSON(report) }
      print(
        "\(output): \(Terminal.bytes(report.quantizedBytes)) from \(Terminal.bytes(report.floatBytes)),"
          + " calibrated on \(data.count) samples at \(Terminal.number(report.samplesPerSecond, 1)) a second")
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

extension ObserverKind: ExpressibleByArgument {}
