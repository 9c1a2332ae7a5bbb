import ArgumentParser
import Foundation
import Swiftlet

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what is in a model: operators, parameters, and what XNNPACK would run.",
    discussion: "Example: swiftlet inspect models/resnet8/resnet8.pt2 --graph")

  struct Report: Codable {
    struct Parameters: Codable {
      var tensors: Int
      var elements: Int
      var bytes: Int
    }
    struct Value: Codable {
      var name: String
      var spec: String
    }
    var model: String
    var fileBytes: Int
    var dialect: String
    var inputs: [Value]
    var outputs: [Value]
    var parameters: Parameters
    var operators: [String: Int]
    var delegated: BenchmarkReport.Delegated
    var fallback: [BenchmarkReport.Fallback]
    var arenaBytes: Int
  }

  @Argument(help: "A .pt2 file.")
  var model: String

  @Flag(help: "Print the graph, one node a line.")
  var graph = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    try reportingErrors {
      let program = try readProgram(model)
      let method = try Method(
        lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
      let report = makeReport(program, method)
      if output.json { return try Terminal.printJSON(report) }
      print("\(model): \(report.dialect) graph, \(Terminal.bytes(report.fileBytes))")
      for input in report.inputs { print("  input   \(input.name): \(input.spec)") }
      for tensor in report.outputs { print("  output  \(tensor.name): \(tensor.spec)") }
      print(
        "  state   \(report.parameters.tensors) tensors, \(report.parameters.elements) elements,"
          + " \(Terminal.bytes(report.parameters.bytes))")
      let counts = report.operators.sorted { ($0.value, $1.key) > ($1.value, $0.key) }
      print("\n" + Terminal.table([["operator", "nodes"]] + counts.map { [$0.key, String($0.value)] }))
      print("\n" + delegationReport(method))
      if graph { print("\n" + program.graph.printed()) }
    }
  }

  private func makeReport(_ program: ExportedProgram, _ method: Method) -> Report {
    let graph = program.graph
    let tensors = program.stateDict.values
    return Self.Report(
      model: model, fileBytes: fileSize(model), dialect: program.isQuantized ? "Q/DQ" : "float",
      inputs: program.userInputs.map { .init(name: graph[$0].name, spec: "\(graph.spec($0))") },
      outputs: graph.outputs.map { .init(name: graph[$0].name, spec: "\(graph.spec($0))") },
      parameters: .init(
        tensors: tensors.count, elements: tensors.reduce(0) { $0 + $1.shape.elementCount },
        bytes: tensors.reduce(0) { $0 + $1.spec.byteCount }),
      operators: Dictionary(graph.nodes.map { ($0.operatorName, 1) }, uniquingKeysWith: +),
      delegated: .init(method), fallback: method.fallback,
      arenaBytes: method.program.arenaByteCount)
  }
}

/// How many nodes XNNPACK runs, and which it does not, with reasons.
func delegationReport(_ method: Method) -> String {
  let (nodes, subgraphs) = method.delegated
  let fallback = method.fallback
  let plural = subgraphs == 1 ? "" : "s"
  var lines = ["XNNPACK runs \(nodes) of \(method.operations.count) nodes, in \(subgraphs) subgraph\(plural)."]
  if fallback.isEmpty { lines[0] += " Nothing is left to portable kernels." }
  let groups = Dictionary(grouping: fallback) { "\($0.op): \($0.reason)" }.sorted { $0.key < $1.key }
  for (reason, members) in groups {
    let names = members.prefix(4).map(\.node).joined(separator: ", ")
    lines.append("  portable: \(names)\(members.count > 4 ? ", …" : "") (\(members.count)) — \(reason)")
  }
  return lines.joined(separator: "\n")
}
