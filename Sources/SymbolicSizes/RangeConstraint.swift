/// The values that a symbol, or an expression of symbols, may take. Nil where there is no bound.
package struct RangeConstraint: Hashable, Sendable {
  package let minimum: Int?
  package let maximum: Int?

  package init(minimum: Int?, maximum: Int?) {
    self.minimum = minimum
    self.maximum = maximum
  }

  package func contains(_ value: Int) -> Bool { (minimum ?? .min) <= value && value <= (maximum ?? .max) }
}

extension RangeConstraint {
  private static let largestSample = 1 << 28

  /// Values in the range to try a rule at: all, where there are not more than `limit`; else the smallest and the largest, those
  /// around `hint`, and others between, in ascending order. An open end, as one that no memory holds, is taken to be 4096
  /// beyond the hint.
  package func samples(around hint: Int, limit: Int) -> [Int] {
    let low = max(minimum ?? 0, 0)
    let farthest = max(hint, low).addingReportingOverflow(4096)
    let open = farthest.overflow ? Int.max : farthest.partialValue
    let high = maximum.map { $0 > RangeConstraint.largestSample ? min($0, open) : $0 } ?? open
    guard low <= high else { return [hint] }
    let (span, overflow) = high.subtractingReportingOverflow(low)
    if !overflow, span < limit { return Array(low...high) }
    let small = max(1, limit / 2)
    var result = Set(
      (0..<small).map { low &+ $0 }
        + [high &- 2, high &- 1, high, hint &- 1, hint, hint &+ 1].filter { low <= $0 && $0 <= high })
    // An odd distance, so that no small divisor stays unseen.
    let step = max(1, span / max(1, limit - small)) | 1
    var value = low + small
    while value < high - step, result.count < limit + 6 {
      result.insert(value)
      value += step
    }
    return result.sorted()
  }

  /// Values of several symbols to try a rule at: each symbol's samples with the others at their hints, then all at once.
  package static func samples(
    _ ranges: [String: RangeConstraint], hints: [String: Int], limit: Int
  ) -> [[String: Int]] {
    var result = [hints]
    let lists = hints.keys.sorted().map { name in
      (name, (ranges[name] ?? RangeConstraint(minimum: nil, maximum: nil)).samples(around: hints[name]!, limit: limit))
    }
    for (name, values) in lists {
      for value in values where value != hints[name] { result.append(hints.merging([name: value]) { $1 }) }
    }
    if lists.count > 1 {
      for index in 0..<limit {
        var sample: [String: Int] = [:]
        for (offset, (name, values)) in lists.enumerated() {
          sample[name] = values[(index * (2 * offset + 1) + offset) % values.count]
        }
        result.append(sample)
      }
    }
    return result
  }
}
