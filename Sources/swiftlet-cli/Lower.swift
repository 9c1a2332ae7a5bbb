import ArgumentParser
import Foundation
import Swiftlet
import SwiftletTools

struct Lower: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a model as an ExecuTorch program (.pte).",
    discussion: """
      What ExecuTorch's XNNPACK backend can run becomes a delegate, and the rest calls of portable kernels. The file runs \
      in ExecuTorch's runtime, and in the commands run, eval and bench.

      Example: swiftlet lower model_int8.pt2 -o model_int8.pte
      """)

  struct Report: Codable {
    struct Kernel: Codable {
      var node: String
      var kernel: String
      var reason: String
    }
    var output: String
    var readMilliseconds: Double
    /// From the graph in memory to the written file.
    var lowerMilliseconds: Double
    var fileBytes: Int
    var constantBytes: Int
    /// Bytes planned for activations outside delegates, and the most of them alive at one time.
    var arenaBytes: Int
    var arenaLowerBound: Int
    /// Nodes in each delegate.
    var delegates: [Int]
    var portable: [Kernel]
    /// Inputs whose sizes vary, with their ranges: the file has memory for the largest.
    var varying: [String]?
  }

  @Argument(help: "A .pt2 or .pte file, float or Q/DQ.")
  var model: String

  @Option(name: .shortAndLong, help: ArgumentHelp("The .pte to write.", valueName: "file"))
  var output: String

  @Option(
    help: ArgumentHelp(
      "JSON file that says how images become inputs (default: the one stored with the model).", valueName: "file"))
  var preprocess: String?

  @Flag(help: "Fix dynamic shapes to the sizes of the example inputs.")
  var fixedSizes = false

  @Flag(help: "Fail if a node is left to a portable kernel.")
  var strict = false

  @OptionGroup(title: "Output") var format: OutputOptions

  func validate() throws {
    guard output.hasSuffix(".pte") else { throw ValidationError("--output must end in .pte") }
  }

  func run() throws {
    try reportingErrors {
      let start = ContinuousClock.now
      var program = try readProgram(model)
      let read = ContinuousClock.now
      if fixedSizes { program.dynamicShapes = nil }
      let recipe = try findPreprocess(preprocess, model: model, program)
      let nothing = Preprocess()
      let written: PTEReport
      do {
        written = try PTEArchive.write(recipe == nothing ? program : program.storing(recipe), to: output)
      } catch let error as GraphError where error.reason.contains("dynamicShapes") {
        throw UsageError("\(error) (--fixed-sizes does that)")
      }
      let report = Report(
        output: output, readMilliseconds: (read - start).seconds * 1e3,
        lowerMilliseconds: (ContinuousClock.now - read).seconds * 1e3, fileBytes: written.byteCount,
        constantBytes: written.constantByteCount,
        arenaBytes: written.arenaByteCount, arenaLowerBound: written.arenaLowerBound,
        delegates: written.delegates,
        portable: written.portable.map { .init(node: $0.node, kernel: $0.kernel, reason: $0.reason) },
        varying: varyingInputs(program))
      if format.json { try Terminal.printJSON(report) } else { print(text(report)) }
      if strict, !report.portable.isEmpty {
        throw UsageError("\(model): \(report.portable.count) nodes are left to portable kernels")
      }
    }
  }

  private func varyingInputs(_ program: ExportedProgram) -> [String]? {
    guard let shapes = program.dynamicShapes else { return nil }
    return program.userInputs.filter { shapes.symbolicSizes(of: program.graph[$0].name) != nil }.map { id in
      "\(program.graph[id].name): \(program.describe(id))"
    }
  }

  private func text(_ report: Report) -> String {
    let nodes = report.delegates.reduce(0, +)
    let plural = report.delegates.count == 1 ? "" : "s"
    var lines = [
      "\(output): \(Terminal.bytes(report.fileBytes)), of which constants take \(Terminal.bytes(report.constantBytes))",
      "read in \(Terminal.number(report.readMilliseconds, 0)) ms, lowered and written in"
        + " \(Terminal.number(report.lowerMilliseconds, 0)) ms",
      "XNNPACK backend: \(nodes) nodes in \(report.delegates.count) delegate\(plural)",
      "Between delegates and kernels: \(Terminal.arena(report.arenaBytes, lowerBound: report.arenaLowerBound))",
    ]
    for input in report.varying ?? [] { lines.append("  sizes vary: \(input)") }
    let groups = Dictionary(grouping: report.portable) { "\($0.kernel): \($0.reason)" }.sorted { $0.key < $1.key }
    for (reason, members) in groups {
      let names = members.prefix(4).map(\.node).joined(separator: ", ")
      lines.append("  portable: \(names)\(members.count > 4 ? ", …" : "") (\(members.count)) — \(reason)")
    }
    return lines.joined(separator: "\n")
  }
}
