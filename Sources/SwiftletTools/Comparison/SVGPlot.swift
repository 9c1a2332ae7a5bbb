import Foundation
import Swiftlet

/// Pieces of the reports' pages: plots as inline SVG, coloured by the page's CSS classes.
enum SVGPlot {
  struct Series {
    let name: String
    /// The CSS class that colours it.
    let style: String
    /// One value per position; nil leaves the position empty.
    let values: [Double?]
  }

  private static let (width, left, right, top, bottom) = (960.0, 52.0, 8.0, 12.0, 22.0)

  /// Dots joined by a line per series, over positions 1…n; values above `ceiling` are drawn there, as triangles.
  static func lines(_ series: [Series], names: [String], unit: String, height: Double = 260) -> String {
    let finite = series.flatMap(\.values).compactMap { $0 }.filter(\.isFinite)
    let ticks = Ticks(low: min(0, finite.min() ?? 0), high: max(10, (finite.max() ?? 10) * 1.05))
    let frame = Frame(ticks: ticks, height: height, count: names.count)
    var body = frame.grid { number($0) + " " + unit }
    for entry in series {
      var path = ""
      var dots = ""
      for (index, value) in entry.values.enumerated() {
        guard let value, !value.isNaN else { continue }
        let (x, y) = (frame.x(index), frame.y(max(ticks.low, min(ticks.high, value))))
        path += (path.isEmpty ? "M" : "L") + "\(point(x)) \(point(y))"
        let shape =
          value.isFinite
          ? "<circle cx='\(point(x))' cy='\(point(y))' r='3.2'>"
          : "<path d='M\(point(x - 4)) \(point(y + 5))h8l-4 -7z'>"
        let text = "\(names[index]): \(entry.name) \(value.isFinite ? number(value) + " " + unit : "no error")"
        dots += shape + "<title>\(escape(text))</title></\(value.isFinite ? "circle" : "path")>"
      }
      body += "<g class='\(entry.style)'><path class='line' d='\(path)'/>\(dots)</g>"
    }
    return svg(body, height: height, label: series.map(\.name).joined(separator: " and "))
  }

  /// Bars of several series, side by side at each position.
  static func bars(
    _ series: [Series], names: [String], height: Double = 200, label: (Double) -> String
  ) -> String {
    let ticks = Ticks(low: 0, high: max(series.flatMap(\.values).compactMap { $0 }.max() ?? 1, 1))
    let frame = Frame(ticks: ticks, height: height, count: names.count)
    let slot = frame.step * 0.8 / Double(max(1, series.count))
    var body = frame.grid(label)
    for (position, entry) in series.enumerated() {
      var shapes = ""
      for (index, value) in entry.values.enumerated() {
        guard let value, value > 0 else { continue }
        let x = frame.x(index) - frame.step * 0.4 + slot * Double(position)
        let y = frame.y(value)
        shapes += "<rect x='\(point(x))' y='\(point(y))' width='\(point(max(1, slot - 1)))'"
        shapes += " height='\(point(height - bottom - y))' rx='1'>"
        shapes += "<title>\(escape("\(names[index]): \(entry.name) \(label(value))"))</title></rect>"
      }
      body += "<g class='\(entry.style)'>\(shapes)</g>"
    }
    return svg(body, height: height, label: series.map(\.name).joined(separator: " and "))
  }

