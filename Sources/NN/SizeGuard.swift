import SymbolicSizes
import TensorCore

/// A decision that a model made for the example's sizes: the comparison of two sizes.
struct SizeGuard {
  enum Relation: String {
    case equal = "=="
    case less = "<"

    func holds(_ a: Int, _ b: Int) -> Bool { self == .equal ? a == b : a < b }
  }

  let relation: Relation
  let left: SymbolicSize
  let right: SymbolicSize
  /// In the example.
  let holds: Bool
  let module: String
  let location: String

  var symbols: Set<String> { left.symbols.union(right.symbols) }

  var condition: String { "\(left) \(relation.rawValue) \(right)" }

  /// As Python writes it: `s0 == 8`, `not (s0 < 4)`.
  var text: String { holds ? condition : "not (\(condition))" }

  /// Sizes at which the decision is another, or may be; nil when it is the same at all sizes in range.
  ///
  /// Small ranges are tried whole. In others, the difference of two affine expressions has its extremes at the corners of the
  /// range; other expressions cannot be decided, and then the sizes are empty.
  func counterexample(in ranges: [String: RangeConstraint]) -> [String: Int]? {
    let names = symbols.sorted()
    let bounds = names.map { name in
      let low = max(1, ranges[name]?.minimum ?? 1)
      return low...max(low, min(ranges[name]?.maximum ?? SizeGuard.farthest, SizeGuard.farthest))
    }
    let count = bounds.reduce(1) { $0.multipliedReportingOverflow(by: $1.count).overflow ? Int.max : $0 * $1.count }
    if count <= SizeGuard.enumerationLimit { return firstDifference(names, bounds, count) }
    return extremeDifference(names, bounds)
  }

  /// Beyond any tensor, and small enough that sums of products with it do not overflow.
  private static let farthest = 1 << 40
  private static let enumerationLimit = 1 << 16

  private func isSame(at sample: [String: Int]) -> Bool {
    guard let a = left.evaluated(sample), let b = right.evaluated(sample) else { return false }
    return relation.holds(a, b) == holds
  }

  private func firstDifference(_ names: [String], _ bounds: [ClosedRange<Int>], _ count: Int) -> [String: Int]? {
    for index in 0..<count {
      var rest = index
      var sample: [String: Int] = [:]
      for (name, range) in zip(names, bounds) {
        sample[name] = range.lowerBound + rest % range.count
        rest /= range.count
      }
      if !isSame(at: sample) { return sample }
    }
    return nil
  }

  private func extremeDifference(_ names: [String], _ bounds: [ClosedRange<Int>]) -> [String: Int]? {
    func difference(_ sample: [String: Int]) -> Int? {
      guard let a = left.evaluated(sample), let b = right.evaluated(sample) else { return nil }
      let (result, overflow) = a.subtractingReportingOverflow(b)
      return overflow ? nil : result
    }
    let base = Dictionary(uniqueKeysWithValues: zip(names, bounds.map(\.lowerBound)))
    var (lowest, highest) = (base, base)
    for (name, range) in zip(names, bounds) {
      // The slope, if it is the same at both ends and over the whole: then the difference is affine in this size.
      func value(_ size: Int) -> Int? { difference(base.merging([name: size]) { $1 }) }
      guard let first = value(range.lowerBound), let next = value(min(range.lowerBound + 1, range.upperBound)),
        let last = value(range.upperBound), let beforeLast = value(max(range.upperBound - 1, range.lowerBound)),
        next - first == last - beforeLast, (next - first) * (range.count - 1) == last - first, isAffine
      else { return [:] }
      if next > first { highest[name] = range.upperBound } else if next < first { lowest[name] = range.upperBound }
    }
    for sample in [lowest, highest] where !isSame(at: sample) { return sample }
    guard relation == .equal, let low = difference(lowest), let high = difference(highest) else { return nil }
    // Never equal at the extremes; between them only if zero lies there and is reached.
    guard low < 0, high > 0 else { return nil }
    guard names.count == 1, let start = difference(base) else { return [:] }
    let slope = (high - low) / (bounds[0].count - 1) * (start == low ? 1 : -1)
    return start % slope == 0 ? [names[0]: bounds[0].lowerBound - start / slope] : nil
  }

  /// Whether both sides are sums of symbols with constant factors.
  private var isAffine: Bool {
    func check(_ size: SymbolicSize) -> Bool {
      switch size {
      case .int, .symbol: true
      case .call(.add, let operands): operands.allSatisfy(check)
      case .call(.multiply, let operands): operands.allSatisfy(check) && operands.count { !$0.isConstant } <= 1
      case .call: false
      }
    }
    return check(left) && check(right)
  }
}
