import Foundation
import Swiftlet

/// Plots of a benchmark as inline SVG, coloured by the page's CSS classes.
enum BenchmarkPlots {
  /// The CSS class of a backend's colour.
  static func style(_ backend: String) -> String {
    switch Method.Backend(rawValue: backend) {
    case .native: "a"
    case .xnnpack: "b"
    case .portable, nil: "c"
    }
  }

  // MARK: Times of whole inferences

  /// A histogram a variant, one below the other over one axis of milliseconds, the median drawn in. Times beyond the
  /// largest 99th percentile are counted in the last bin.
  static func distributions(_ variants: [BenchmarkReport], labels: [String]) -> String {
    let (width, rowHeight, left, right, bins) = (960.0, 74.0, 8.0, 8.0, 120)
    let times = variants.map { $0.samples.flatMap { $0 } }
    let ticks = SVGPlot.Ticks(
      low: times.compactMap { $0.min() }.min() ?? 0, high: variants.map(\.p99).filter(\.isFinite).max() ?? 1)
    func x(_ value: Double) -> Double {
      left + (width - left - right) * (min(value, ticks.high) - ticks.low) / (ticks.high - ticks.low)
    }
    let height = rowHeight * Double(variants.count) + 24
    var body = ""
    for tick in ticks.values {
      let position = SVGPlot.point(x(tick))
      body += "<path class='grid' d='M\(position) 4V\(SVGPlot.point(height - 20))'/>"
      let anchor = tick == ticks.low ? "start" : tick == ticks.high ? "end" : "middle"
      body += "<text x='\(position)' y='\(SVGPlot.point(height - 6))' text-anchor='\(anchor)'>"
      body += "\(SVGPlot.number(tick)) ms</text>"
    }
    let bin = (ticks.high - ticks.low) / Double(bins)
    for (row, variant) in variants.enumerated() {
      var counts = [Int](repeating: 0, count: bins)
      for time in times[row] { counts[max(0, min(bins - 1, Int((min(time, ticks.high) - ticks.low) / bin)))] += 1 }
      let (base, largest) = (rowHeight * Double(row + 1), Double(counts.max() ?? 1))
      var path = ""
      for (index, count) in counts.enumerated() where count > 0 {
        let (from, to) = (x(ticks.low + bin * Double(index)), x(ticks.low + bin * Double(index + 1)))
        let top = base - max(1, (rowHeight - 28) * Double(count) / largest)
        path += "M\(SVGPlot.point(from)) \(SVGPlot.point(base))V\(SVGPlot.point(top))H\(SVGPlot.point(to - 0.5))"
        path += "V\(SVGPlot.point(base))z"
      }
      let middle = SVGPlot.point(x(variant.p50))
      body += "<path class='a' d='\(path)'/><path class='axis' d='M8 \(SVGPlot.point(base))H952'/>"
      body += "<path class='median' d='M\(middle) \(SVGPlot.point(base - rowHeight + 22))V\(SVGPlot.point(base))'/>"
      body += "<text class='name' x='10' y='\(SVGPlot.point(base - rowHeight + 16))'>\(SVGPlot.escape(labels[row]))"
      body += " · p50 \(SVGPlot.number(variant.p50)) ms</text>"
    }
    return SVGPlot.svg(body, height: height, label: "times of inferences")
  }

  // MARK: Times of operations

  /// The whole inference, below it its parts on one backend each, below those the operations in execution order; as wide
  /// as they take time.
  static func flame(_ ops: [BenchmarkReport.OperationTime], peak: MachinePeak?) -> String {
    let (left, width, rowHeight) = (8.0, 944.0, 30.0)
    let total = max(ops.reduce(0) { $0 + $1.ms }, 1e-9)
    var body = ""
    func bar(_ row: Int, _ start: Double, _ ms: Double, style: String, name: String, text: String) {
      let (x, length, y) = (left + width * start / total, width * ms / total, 4 + rowHeight * Double(row))
      body += "<rect class='\(style)' x='\(SVGPlot.point(x))' y='\(SVGPlot.point(y))' rx='2'"
      body += " width='\(String(format: "%.2f", max(length, 0.2)))' height='\(SVGPlot.point(rowHeight - 2))'>"
      body += "<title>\(SVGPlot.escape(text))</title></rect>"
      let letters = Int((length - 8) / 6)
      guard letters >= 3 else { return }
      let shown = name.count <= letters ? name : String(name.prefix(letters - 1)) + "…"
      body += "<text x='\(SVGPlot.point(x + 4))' y='\(SVGPlot.point(y + 18))'>\(SVGPlot.escape(shown))</text>"
    }
    let whole = "\(ops.count) operations, \(milliseconds(total))"
    bar(0, 0, total, style: "whole", name: whole, text: whole)
    var start = 0.0
    for part in parts(ops) {
      let ms = ops[part].reduce(0) { $0 + $1.ms }
      let backend = ops[part.lowerBound].backend
      let text = "\(backend): \(part.count) operations, \(milliseconds(ms)), \(percent(ms / total))"
      bar(1, start, ms, style: style(backend), name: text, text: text)
      start += ms
    }
    start = 0
    for op in ops {
      bar(2, start, op.ms, style: style(op.backend), name: op.name, text: tooltip(op, total: total, peak: peak))
      start += op.ms
    }
    return "<div class='flame'>"
      + SVGPlot.svg(body, height: 3 * rowHeight + 8, label: "times of operations in execution order") + "</div>"
  }

  /// Runs of operations on one backend.
  private static func parts(_ ops: [BenchmarkReport.OperationTime]) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    for (index, op) in ops.enumerated() {
      if let last = parts.last, ops[last.lowerBound].backend == op.backend {
        parts[parts.count - 1] = last.lowerBound..<index + 1
      } else {
        parts.append(index..<index + 1)
      }
    }
    return parts
  }

  private static func tooltip(_ op: BenchmarkReport.OperationTime, total: Double, peak: MachinePeak?) -> String {
    var lines = ["\(op.name) (\(op.kind), \(op.backend))", "\(milliseconds(op.ms)), \(percent(op.ms / total))"]
    if let rate = op.gigaMultiplyAdds {
      let share = peak.flatMap(op.percentOfArithmetic).map { ", \(percent($0 / 100)) of the peak" } ?? ""
      lines.append(String(format: "%.3f MMAC, %.1f GMAC/s", Double(op.cost.multiplyAdds) * 1e-6, rate) + share)
    }
    lines.append("\(ModelComparison.bytes(Double(op.cost.bytes))), " + String(format: "%.1f GB/s", op.gigaBytes))
    return lines.joined(separator: "\n")
  }

  static func milliseconds(_ value: Double) -> String { String(format: "%.4f ms", value) }
  static func percent(_ fraction: Double) -> String { String(format: "%.1f %%", 100 * fraction) }
}
