import ArgumentParser
import Foundation
import Swiftlet
import SwiftletTools

struct Compare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show where a quantized model loses accuracy, layer by layer.",
    discussion: """
      For every layer the signal-to-quantization-noise ratio (SQNR, dB) of its result against the float model's: \
      isolated, with this layer alone quantized, and cumulative, as the whole quantized model computes it.

      Example: swiftlet compare model.pt2 model_int8.pt2 --data photos --limit 20 --html report.html
      """)

  @Argument(help: "The float .pt2 file.")
  var float: String

  @Argument(help: "The Q/DQ .pt2 file that was made from it.")
  var quantized: String

  @Option(help: "An image folder or an .npz with samples (array 'calibration').")
  var data: String

  @Option(help: "Use only the first samples.")
  var limit: Int?

  @Option(help: ArgumentHelp("Show only so many layers, the worst first.", valueName: "n"))
  var top: Int?

  @Option(help: "Which SQNR the layers are sorted by.")
  var sort: ModelComparison.Order = .isolated

  @Option(help: ArgumentHelp("Write an HTML page with plots, which works offline.", valueName: "file"))
  var html: String?

  @Option(
    help: ArgumentHelp(
      "JSON file that says how images become inputs (default: the one stored with the model).", valueName: "file"))
  var preprocess: String?

  @OptionGroup var runtime: RuntimeOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard limit.map({ $0 > 0 }) ?? true else { throw ValidationError("--limit must be at least 1") }
    guard top.map({ $0 > 0 }) ?? true else { throw ValidationError("--top must be at least 1") }
  }

  func run() throws {
    try reportingErrors {
      if let html { try checkFolder(of: html) }
      let (reference, actual) = (try readProgram(float), try readProgram(quantized))
      let recipe = try findPreprocess(preprocess, model: float, reference)
      noteMissingRecipe(recipe, for: data)
      var samples = try openDataset(data, role: .calibration, preprocess: recipe)
      if let limit { samples = samples.limited(to: limit) }
      let bar = ProgressBar("comparing")
      let comparison = try compareLayers(
        float: reference, quantized: actual, data: samples, threads: runtime.threads, delegate: !runtime.noDelegate,
        progress: bar.update)
      if let html { try Data(comparison.htmlPage().utf8).write(to: URL(fileURLWithPath: html), options: .atomic) }
      if output.json { return try Terminal.printJSON(comparison) }
      printTable(comparison)
      if let html { print("\n\(html): the same with plots") }
    }
  }

  private func printTable(_ comparison: ModelComparison) {
    let ranked = comparison.worstFirst(sort)
    let shown = ranked.prefix(top ?? ranked.count)
    let rows = shown.enumerated().map { rank, layer in
      [
        layer.name, layer.modulePath, layer.shortOperator, "\(rank + 1)", decibels(layer.isolated?.sqnr),
        decibels(layer.cumulative.sqnr), String(format: "%.3g", layer.cumulative.meanSquaredError),
        Terminal.bytes(layer.weightBytes),
      ]
    }
    print(
      "\(comparison.layers.count) layers over \(comparison.samples) samples, lowest \(sort.rawValue) SQNR (dB) first\n")
    print(
      Terminal.table([["layer", "module", "operators", "rank", "isolated", "cumulative", "MSE", "weights"]] + rows))
    if shown.count < ranked.count { print("… and \(ranked.count - shown.count) more") }
    if !comparison.unmatched.isEmpty {
      print(
        "\nNo partner in the float model, not compared (\(comparison.unmatched.count)): "
          + comparison.unmatched.joined(separator: ", "))
    }
  }

  private func decibels(_ value: Double?) -> String {
    guard let value else { return "–" }
    return value.isFinite ? Terminal.number(value, 1) : "\(value)"
  }
}

extension ModelComparison.Order: ExpressibleByArgument {}
