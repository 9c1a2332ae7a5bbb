import ArgumentParser
import Foundation
import Swiftlet
import SwiftletTools

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Capture a model that comes with Swiftlet, with your weights, as a .pt2.",
    discussion: """
      The weights' names are those of torchvision's models. Without --weights they are random, which is enough to measure \
      speed.

      Example: swiftlet export resnet18 --weights resnet18.pth --batch 1...32 -o resnet18.pt2
      """)

  struct Report: Codable {
    var model: String
    var output: String
    var nodes: Int
    var parameters: Int
    var bytes: Int
    var inputs: [String]
  }

  @Argument(help: ArgumentHelp("The name of a model; see --list.", valueName: "model"))
  var model: String?

  @Flag(help: "List the models.")
  var list = false

  @Option(help: ArgumentHelp("State dict (.pth, .safetensors, .npz or .pt2).", valueName: "file"))
  var weights: String?

  @Option(name: .customLong("classes"), help: ArgumentHelp("Number of classes (default: the model's).", valueName: "n"))
  var classCount: Int?

  @Option(help: ArgumentHelp("Batch size that the program takes, or a range of them, as 1...32.", valueName: "range"))
  var batch = "1"

  @Option(name: .shortAndLong, help: ArgumentHelp("The .pt2 to write.", valueName: "out.pt2"))
  var output: String?

  @OptionGroup var format: OutputOptions

  func validate() throws {
    guard list || (model != nil && output != nil) else {
      throw ValidationError("give a model and -o OUT.pt2, or --list")
    }
    guard (1...1_000_000).contains(classCount ?? 1) else {
      throw ValidationError("--classes must be from 1 to 1000000")
    }
    _ = try batchRange()
  }

  func run() throws {
    try reportingErrors {
      guard !list, let model, let output else { return try printList() }
      guard let entry = ModelZoo.entry(named: model) else {
        throw UsageError(
          "there is no model '\(model)'; there are \(ModelZoo.all.map(\.name).joined(separator: ", "))")
      }
      try checkFolder(of: output)
      let module = entry.make(numClasses: classCount)
      if let weights {
        try module.loadStateDict(StateDict.read(weights))
      } else {
        Terminal.note("note: the weights are random, since there is no --weights; the results mean nothing")
      }
      let range = try batchRange()
      let spec = TensorSpec(.float32, Shape([range.lowerBound] + entry.inputShape.dimensions.dropFirst()))
      let dims = range.count > 1 ? [[0: Dim("batch", min: range.lowerBound, max: range.upperBound)]] : []
      let program = try export(module, [spec], dynamicShapes: dims, name: entry.name)
      try PT2Archive.write(program, to: output)
      try report(program, output)
    }
  }

  private func batchRange() throws -> ClosedRange<Int> {
    let ends = batch.split(separator: ".").compactMap { Int($0) }
    guard (1...2).contains(ends.count), batch == ends.map(String.init).joined(separator: "..."),
      let low = ends.first, let high = ends.last, low >= 1, low <= high, high <= 1 << 20
    else { throw ValidationError("--batch must be a size, or a range of sizes such as 1...32") }
    return low...high
  }

  private func printList() throws {
    if format.json { return try Terminal.printJSON(ModelZoo.all.map(\.name)) }
    print(Terminal.table([["model", "input"]] + ModelZoo.all.map { [$0.name, "\($0.inputShape)"] }))
  }

  private func report(_ program: ExportedProgram, _ output: String) throws {
    let report = Export.Report(
      model: program.name, output: output, nodes: program.graph.nodes.count, parameters: program.stateDict.count,
      bytes: fileSize(output), inputs: program.userInputs.map(program.describe))
    if format.json { return try Terminal.printJSON(report) }
    print(
      "\(output): \(report.model), \(report.nodes) nodes, \(report.parameters) parameters and buffers, "
        + "\(Terminal.bytes(report.bytes)); input \(report.inputs.joined(separator: ", "))")
  }
}
