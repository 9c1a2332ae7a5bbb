import ArgumentParser
import Foundation
import Swiftlet

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a model on one input.",
    discussion: """
      The input is an image, an .npy, or an .npz with one array for each of the model's inputs, by name or in order.

      Example: swiftlet run model_int8.pt2 --input photo.jpg --labels wnids.txt
      """)

  struct Report: Codable {
    struct Class: Codable {
      var index: Int
      var label: String?
      var value: Float
    }
    var outputs: [String]
    var top5: [Class]
  }

  @Argument(help: "A .pt2 file, float or Q/DQ.")
  var model: String

  @Option(help: ArgumentHelp("An image, .npy or .npz.", valueName: "file"))
  var input: String

  @Option(name: .shortAndLong, help: ArgumentHelp("Write the outputs to an .npy or .npz.", valueName: "file"))
  var output: String?

  @Option(help: ArgumentHelp("File whose lines name the classes in order.", valueName: "file"))
  var labels: String?

  @Option(help: ArgumentHelp("How inputs are made (JSON; default: from the model's file).", valueName: "file"))
  var preprocess: String?

  @OptionGroup var runtime: RuntimeOptions
  @OptionGroup(title: "Output") var format: OutputOptions

  func run() throws {
    try reportingErrors {
      let program = try PT2Archive.read(model)
      let recipe = try findPreprocess(preprocess, model: model, program)
      let inputs = try readInputs(program, recipe)
      let words = try labels.map(readLabelWords)
      let method = try Method(
        lower(program, partitioner: runtime.noDelegate ? nil : XNNPACKPartitioner()),
        threads: ThreadPool(threadCount: runtime.threads))
      let outputs = try method.run(inputs)
      let names = method.program.outputs.map { method.program.values[$0].name }
      if let output {
        if output.hasSuffix(".npz") {
          try NumPyArchive.write(zip(names, outputs).map { ($0, $1) }, to: output)
        } else {
          guard outputs.count == 1 else { throw UsageError("the model has \(outputs.count) outputs; write an .npz") }
          try NumPyArchive.writeArray(outputs[0], to: output)
        }
      }
      try printOutputs(outputs, names, words)
    }
  }

  private func printOutputs(_ outputs: [Tensor], _ names: [String], _ words: [String]?) throws {
    var top: [Report.Class] = []
    if let first = outputs.first, first.dataType == .float32, first.shape.rank == 2, first.shape[0] == 1 {
      top = topK(first.elements(as: Float.self), 5).map { entry in
        let word = words.flatMap { $0.indices.contains(entry.index) ? $0[entry.index] : nil }
        return .init(index: entry.index, label: word, value: entry.value)
      }
    }
    let described = zip(names, outputs).map { "\($0): \($1.spec)" }
    if format.json { return try Terminal.printJSON(Report(outputs: described, top5: top)) }
    for line in described { print(line) }
    if labels != nil {
      for entry in top {
        print("  \(Terminal.number(Double(entry.value), 3))  \(entry.label ?? "class \(entry.index)")")
      }
    }
  }

  private func readInputs(_ program: ExportedProgram, _ recipe: Preprocess) throws -> [Tensor] {
    let ids = program.userInputs
    switch URL(fileURLWithPath: input).pathExtension.lowercased() {
    case "npy": return [try recipe.tensor(fromArray: NumPyArchive.readArray(input))]
    case "npz":
      let archive = try NumPyArchive(path: input)
      let names = ids.map { program.graph[$0].name }
      guard names.allSatisfy(archive.names.contains) || archive.names.count == ids.count else {
        throw UsageError("\(input): has arrays \(archive.names); the model takes \(names)")
      }
      let chosen = names.allSatisfy(archive.names.contains) ? names : archive.names
      return try chosen.map { try recipe.tensor(fromArray: archive.tensor($0)) }
    default: return [try recipe.tensor(from: Image(contentsOf: input))]
    }
  }
}

/// The words of a `wnids.txt`: what follows the first blank of each line, or the whole line.
func readLabelWords(_ path: String) throws -> [String] {
  guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
    throw UsageError("\(path): cannot be read as text")
  }
  var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
  if lines.last?.isEmpty == true { lines.removeLast() }
  return lines.map { line in
    let parts = line.split(maxSplits: 1) { $0 == " " || $0 == "\t" }
    return String(parts.last ?? "")
  }
}
