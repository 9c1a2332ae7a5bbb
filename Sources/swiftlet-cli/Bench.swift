import ArgumentParser
import Foundation
import Swiftlet

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure a model's latency, load time and memory.",
    discussion: "Example: swiftlet bench model_int8.pt2 --threads 1 --profile")

  @Argument(help: "A .pt2 file, float or Q/DQ.")
  var model: String

  @Option(help: "Timed inferences.")
  var runs = 50

  @Option(help: "Inferences before the timed ones.")
  var warmup = 5

  @Option(help: ArgumentHelp("Inputs in one inference, for a model exported with a dynamic batch.", valueName: "n"))
  var batch: Int?

  @Flag(help: "Print the time of each operation.")
  var profile = false

  @OptionGroup var runtime: RuntimeOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard (1...1_000_000).contains(runs) else { throw ValidationError("--runs must be from 1 to 1000000") }
    guard (0...1_000_000).contains(warmup) else { throw ValidationError("--warmup must be from 0 to 1000000") }
    guard batch.map({ $0 > 0 }) ?? true else { throw ValidationError("--batch must be at least 1") }
  }

  func run() throws {
    try reportingErrors {
      let report = try benchmark(
        model, delegate: !runtime.noDelegate, threads: runtime.threads, runs: runs, warmup: warmup, profile: profile,
        kernels: runtime.kernels, cache: runtime.weightsCache.map(WeightsCache.init(folder:)), batch: batch)
      if output.json { return try Terminal.printJSON(report) }
      let number = { (value: Double) in Terminal.number(value) }
      let inputs = report.batch.map { ", batches of \($0)" } ?? ""
      print("\(model), \(report.threads) threads, \(report.runs) runs\(inputs)")
      print(
        Terminal.table([
          ["p50", number(report.p50) + " ms"], ["p90", number(report.p90) + " ms"],
          ["load", number(report.load) + " ms"], ["first inference", number(report.first) + " ms"],
          ["peak memory", number(report.peakMemory) + " MB"],
          ["memory growth", number(report.memoryGrowth) + " MB"],
          ["delegated", "\(report.delegated.nodes) nodes in \(report.delegated.subgraphs) subgraphs"],
        ]))
      print(Terminal.arena(report.arenaBytes, lowerBound: report.arenaLowerBound))
      for node in report.fallback { print("  portable: \(node.node) (\(node.op)) — \(node.reason)") }
      if let ops = report.ops { printProfile(ops, p50: report.p50) }
    }
  }

  private func printProfile(_ ops: [BenchmarkReport.OperationTime], p50: Double) {
    let total = ops.reduce(0) { $0 + $1.ms }
    let rows = ops.sorted { $0.ms > $1.ms }.map {
      [$0.name, $0.kind, $0.backend, Terminal.number($0.ms, 3), Terminal.number(100 * $0.ms / total, 1)]
    }
    print("\n" + Terminal.table([["operation", "kind", "backend", "ms", "%"]] + rows))
    print("sum of operations \(Terminal.number(total, 3)) ms, p50 of whole inferences \(Terminal.number(p50, 3)) ms")
  }
}
