import ArgumentParser
import Foundation
import Swiftlet
import SwiftletTools

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what is in a model or a file of tensors, and what XNNPACK would run of a model.",
    discussion: """
      Of a model: inputs, outputs, operators, the file's bytes by kind and by layer, multiply-adds, the delegated \
      subgraphs node by node, and what is left to portable operators, with reasons. Of a file of tensors: names, types, \
      shapes, ranges. The kind of file is told by its content, not by its name.

      Example: swiftlet inspect models/resnet8/resnet8.pt2 --layers 5 --svg resnet8.svg
      """)

  @Argument(help: "A .pt2, .pte, .pth, .safetensors, .npy or .npz file.")
  var file: String?

  @Flag(help: "Print the graph, one node a line.")
  var graph = false

  @Option(help: ArgumentHelp("Number of layers to list, the largest first.", valueName: "n"))
  var layers = 10

  @Option(help: ArgumentHelp("Write a drawing of the lowered program.", valueName: "file"))
  var svg: String?

  @Flag(help: "Show what the quantizer can quantize, instead of a file.")
  var capabilities = false

  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard layers >= 0 else { throw ValidationError("--layers must be at least 0") }
    guard (file == nil) == capabilities else { throw ValidationError("give a file, or --capabilities") }
  }

  func run() throws {
    try reportingErrors {
      guard let file else { return try printCapabilities() }
      if let svg { try checkFolder(of: svg) }
      switch try inspectFile(file, includingGraph: graph) {
      case .model(let report, let method):
        if let svg { try method.writeDrawing(to: svg) }
        if output.json { return try Terminal.printJSON(report) }
        print("\(file): \(report.dialect) graph (\(report.format.rawValue)), \(Terminal.bytes(report.fileBytes))")
        Self.show(report.sections(layerCount: layers))
        print("\n" + delegationReport(method))
        print(
          "Memory: \(Terminal.arena(report.arenaBytes, lowerBound: report.arenaLowerBound))"
            + (report.largestArenaBytes.map { " (\(Terminal.bytes($0)) at the largest sizes)" } ?? "")
            + ", \(Terminal.bytes(report.packedWeightBytes)) of packed weights.")
        if let text = report.graph { print("\n" + text) }
        if let svg { print("\n\(svg): the lowered program, drawn") }
      case .tensors(let report):
        guard svg == nil, !graph else {
          throw UsageError("\(file): is a \(report.format.rawValue) and has no graph to show")
        }
        if output.json { return try Terminal.printJSON(report) }
        print("\(file): \(report.format.rawValue), \(Terminal.bytes(report.fileBytes))")
        Self.show(report.sections())
      }
    }
  }

  private func printCapabilities() throws {
    let quantizer = XNNPACKQuantizer()
    if output.json { return try Terminal.printJSON(quantizer.quantizationCapabilities()) }
    Self.show([quantizer.capabilitySection()])
  }

  private static func show(_ sections: [InspectionSection]) {
    for section in sections {
      print("\n\(section.title)\n\(Terminal.table(section.rows))")
      for note in section.notes { print(note) }
    }
  }
}

/// How many nodes the delegate runs, and which it does not, with reasons.
func delegationReport(_ method: Method) -> String {
  let fallback = method.fallback
  var lines = [method.delegationSummary]
  if fallback.isEmpty { lines[0] += " Nothing is left to portable kernels." }
  let groups = Dictionary(grouping: fallback) { "\($0.op): \($0.reason)" }.sorted { $0.key < $1.key }
  for (reason, members) in groups {
    let names = members.prefix(4).map(\.node).joined(separator: ", ")
    lines.append("  portable: \(names)\(members.count > 4 ? ", …" : "") (\(members.count)) — \(reason)")
  }
  return lines.joined(separator: "\n")
}
