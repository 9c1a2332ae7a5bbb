import Foundation

#if canImport(Glibc)
  import Glibc
#endif

/// What the user sees: tables on stdout, notes and progress on stderr.
enum Terminal {
  static func note(_ text: String) {
    FileHandle.standardError.write(Data((text + "\n").utf8))
  }

  static func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
  }

  /// Rows in aligned columns; the first column is left-aligned, the others right-aligned.
  static func table(_ rows: [[String]]) -> String {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
    return rows.map { row in
      row.enumerated().map { column, cell in
        let blank = String(repeating: " ", count: widths[column] - cell.count)
        return column == 0 ? cell + blank : blank + cell
      }.joined(separator: "  ")
    }.joined(separator: "\n")
  }

  static func number(_ value: Double, _ digits: Int = 2) -> String { String(format: "%.\(digits)f", value) }

  /// With a unit that leaves some digits: inferences take from a microsecond to minutes.
  static func duration(milliseconds: Double) -> String {
    milliseconds < 1 ? number(milliseconds * 1e3) + " µs" : number(milliseconds) + " ms"
  }

  static func bytes(_ count: Int) -> String {
    count < 1_000_000 ? number(Double(count) / 1e3, 1) + " kB" : number(Double(count) / 1e6, 2) + " MB"
  }

  /// How large a planned arena is, beside the most that is alive at one time.
  static func arena(_ byteCount: Int, lowerBound: Int) -> String {
    let ratio = lowerBound > 0 ? Double(byteCount) / Double(lowerBound) : 1
    return "arena \(bytes(byteCount)), lower bound \(bytes(lowerBound)), ratio \(number(ratio, 3))"
  }
}

/// A bar that redraws itself on a terminal, and stays silent where stderr is a file.
struct ProgressBar {
  private let title: String
  private let isVisible = isatty(STDERR_FILENO) == 1

  init(_ title: String) { self.title = title }

  func update(_ done: Int, of count: Int) {
    guard isVisible, count > 0 else { return }
    let width = 30
    let filled = width * done / count
    let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
    FileHandle.standardError.write(Data("\r\(title) [\(bar)] \(done)/\(count)\(done == count ? "\n" : "")".utf8))
  }
}
