import ArgumentParser
import Foundation
import Swiftlet
import SwiftletTools

struct Quantize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Quantize a float model to int8 after training.",
    discussion: """
      The samples are the images of a folder, in sorted order, or the array 'calibration' of an .npz.

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
    /// With --skip-corrupt, of all data.
    var skipped: [SkippedSample]
    var samplesPerSecond: Double
    var prepareMilliseconds: Double
    var convertMilliseconds: Double
    var lowerMilliseconds: Double
    var floatBytes: Int
    var quantizedBytes: Int
    var notQuantized: [NotQuantized]
    var equalization: EqualizationReport?
    var correctedBiases: [CorrectedBias]
    /// With --target-drop.
    var floatAccuracy: Double?
    var tradeOff: [TradeOffPoint]?
  }

  @Argument(help: "A float .pt2 file.")
  var model: String

  @Option(help: ArgumentHelp("Take the weights from this .pth, .safetensors or .npz.", valueName: "file"))
  var weights: String?

  @Option(name: .shortAndLong, help: "The Q/DQ .pt2 file to write.")
  var output: String

  @Option(
    help: ArgumentHelp(
      "Image folder or .npz with samples; --dynamic needs none.", valueName: "data"))
  var calibrate: String?

  @Option(help: "Use only the first samples (default: all; of spectrograms 100 windows).")
  var limit: Int?

  @Option(
    help: ArgumentHelp(
      "Widen the ranges of activations by this factor, for inputs that exceed the samples.",
      valueName: "factor"))
  var headroom: Double?

  @Option(
    help: ArgumentHelp("Write what calibration saw (JSON), for --resume-calibration.", valueName: "file"))
  var saveCalibration: String?

  @Option(
    help: ArgumentHelp(
      "Add a calibration of the same model that was saved; can be repeated. Needs no --calibrate.",
      valueName: "file"))
  var resumeCalibration: [String] = []

  @Flag(help: "First equalize the channels of neighbouring layers (cross-layer equalization).")
  var equalize = false

  @Flag(help: "Afterwards correct each layer's bias by its mean error.")
  var correctBias = false

  @Option(
    help: ArgumentHelp(
      "How that error is measured: on the corrected layers before, or on the float model's values.", valueName: "method"
    ))
  var biasCorrection: BiasCorrection = .sequential

  @Option(
    help: ArgumentHelp(
      "Keep as few layers in float as it takes to lose at most so many points of accuracy; needs --eval.",
      valueName: "points"))
  var targetDrop: Double?

  @Option(help: ArgumentHelp("Image folder or .npz with labels, for --target-drop.", valueName: "data"))
  var eval: String?

  @Option(
    help: ArgumentHelp(
      "Text file that names the classes of --eval in order, one a line (default: wnids.txt beside the data).",
      valueName: "file"))
  var classes: String?

  @Option(
    help: ArgumentHelp(
      "JSON file that says how images become inputs (default: the one stored with the model).", valueName: "file"))
  var preprocess: String?

  @OptionGroup var loading: LoadingOptions
  @OptionGroup(title: "What becomes int8") var quantizer: QuantizerOptions
  @OptionGroup var runtime: RuntimeOptions
  @OptionGroup(title: "Output") var format: OutputOptions

  private func options() throws -> QuantizationOptions {
    var options = QuantizationOptions(
      quantizer: try quantizer.configuration().quantizer, headroom: headroom, equalize: equalize,
      biasCorrection: correctBias ? biasCorrection : nil)
    options.calibrations = try resumeCalibration.map(CalibrationState.init(path:))
    return options
  }

  func validate() throws {
    guard limit.map({ $0 > 0 }) ?? true else { throw ValidationError("--limit must be at least 1") }
    guard headroom.map({ (1...1e6).contains($0) }) ?? true else {
      throw ValidationError("--headroom must be from 1 to 1000000")
    }
    guard targetDrop.map({ $0 >= 0 && $0 <= 100 }) ?? true else {
      throw ValidationError("--target-drop must be from 0 to 100")
    }
    guard (targetDrop == nil) == (eval == nil) else {
      throw ValidationError("--target-drop and --eval need each other")
    }
  }

  func run() throws {
    try reportingErrors {
      try checkFolder(of: output)
      if let saveCalibration { try checkFolder(of: saveCalibration) }
      var program = try readProgram(model)
      if let weights { try program.loadStateDict(StateDict.read(weights)) }
      let recipe = try findPreprocess(preprocess, model: model, program)
      var data = try calibrate.map { path in
        noteMissingRecipe(recipe, for: path)
        return try openDataset(path, role: .calibration, preprocess: recipe)
      }
      if let limit { data = data.map { $0.limited(to: limit) } }
      let loading = loading.options
      let (result, tradeOff) = try quantizeProgram(program, data, recipe, loading)
      let start = ContinuousClock.now
      let method = try Method(
        lower(result.program, partitioner: runtime.noDelegate ? nil : XNNPACKPartitioner()),
        threads: ThreadPool(threadCount: runtime.threads))
      let lowered = (ContinuousClock.now - start).seconds
      if quantizer.strict { try refuseFloat(method.program, result.notQuantized) }
      try PT2Archive.write(result.program, to: output)
      if let saveCalibration { try result.calibration.write(to: saveCalibration) }
      let report = Report(
        output: output, samples: result.samples, skipped: loading.skipped, samplesPerSecond: result.samplesPerSecond,
        prepareMilliseconds: result.prepareTime, convertMilliseconds: result.convertTime,
        lowerMilliseconds: lowered * 1e3, floatBytes: fileSize(model),
        quantizedBytes: fileSize(output),
        notQuantized: result.notQuantized.map { .init(node: $0.node, op: $0.operatorName, reason: $0.reason) },
        equalization: result.equalization, correctedBiases: result.biasCorrections,
        floatAccuracy: tradeOff?.floatAccuracy,
        tradeOff: tradeOff?.points)
      if format.json { return try Terminal.printJSON(report) }
      if let tradeOff { printTradeOff(tradeOff) }
      printReport(report, method)
    }
  }

  private func quantizeProgram(
    _ program: ExportedProgram, _ data: (any Dataset)?, _ recipe: Preprocess, _ loading: DataLoader.Options
  ) throws -> (QuantizationResult, TradeOff?) {
    let options = try options()
    guard let targetDrop, let eval else {
      let bar = ProgressBar("calibrating")
      do {
        let result = try Swiftlet.quantize(
          program, data, recipe: recipe, options: options, loading: loading, threads: runtime.threads,
          delegate: !runtime.noDelegate, progress: bar.update)
        return (result, nil)
      } catch let error as UsageError where data == nil {
        throw UsageError("\(error); give --calibrate DATA, or --dynamic, which needs none")
      }
    }
    guard let data else { throw UsageError("--target-drop needs samples to calibrate with; give --calibrate DATA") }
    let labelled = try openDataset(eval, role: .evaluation, preprocess: recipe, classes: classes)
    let tradeOff = try SwiftletTools.quantize(
      program, data, keeping: targetDrop, on: labelled, recipe: recipe, options: options, loading: loading,
      threads: runtime.threads, delegate: !runtime.noDelegate
    ) { ProgressBar($0).update($1, of: $2) }
    return (tradeOff.result, tradeOff)
  }

  private func printTradeOff(_ tradeOff: TradeOff) {
    func row(_ title: String, _ accuracy: Double, _ drop: Double, _ bytes: Int, _ note: String) -> [String] {
      [title, Terminal.number(accuracy), Terminal.number(drop), Terminal.bytes(bytes), note]
    }
    let rows = tradeOff.points.map { point in
      row(
        "\(point.floatLayers.count)", point.accuracy, point.drop, point.weightBytes,
        point == tradeOff.chosen ? "<- written" : "")
    }
    let float = row("all", tradeOff.floatAccuracy, 0, tradeOff.floatWeightBytes, "float model")
    print(Terminal.table([["layers in float", "accuracy", "drop", "weights", ""]] + rows + [float]))
    let layers = tradeOff.chosen.floatLayers
    print("In float: \(layers.isEmpty ? "no layer" : layers.joined(separator: ", "))\n")
  }

  private func printReport(_ report: Report, _ method: Method) {
    print(
      "\(output): \(Terminal.bytes(report.quantizedBytes)) from \(Terminal.bytes(report.floatBytes)),"
        + (report.samples == 0
          ? " without calibration of its own"
          : " calibrated on \(report.samples) samples at \(Terminal.number(report.samplesPerSecond, 1)) a second"))
    print(
      "prepare \(Terminal.number(report.prepareMilliseconds, 0)) ms, convert"
        + " \(Terminal.number(report.convertMilliseconds, 0)) ms, lower and load"
        + " \(Terminal.number(report.lowerMilliseconds, 0)) ms")
    LoadingOptions.printSkipped(report.skipped)
    if let equalization = report.equalization {
      print("equalized \(equalization.equalized.count) groups of layers")
      for (reason, entries) in Dictionary(grouping: equalization.skipped, by: \.reason).sorted(by: { $0.key < $1.key })
      {
        print("  not equalized: \(entries.flatMap(\.layers).joined(separator: ", ")) — \(reason)")
      }
    }
    if correctBias { print("corrected the biases of \(report.correctedBiases.count) layers") }
    print(delegationReport(method))
    let groups = Dictionary(grouping: report.notQuantized) { "\($0.op): \($0.reason)" }.sorted { $0.key < $1.key }
    for (reason, nodes) in groups {
      print("  not quantized by itself: \(nodes.map(\.node).joined(separator: ", ")) — \(reason)")
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
    return "  \(instruction.node) (\(instruction.op))\(reason.map { ": \($0)" } ?? "")"
  }
  throw UsageError(
    "--strict: \(left.count) operator\(left.count == 1 ? "" : "s") would run in float; nothing was written\n"
      + lines.joined(separator: "\n"))
}

extension BiasCorrection: ExpressibleByArgument {}
