import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

@testable import SwiftletTools

#if canImport(FoundationXML)
  import FoundationXML
#endif

@Suite struct BenchmarkStatisticsTests {
  @Test(arguments: [(0.0, 1.0), (0.1, 1.0), (0.5, 5.0), (0.51, 6.0), (0.9, 9.0), (0.99, 10.0), (1.0, 10.0)])
  func percentilesAreNearestRanks(_ fraction: Double, _ value: Double) {
    #expect(percentile([10, 1, 9, 2, 8, 3, 7, 4, 6, 5], fraction) == value)
    #expect(percentile([], fraction).isNaN)
  }

  @Test func everyRoundHasEveryVariantInAnOrderOfItsOwn() {
    let order = BenchmarkSchedule.order(variants: 5, rounds: 40, seed: 7)
    #expect(order.count == 40 && order.allSatisfy { $0.sorted() == [0, 1, 2, 3, 4] })
    #expect(Set(order).count > 20)
    // No variant stays behind the same other.
    #expect((0..<5).allSatisfy { first in order.contains { $0.first == first } })
    #expect(order == BenchmarkSchedule.order(variants: 5, rounds: 40, seed: 7))
    #expect(order != BenchmarkSchedule.order(variants: 5, rounds: 40, seed: 8))
  }

  @Test(arguments: [(50, 10, 10), (3, 10, 3), (7, 3, 3), (1, 1, 1), (10, 0, 1)])
  func runsAreSpreadOverRounds(_ runs: Int, _ rounds: Int, _ count: Int) {
    let spread = BenchmarkSchedule.runs(runs, rounds: rounds)
    #expect(spread.count == count && spread.reduce(0, +) == runs)
    #expect((spread.max() ?? 0) - (spread.min() ?? 0) <= 1)
  }

  @Test func ratioOfEqualSamplesIsOne() {
    let rounds = [[1.0, 2, 3], [2, 3, 4], [1, 1, 9], [5, 6, 7]]
    #expect(BenchmarkRatio(rounds, over: rounds, seed: 1) == ratio(1, 1, 1))
    // A factor that is the same in every round is certain, however much the rounds differ.
    #expect(BenchmarkRatio(rounds.map { $0.map { $0 * 2 } }, over: rounds, seed: 1) == ratio(2, 2, 2))
  }

  @Test func intervalHoldsTheRatioAndGrowsWithTheSpread() throws {
    let base = [[10.0], [10], [10], [10], [10], [10], [10]]
    let narrow = BenchmarkRatio([[19.0], [20], [20], [20], [20], [21], [20]], over: base, seed: 3)
    let wide = BenchmarkRatio([[5.0], [20], [10], [20], [30], [40], [20]], over: base, seed: 3)
    for result in [narrow, wide] {
      #expect(result.value == 2)
      #expect(try #require(result.low) <= 2 && #require(result.high) >= 2)
    }
    #expect(try #require(wide.low) < 1.5 && #require(wide.high) > 2.5)
    #expect(try #require(narrow.low) >= 1.9 && #require(narrow.high) <= 2.1)
    #expect(wide == BenchmarkRatio([[5.0], [20], [10], [20], [30], [40], [20]], over: base, seed: 3))
  }

  @Test func intervalIsThatOfAllDraws() throws {
    // 7 of the 27 ways to draw three rounds have their median in round 0, as many in round 2: far more than 2.5 %.
    let result = BenchmarkRatio([[1.0], [2], [3]], over: [[1.0], [1], [1]], resamples: 4000, seed: 5)
    #expect(result == ratio(2, 1, 3))
  }

  @Test func fewRoundsHaveNoInterval() {
    let result = BenchmarkRatio([[4.0, 6], [5, 5]], over: [[2.0, 2], [3, 2]], seed: 1)
    #expect(result.value == 2.5 && result.low == nil && result.high == nil)
  }

  private func ratio(_ value: Double, _ low: Double, _ high: Double) -> BenchmarkRatio {
    var result = BenchmarkRatio([[1]], over: [[1]], seed: 0)
    (result.value, result.low, result.high) = (value, low, high)
    return result
  }
}

@Suite(.oneAtATime) struct BenchmarkTests {
  private static func compared(profile: Bool) throws -> BenchmarkComparison {
    var options = BenchmarkOptions()
    (options.runs, options.warmup, options.rounds, options.profile) = (6, 1, 3, profile)
    return try benchmark(
      [
        BenchmarkVariant(model: ResNet8.path, threads: 1),
        BenchmarkVariant(model: ResNet8.path, threads: 1, kernels: .xnnpack),
      ], options)
  }

