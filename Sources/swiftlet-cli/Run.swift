import ArgumentParser
import Foundation
import Swiftlet

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a model on one input.",
    discussion: """
      The input is an image, an .npy, or an .npz with one array for each of the model's inputs, by name or in order. A \
      model exported with dynamic shapes takes arrays of any size in its ranges.

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

  @Argument(help: "A .pt2 or .pte file, float or Q/DQ.")
  var model: String

  @Option(help: ArgumentHelp("The image, .npy or .npz.", valueName: "file"))
  var input: String

  @Option(name: .shortAndLong, help: ArgumentHelp("Write the outputs to an .npy or .npz.", valueName: "file"))
  var output: String?

  @Option(help: ArgumentHelp("Text file that names the classes in order, one a line.", valueName: "file"))
  var labels: String?

  @Option(
    help: ArgumentHelp(
      "JSON file that says how images become inputs (default: the one stored with the model).", valueName: "file"))
  var preprocess: String?

  @Flag(help: "Simulate a Q/DQ graph in float, as PyTorch does, instead of running it in int8.")
  var simulate = false

  @OptionGroup var runtime: RuntimeOptions
  @OptionGroup(title: "Output") var format: OutputOptions

  func validate() throws {
    guard output.map({ $0.hasSuffix(".npy") || $0.hasSuffix(".npz") }) ?? true else {
      throw ValidationError("--output must end in .npy or .npz")
    }
  }

  func run() throws {
    try reportingErrors {
      let program = try readProgram(model)
      let recipe = try findPreprocess(preprocess, model: model, program)
      noteMissingRecipe(recipe, for: input)
      let inputs = try readInputs(program, recipe)
      let words = try labels.map(readLabelWords)
      let outputs =
        simulate
        ? try Interpreter(program.resized(inputShapes: inputs.map(\.shape))).run(inputs)
        : try runtime.load(program, from: model).run(inputs)
      let names = outputNames(program)
      if let output {
        if output.hasSuffix(".npz") {
          try NumPyArchive.write(zip(names, outputs).map { ($0, $1) }, to: output)
        } else {
          guard outputs.count == 1 else {
            throw UsageError(
              "\(output): the model has \(outputs.count) outputs, which an .npy cannot hold; write an .npz")
          }
          try NumPyArchive.writeArray(outputs[0], to: output)
        }
      }
      try printOutputs(outputs, names, words)
    }
  }

  private func printOutputs(_ outputs: [Tensor], _ names: [String], _ words: [String]?) throws {
    var top: [Report.Class] = []
    if let first = outputs.first, first.dataType == .float32, first.shape.rank == 2, first.shape[0] == 1 {
      if let labels, let words, words.count != first.shape[1] {
        throw UsageError("\(labels): names \(words.count) classes; the model has \(first.shape[1])")
      }
      top = topK(first.elements(as: Float.self), 5).map { entry in
        let word = words.flatMap { $0.indices.contains(entry.index) ? $0[entry.index] : nil }
        return .init(index: entry.index, label: word, value: entry.value)
      }
    }
    let described = zip(names, outputs).map { "\($0): \($1.spec)" }
    if format.json { return try Terminal.printJSON(Report(outputs: described, top5: top)) }
    for line in described { print(line) }
    for entry in top {
      print("  \(Terminal.number(Double(entry.value), 3))  \(entry.label ?? "class \(entry.index)")")
    }
  }

  /// The outputs' names in the graph; a value that is given twice is numbered.
  private func outputNames(_ program: ExportedProgram) -> [String] {
    var counts: [String: Int] = [:]
    return program.graph.outputs.map { id in
      let name = program.graph[id].name
      counts[name, default: 0] += 1
      return counts[name] == 1 ? name : "\(name)_\(counts[name]!)"
    }
  }

  /// Floats and bytes are made into the model's input by the recipe; an array that is one already is taken as it is.
  private func prepared(_ array: Tensor, _ recipe: Preprocess, _ expected: TensorSpec, _ name: String) throws -> Tensor
  {
    if array.dataType == expected.dataType, expected.dataType != .float32 { return array }
    do { return try recipe.tensor(fromArray: array) } catch { throw UsageError("\(input): \(name): \(error)") }
  }

  private func readInputs(_ program: ExportedProgram, _ recipe: Preprocess) throws -> [Tensor] {
    let ids = program.userInputs
    switch URL(fileURLWithPath: input).pathExtension.lowercased() {
    case "npy":
      let array = try NumPyArchive.readArray(input)
      return [try prepared(array, recipe, ids.first.map(program.graph.spec) ?? array.spec, "its array")]
    case "npz":
      let archive = try NumPyArchive(path: input)
      let names = ids.map { program.graph[$0].name }
      guard names.allSatisfy(archive.names.contains) || archive.names.count == ids.count else {
        throw UsageError("\(input): has the arrays \(archive.names), but the model's inputs are \(names)")
      }
      let chosen = names.allSatisfy(archive.names.contains) ? names : archive.names
      return try zip(chosen, ids).map { name, id in
        try prepared(archive.tensor(name), recipe, program.graph.spec(id), name)
      }
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