  /// A histogram with logarithmic counts; the quantized range is shaded, and its narrowest channel's ends are dashed.
  static func histogram(_ distribution: ValueDistribution, label: String) -> String {
    let (width, height, base) = (420.0, 130.0, 108.0)
    let shown = [distribution.range, distribution.narrowestRange].compactMap { $0 }
    var low = Double(min(distribution.minimum, shown.map(\.lowerBound).min() ?? distribution.minimum))
    var high = Double(max(distribution.maximum, shown.map(\.upperBound).max() ?? distribution.maximum))
    if !(high > low) { (low, high) = (low - 0.5, low + 0.5) }
    let margin = (high - low) * 0.03
    (low, high) = (low - margin, high + margin)
    func x(_ value: Double) -> Double { 6 + (width - 12) * (value - low) / (high - low) }
    var body = ""
    if let range = distribution.range {
      let (from, to) = (x(Double(range.lowerBound)), x(Double(range.upperBound)))
      body += "<rect class='range' x='\(point(from))' y='8' width='\(point(to - from))' height='\(point(base - 8))'/>"
      for edge in [from, to] { body += "<path class='edge' d='M\(point(edge)) 8V\(point(base))'/>" }
    }
    if let narrow = distribution.narrowestRange {
      for edge in [narrow.lowerBound, narrow.upperBound] {
        body += "<path class='edge dashed' d='M\(point(x(Double(edge)))) 8V\(point(base))'/>"
      }
    }
    let largest = log1p(distribution.counts.max() ?? 1)
    let bin = (Double(distribution.maximum) - Double(distribution.minimum)) / Double(max(1, distribution.counts.count))
    var path = ""
    for (index, count) in distribution.counts.enumerated() where count > 0 {
      let from = x(Double(distribution.minimum) + bin * Double(index))
      let to = max(from + 1, x(Double(distribution.minimum) + bin * Double(index + 1)) - 0.6)
      let y = base - max(1, (base - 14) * log1p(count) / max(largest, 1e-9))
      path += "M\(point(from)) \(point(base))V\(point(y))H\(point(to))V\(point(base))z"
    }
    body += "<path class='bars' d='\(path)'/><path class='axis' d='M6 \(point(base))H\(point(width - 6))'/>"
    var labels: [(Double, String)] = [(x(Double(distribution.minimum)), number(Double(distribution.minimum)))]
    labels.append((x(Double(distribution.maximum)), number(Double(distribution.maximum))))
    if low < 0, high > 0 { labels.append((x(0), "0")) }
    for (position, text) in spaced(labels, width: width) {
      body += "<text x='\(point(position))' y='\(point(base + 15))' text-anchor='middle'>\(text)</text>"
    }
    return "<svg viewBox='0 0 \(point(width)) \(point(height))' role='img' aria-label='\(escape(label))'>\(body)</svg>"
  }

  /// Labels kept inside the plot, and without those that would lie on one before.
  private static func spaced(_ labels: [(Double, String)], width: Double) -> [(Double, String)] {
    var kept: [(Double, String)] = []
    for (position, text) in labels {
      let half = Double(text.count) * 3.4
      let position = min(max(position, half + 2), width - half - 2)
      if kept.allSatisfy({ abs($0.0 - position) > half + Double($0.1.count) * 3.4 + 4 }) {
        kept.append((position, text))
      }
    }
    return kept
  }

  // MARK: Frames

  /// Round values that an axis is marked at.
  struct Ticks {
    let low: Double
    let high: Double
    let values: [Double]

    init(low: Double, high: Double) {
      let raw = max(high - low, 1e-12) / 5
      let power = pow(10, log10(raw).rounded(.down))
      let step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= raw } ?? raw
      let first = (low / step).rounded(.down)
      let last = (high / step).rounded(.up)
      self.low = first * step
      self.high = last * step
      values = stride(from: first, through: last, by: 1).map { $0 * step }
    }
  }

  private struct Frame {
    let ticks: Ticks
    let height: Double
    let count: Int

    var step: Double { (width - left - right) / Double(max(1, count)) }
    func x(_ index: Int) -> Double { left + step * (Double(index) + 0.5) }
    func y(_ value: Double) -> Double {
      height - bottom - (height - bottom - top) * (value - ticks.low) / (ticks.high - ticks.low)
    }

    func grid(_ label: (Double) -> String) -> String {
      var body = ""
      for tick in ticks.values {
        let y = point(y(tick))
        body += "<path class='grid' d='M\(point(left)) \(y)H\(point(width - right))'/>"
        body += "<text x='\(point(left - 6))' y='\(y)' dy='0.32em' text-anchor='end'>\(label(tick))</text>"
      }
      let every = max(1, (count + 15) / 16)
      for index in Swift.stride(from: 0, to: count, by: every) {
        body += "<text x='\(point(x(index)))' y='\(point(height - 6))' text-anchor='middle'>\(index + 1)</text>"
      }
      return body
    }
  }

  static func svg(_ body: String, height: Double, label: String) -> String {
    "<svg viewBox='0 0 \(point(width)) \(point(height))' role='img' aria-label='\(escape(label))'>\(body)</svg>"
  }

  static func point(_ value: Double) -> String { String(format: "%.1f", value) }

  static func number(_ value: Double) -> String { String(format: "%.3g", value) }

  /// Text for an element or attribute; characters that XML forbids become U+FFFD.
  static func escape(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      case "\t", "\n", "\r", "\u{20}"..."\u{FFFD}", "\u{10000}"..."\u{10FFFF}": result.unicodeScalars.append(scalar)
      default: result += "\u{FFFD}"
      }
    }
    return result
  }
}