  @Test func variantsTakeTurns() throws {
    let comparison = try Self.compared(profile: false)
    #expect(comparison.labels == ["resnet8.pt2, auto", "resnet8.pt2, xnnpack"])
    for variant in comparison.variants {
      #expect(variant.rounds == 3 && variant.samples.map(\.count) == [2, 2, 2] && variant.ops == nil)
      let times = variant.samples.flatMap { $0 }
      #expect([variant.p50, variant.p90, variant.p99].allSatisfy(times.contains))
      #expect(variant.p50 <= variant.p90 && variant.p90 <= variant.p99)
    }
    #expect(comparison.variants[0].ratio == nil)
    let ratio = try #require(comparison.variants[1].ratio)
    #expect(ratio.value == comparison.variants[1].p50 / comparison.variants[0].p50)
    #expect(throws: UsageError.self) { try benchmark([], BenchmarkOptions()) }
  }

  @Test func operationsHaveTheModelsCosts() throws {
    let report = try Self.compared(profile: true).variants[0]
    let ops = try #require(report.ops)
    #expect(report.sumOfOperations == ops.reduce(0) { $0 + $1.ms })
    // 12.5 million in MLPerf Tiny's table; counted by hand from the shapes of its ten layers.
    #expect(ops.reduce(0) { $0 + $1.cost.multiplyAdds } == 12_501_632)
    #expect(ops.allSatisfy { !$0.cost.isInt8 && $0.cost.bytes > 0 && $0.gigaBytes > 0 })
    let linear = try #require(ops.last { $0.kind == "fused.linear" })
    // 64 inputs, 10 outputs, a bias, all of four bytes.
    #expect(linear.cost.multiplyAdds == 640 && linear.cost.bytes == 4 * (64 + 640 + 10 + 10))
    let peak = try #require(report.peak)
    #expect(peak.threads == 1 && peak.int8 > 0 && peak.float > 0 && peak.read > 0)
    #expect(linear.percentOfArithmetic(peak) == linear.gigaMultiplyAdds.map { 100 * $0 / peak.float })
    #expect(
      report.profileSummary[0].contains(String(format: "sum of operations %.4f ms", report.sumOfOperations ?? 0)))
  }

  @Test func thePageIsWellFormed() throws {
    var comparison = try Self.compared(profile: true)
    comparison.variants[1].model = "<script>&'\".pt2"
    comparison.variants[1].ops?[0].name = "</svg><b>"
    let page = comparison.htmlPage()
    let parser = XMLParser(data: Data(page.utf8))
    #expect(parser.parse(), "\(String(describing: parser.parserError)) in line \(parser.lineNumber)")
    #expect(!page.contains("<script") && !page.contains("http") && !page.contains("<link"))
    // A bar for the whole, for each run of operations on one backend and for each operation, in both charts.
    let bars = try comparison.variants.map { variant in
      let ops = try #require(variant.ops)
      return 2 + ops.count + zip(ops, ops.dropFirst()).count { $0.backend != $1.backend }
    }
    #expect(page.components(separatedBy: "<rect ").count - 1 == bars.reduce(0, +))
    let folder = try TemporaryFolder()
    try comparison.writePage(to: folder.path("page.html"))
    #expect(try String(contentsOfFile: folder.path("page.html"), encoding: .utf8) == page)
    #expect(throws: FormatError.self) { try comparison.writePage(to: folder.path("none/page.html")) }
  }

  @Test func commandLine() throws {
    let folder = try TemporaryFolder()
    let html = folder.path("bench.html")
    let several = try CLI.swiftlet([
      "bench", ResNet8.path, "--threads", "1,2", "--kernels", "auto,xnnpack", "--runs", "4", "--rounds", "2",
      "--json",
      "--html", html,
    ])
    #expect(several.status == 0, "\(several.errors)")
    let comparison = try JSONDecoder().decode(BenchmarkComparison.self, from: Data(several.output.utf8))
    #expect(comparison.variants.map(\.threads) == [1, 1, 2, 2])
    #expect(comparison.variants.map(\.kernels) == ["auto", "xnnpack", "auto", "xnnpack"])
    #expect(comparison.variants.map { $0.ratio == nil } == [true, false, false, false])
    #expect(FileManager.default.fileExists(atPath: html))

    let one = try CLI.swiftlet(["bench", ResNet8.path, "--runs", "2", "--threads", "1", "--json"])
    let keys = try #require(JSONSerialization.jsonObject(with: Data(one.output.utf8)) as? [String: Any]).keys
    #expect(
      Set(keys).isSuperset(of: [
        "model", "threads", "kernels", "runs", "rounds", "p50_ms", "p90_ms", "p99_ms", "round_p50_ms", "load_ms",
        "first_ms", "peak_rss_mb", "memory_growth_mb", "delegated", "fallback",
      ]))
    for wrong in [["--threads", "1,0"], ["--threads", "1,,2"], ["--kernels", "auto,fast"], ["--rounds", "0"]] {
      #expect(try CLI.swiftlet(["bench", ResNet8.path] + wrong).status == 64, "\(wrong)")
    }
  }
}
