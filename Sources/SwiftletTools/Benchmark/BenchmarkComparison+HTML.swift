import Foundation
import Swiftlet

extension BenchmarkComparison {
  /// Writes `htmlPage()` to a file, which takes the place of an old one when it is complete. Throws when it cannot be
  /// written.
  public func writePage(to path: String) throws(FormatError) {
    let file = try AtomicFile(path)
    try file.write([UInt8](htmlPage().utf8))
    try file.commit()
  }

  /// One HTML page that needs nothing else, well-formed as XML: summary, times of whole inferences, and where operations
  /// were timed, a chart of them in execution order and a table, for each variant.
  public func htmlPage() -> String {
    let names = labels
    return HTMLPage.page(
      title: "Benchmark: \(names.first ?? "")",
      """
      <header><h1>Benchmark</h1><p class="sub">\(names.map(SVGPlot.escape).joined(separator: " · "))</p></header>
      \(tiles)
      \(loadNote)
      <section><h2>Variants</h2><p class="sub">\(method)</p>\(table(names))</section>
      <section><h2>Times of whole inferences</h2><p class="sub">Each time of every round; the line is the median. Times
      beyond the axis are in the last bin.</p>\(BenchmarkPlots.distributions(variants, labels: names))</section>
      \(zip(names, variants).map(operations).joined(separator: "\n"))
      """)
  }

  private var tiles: String {
    guard let first = variants.first else { return "" }
    func number(_ value: Double, _ digits: Int = 2) -> String { String(format: "%.\(digits)f", value) }
    return HTMLPage.tiles([
      (
        "Median", number(first.p50, 3) + " ms",
        "p90 \(number(first.p90, 3)), p99 \(number(first.p99, 3)); \(first.threads) thread\(first.threads == 1 ? "" : "s")"
      ),
      ("Load and first inference", number(first.load + first.first, 1) + " ms", "load \(number(first.load, 1)) ms"),
      ("Memory growth", number(first.memoryGrowth, 1) + " MB", "peak \(number(first.peakMemory, 1)) MB"),
      (
        "Delegated", "\(first.delegated.nodes) nodes",
        "\(first.delegated.subgraphs) subgraphs, \(first.fallback.count) nodes portable"
      ),
    ])
  }

  private var loadNote: String {
    guard let load, load > 0.5 else { return "" }
    return "<p class='note'>The load average was \(String(format: "%.2f", load)) per processor: others took time from "
      + "what was measured.</p>"
  }

  private var method: String {
    guard let first = variants.first else { return "" }
    return
      "\(first.runs) timed inferences each, in \(first.rounds) rounds; in every round each variant ran once, in an "
      + "order shuffled anew. Ratio: of medians, to the first; interval: 95 %, bootstrap over rounds, seed \(seed)."
  }

  private func table(_ names: [String]) -> String {
    let rows = zip(names, variants).map { name, variant in
      var interval = "–"
      if let low = variant.ratio?.low, let high = variant.ratio?.high {
        interval = String(format: "%.3f–%.3f", low, high)
      }
      return [
        SVGPlot.escape(name), String(format: "%.3f", variant.p50), String(format: "%.3f", variant.p90),
        String(format: "%.3f", variant.p99), variant.ratio.map { String(format: "%.3f", $0.value) } ?? "1", interval,
        String(format: "%.1f", variant.load), String(format: "%.2f", variant.first),
        String(format: "%.1f", variant.memoryGrowth),
      ]
    }
    let titles = ["variant", "p50 ms", "p90 ms", "p99 ms", "ratio", "interval", "load ms", "first ms", "memory MB"]
    return HTMLPage.table(titles, rows, leftAligned: 1)
  }

  private func operations(_ label: String, _ variant: BenchmarkReport) -> String {
    guard let ops = variant.ops else { return "" }
    let total = max(variant.sumOfOperations ?? 0, 1e-9)
    let rows = ops.enumerated().map { index, op in
      [
        "\(index + 1)", SVGPlot.escape(op.name), SVGPlot.escape(op.kind), op.backend, String(format: "%.4f", op.ms),
        String(format: "%.1f", 100 * op.ms / total), String(format: "%.3f", Double(op.cost.multiplyAdds) * 1e-6),
        ModelComparison.bytes(Double(op.cost.bytes)), op.gigaMultiplyAdds.map { String(format: "%.1f", $0) } ?? "–",
        variant.peak.flatMap(op.percentOfArithmetic).map { String(format: "%.1f", $0) } ?? "–",
        String(format: "%.1f", op.gigaBytes),
        variant.peak.map { String(format: "%.0f", op.percentOfMemory($0)) } ?? "–",
      ]
    }
    let titles = [
      "#", "operation", "kind", "backend", "ms", "%", "MMAC", "bytes", "GMAC/s", "% peak", "GB/s", "% read",
    ]
    return """
      <section><h2>Operations of \(SVGPlot.escape(label))</h2>
      <p class="legend"><i class="a"></i>kernels of the delegate's own <i class="b"></i>XNNPACK <i class="c"></i>portable
      kernels. In execution order, as wide as they take time; rest the pointer on one for its figures.</p>
      \(BenchmarkPlots.flame(ops, peak: variant.peak))
      <p class="sub">\(variant.profileSummary.map(SVGPlot.escape).joined(separator: ".<br/>")).</p>
      \(HTMLPage.table(titles, rows, leftAligned: 4))</section>
      """
  }
}
