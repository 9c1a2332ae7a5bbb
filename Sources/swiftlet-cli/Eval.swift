import ArgumentParser
import Foundation
import Swiftlet

struct Eval: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure a model's accuracy on labelled data.",
    discussion: """
      The data is an image folder whose sub-folders are classes, or an .npz with arrays 'val' and 'labels'.

      Example: swiftlet eval model_int8.pt2 --data photos/val --classes photos/wnids.txt
      """)

  @Argument(help: "A .pt2 or .pte file, float or Q/DQ.")
  var model: String

  @Option(help: "The image folder or .npz.")
  var data: String

  @Option(
    help: ArgumentHelp(
      "Text file that names the classes in order, one a line (default: wnids.txt beside the data).", valueName: "file"))
  var classes: String?

  @Option(help: "Use only the first samples.")
  var limit: Int?

  @Option(
    help: ArgumentHelp(
      "JSON file that says how images become inputs (default: the one stored with the model).", valueName: "file"))
  var preprocess: String?

  @OptionGroup var loading: LoadingOptions
  @OptionGroup var runtime: RuntimeOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard limit.map({ $0 > 0 }) ?? true else { throw ValidationError("--limit must be at least 1") }
  }

  func run() throws {
    try reportingErrors {
      let program = try readProgram(model)
      let recipe = try findPreprocess(preprocess, model: model, program)
      noteMissingRecipe(recipe, for: data)
      var dataset = try openDataset(data, role: .evaluation, preprocess: recipe, classes: classes)
      if let limit { dataset = dataset.limited(to: limit) }
      let method = try runtime.load(program, from: model)
      let bar = ProgressBar("evaluating")
      let result = try evaluate(method, on: dataset, loading: loading.options, progress: bar.update)
      if output.json { return try Terminal.printJSON(result) }
      if let auc = result.auc { print("AUC \(Terminal.number(auc, 4)) over \(result.images) recordings") }
      if let top1 = result.top1, let top5 = result.top5 {
        print("top-1 \(Terminal.number(top1)) %   top-5 \(Terminal.number(top5)) %   over \(result.images) samples")
      }
      print("\(Terminal.number(result.imagesPerSecond, 1)) samples a second, with \(runtime.threads) threads")
      if let decoding = result.decoding { print(describe(decoding)) }
      LoadingOptions.printSkipped(result.skipped)
    }
  }

  /// Whether decoding held inference up, and what can be done about it.
  private func describe(_ decoding: Evaluation.Decoding) -> String {
    let percent = Terminal.number(decoding.waiting, 1)
    guard decoding.threads == 0 else {
      return "decoding on \(decoding.threads) more, which inference waited for \(percent) % of the time"
    }
    let hint =
      runtime.threads > 1 && loading.workers == nil ? "; --threads \(runtime.threads - 1) leaves a core for it" : ""
    return "decoding in turns with inference, \(percent) % of the time\(hint)"
  }
}
