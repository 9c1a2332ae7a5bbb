import ArgumentParser
import Foundation
import Swiftlet
import SwiftletTools

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure latency, load time and memory of models, and compare them.",
    discussion: """
      Several models, thread counts or kernels are measured in turns, in an order that is shuffled in every round, and \
      compared with the first: the ratio of medians with its 95 % confidence interval (bootstrap over rounds).

      Example: swiftlet bench model_int8.pt2 --threads 1 --profile
      Example: swiftlet bench model.pt2 model_int8.pt2 --threads 1,2 --kernels auto,xnnpack --html report.html
      """)

  @Argument(help: "One or more .pt2 or .pte files, float or Q/DQ.")
  var models: [String]

  @Option(help: "Timed inferences of each variant, in all rounds together.")
  var runs = 50

  @Option(help: "Untimed inferences before the timed ones.")
  var warmup = 5

  @Option(help: "Rounds that the timed inferences are spread over.")
  var rounds = 10

  @Option(help: "Seed of the order in each round and of the confidence intervals.")
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Batch size, for a model exported with a dynamic batch.", valueName: "n"))
  var batch: Int?

  @Flag(
    help: "Also show each operation's time, multiply-adds and bytes, compared with the measured peak of this machine.")
  var profile = false

  @Option(help: ArgumentHelp("Write an HTML page with plots, which works offline.", valueName: "file"))
  var html: String?

  @Option(
    name: .customLong("threads"),
    help: ArgumentHelp(
      "Numbers of threads to compare, as 1,2 (default: one for each physical core).", valueName: "list"))
  var threadCounts: CommaSeparated<Int>?

  private var threads: CommaSeparated<Int> { threadCounts ?? CommaSeparated([ThreadPool.physicalCoreCount]) }

  @Option(
    help: ArgumentHelp(
      "Whose kernels run convolutions and linear layers, as auto,xnnpack,native to compare.", valueName: "list"))
  var kernels = CommaSeparated([MethodOptions.Kernels.auto])

  @Flag(help: "Run everything on portable kernels, without XNNPACK.")
  var noDelegate = false

  @Option(
    help: ArgumentHelp(
      "Keep packed weights in this folder, so that the model loads faster the next time.", valueName: "folder"))
  var weightsCache: String?

  @OptionGroup var output: OutputOptions

  private static let variantLimit = 64

  private var variants: [BenchmarkVariant] {
    models.flatMap { model in
      threads.values.flatMap { threads in
        kernels.values.map { BenchmarkVariant(model: model, threads: threads, kernels: $0) }
      }
    }
  }

  func validate() throws {
    guard (1...1_000_000).contains(runs) else { throw ValidationError("--runs must be from 1 to 1000000") }
    guard (0...1_000_000).contains(warmup) else { throw ValidationError("--warmup must be from 0 to 1000000") }
    guard (1...10_000).contains(rounds) else { throw ValidationError("--rounds must be from 1 to 10000") }
    guard batch.map({ $0 > 0 }) ?? true else { throw ValidationError("--batch must be at least 1") }
    for count in threads.values { try RuntimeOptions.check(threads: count) }
    guard variants.count <= Bench.variantLimit else {
      throw ValidationError("these are \(variants.count) variants; at most \(Bench.variantLimit) can be compared")
    }
  }

  func run() throws {
    try reportingErrors {
      if let html { try checkFolder(of: html) }
      var options = BenchmarkOptions()
      (options.runs, options.warmup, options.rounds, options.seed) = (runs, warmup, rounds, seed)
      (options.profile, options.batch, options.delegate) = (profile || html != nil, batch, !noDelegate)
      options.cache = try weightsCache.map(WeightsCache.init(folder:))
      if let load = loadAverage(), load > 0.5 {
        Terminal.note(
          "note: the load average is \(Terminal.number(load)) per processor; other programs slow down what is measured")
      }
      let comparison = try benchmark(variants, options)
      if let html { try comparison.writePage(to: html) }
      let isOne = comparison.variants.count == 1
      if output.json {
        return isOne ? try Terminal.printJSON(comparison.variants[0]) : try Terminal.printJSON(comparison)
      }
      if isOne { printReport(comparison.variants[0]) } else { printComparison(comparison) }
      if profile {
        for (label, variant) in zip(comparison.labels, comparison.variants) {
          printProfile(variant, isOne ? "" : label + "\n")
        }
      }
      if let html { print("\n\(html): the same with plots") }
    }
  }

  private func printReport(_ report: BenchmarkReport) {
    let number = { (value: Double) in Terminal.number(value) }
    let duration = { (value: Double) in Terminal.duration(milliseconds: value) }
    let inputs = report.batch.map { ", batches of \($0)" } ?? ""
    print("\(report.model), \(report.threads) threads, \(report.runs) runs\(inputs)")
    print(
      Terminal.table([
        ["p50", duration(report.p50)], ["p90", duration(report.p90)], ["p99", duration(report.p99)],
        ["load", duration(report.load)], ["first inference", duration(report.first)],
        ["peak memory", number(report.peakMemory) + " MB"], ["memory growth", number(report.memoryGrowth) + " MB"],
        ["delegated", "\(report.delegated.nodes) nodes in \(report.delegated.subgraphs) subgraphs"],
      ]))
    print(Terminal.arena(report.arenaBytes, lowerBound: report.arenaLowerBound))
    for node in report.fallback { print("  portable: \(node.node) (\(node.op)) — \(node.reason)") }
  }

  private func printComparison(_ comparison: BenchmarkComparison) {
    let first = comparison.variants[0]
    let inputs = first.batch.map { ", batches of \($0)" } ?? ""
    print(
      "\(comparison.variants.count) variants in turns, \(first.runs) runs each in \(first.rounds) rounds\(inputs)\n"
    )
    let rows = zip(comparison.labels, comparison.variants).map { label, report in
      [label] + [report.p50, report.p90, report.p99].map { Terminal.duration(milliseconds: $0) }
        + [report.ratio.map { Terminal.number($0.value, 3) } ?? "1", interval(report.ratio)]
        + [report.load, report.first].map { Terminal.duration(milliseconds: $0) }
        + [Terminal.number(report.memoryGrowth, 1)]
    }
    let titles = ["variant", "p50", "p90", "p99", "ratio", "95 % interval", "load", "first", "memory MB"]
    print(Terminal.table([titles] + rows))
    print("\nratio: of medians, to the first variant; interval: bootstrap over rounds, seed \(comparison.seed)")
  }

  private func interval(_ ratio: BenchmarkRatio?) -> String {
    guard let low = ratio?.low, let high = ratio?.high else { return "–" }
    return "\(Terminal.number(low, 3))–\(Terminal.number(high, 3))"
  }

  private func printProfile(_ report: BenchmarkReport, _ title: String) {
    guard let ops = report.ops, let total = report.sumOfOperations, let peak = report.peak else { return }
    let rows = ops.sorted { $0.ms > $1.ms }.map { op in
      [op.name, op.kind, op.backend, Terminal.number(op.ms * 1e3), Terminal.number(100 * op.ms / total, 1)]
        + [
          Terminal.number(Double(op.cost.multiplyAdds) * 1e-6, 3), Terminal.number(Double(op.cost.bytes) * 1e-3, 1),
          op.gigaMultiplyAdds.map { Terminal.number($0, 1) } ?? "–",
          op.percentOfArithmetic(peak).map { Terminal.number($0, 1) } ?? "–",
          Terminal.number(op.gigaBytes, 1), Terminal.number(op.percentOfMemory(peak), 0),
        ]
    }
    let titles = ["operation", "kind", "backend", "µs", "%", "MMAC", "kB", "GMAC/s", "% peak", "GB/s", "% read"]
    print("\n" + title + Terminal.table([titles] + rows))
    print(report.profileSummary.joined(separator: "\n"))
    #if DEBUG
      print("this is a debug build: what it measures as the peak is far below the machine's")
    #endif
  }
}

/// A list of values in one argument, `1,2`.
struct CommaSeparated<Value: ExpressibleByArgument & Hashable>: ExpressibleByArgument {
  let values: [Value]

  init(_ values: [Value]) { self.values = values }

  /// Nil when a part is no value; a value that comes twice counts once.
  init?(argument: String) {
    var values: [Value] = []
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let value = Value(argument: String(part)) else { return nil }
      if !values.contains(value) { values.append(value) }
    }
    self.values = values
  }

  var defaultValueDescription: String { values.map(\.defaultValueDescription).joined(separator: ",") }
}
