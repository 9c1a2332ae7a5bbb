/// `(d + b)//c + e`, which is `(d + b + c·e)//c`: every divisor with the offsets that give a size at all samples.
private struct Quotient {
  let divisor: Int
  /// Offsets `o` of `(d + o)//c`; nothing else is known of them.
  let offsets: ClosedRange<Int>

  /// The offset that is written down: none where none is needed.
  var offset: Int {
    let whole = -Quotient.floor(-offsets.lowerBound, divisor) * divisor
    return whole <= offsets.upperBound ? whole : offsets.lowerBound
  }

  func size(_ d: Int) -> Int { Quotient.floor(d + offset, divisor) }

  /// From which `d` on the size is as large.
  func start(_ size: Int) -> Int { size * divisor - offset }

  /// With the smallest and with the largest offset.
  var ends: (Quotient, Quotient) {
    (
      Quotient(divisor: divisor, offsets: offsets.lowerBound...offsets.lowerBound),
      Quotient(divisor: divisor, offsets: offsets.upperBound...offsets.upperBound)
    )
  }

  static func floor(_ a: Int, _ b: Int) -> Int { a >= 0 ? a / b : -((b - 1 - a) / b) }

  func rule(_ atom: SymbolicSize) -> SymbolicSize {
    let shift = Quotient.floor(offset, divisor)
    return SymbolicSize.call(.floorDivide, [atom.plus(offset - shift * divisor), .int(divisor)]).plus(shift)
  }
}

extension SizeFitter {
  private static let largestDivisor = 1 << 16
  /// Far from overflow, with the largest divisor.
  private static let largestSize = 1 << 40
  /// Sizes that are looked for with an atom's symbols, for one rule.
  private static let searchLimit = 1 << 14

  /// `(d + b)//c + e`
  func quotient(_ index: Int, _ values: [Int]) -> Fit? {
    let (atom, column) = (atoms[index], columns[index])
    let candidates = quotients(column, values)
    guard let first = candidates.first else { return nil }
    let rule = first.rule(atom)
    if isSettled(atom) { return .rule(rule) }
    let range = column.min()!...column.max()!
    var searches = SizeFitter.searchLimit
    // One from the middle, so that the answer rules about half of the others out.
    let pivot = candidates[candidates.count / 2]
    let pairs = [pivot.ends] + candidates.map { (pivot, $0) } + candidates.map(\.ends)
    for (a, b) in pairs {
      let tests = tests(of: a, b, atom, range, &searches)
      if !tests.isEmpty { return .ambiguous(rule, tests: tests) }
    }
    return .rule(rule)
  }

  private func quotients(_ column: [Int], _ values: [Int]) -> [Quotient] {
    // Of the sizes with one value, only the ends matter.
    var ends: [Int: ClosedRange<Int>] = [:]
    for (size, value) in zip(column, values) {
      guard size.magnitude < SizeFitter.largestSize, value.magnitude < SizeFitter.largestSize else { return [] }
      let old = ends[value] ?? size...size
      ends[value] = min(old.lowerBound, size)...max(old.upperBound, size)
    }
    let steps = ends.sorted { $0.key < $1.key }
    let run = column.max()! - column.min()!
    let rise = steps.last!.key - steps[0].key
    guard rise > 0, rise < run else { return [] }
    let largest = min(rise > 1 ? run / (rise - 1) + 1 : run + 1, SizeFitter.largestDivisor)
    let smallest = max(2, run / (rise + 1))
    guard smallest <= largest else { return [] }
    return (smallest...largest).compactMap { divisor in
      var (low, high) = (Int.min, Int.max)
      for (value, sizes) in steps {
        low = max(low, value * divisor - sizes.lowerBound)
        high = min(high, (value + 1) * divisor - sizes.upperBound - 1)
        if low > high { return nil }
      }
      return Quotient(divisor: divisor, offsets: low...high)
    }
  }

  /// Samples where two rules differ: between where one and where the other reaches a size, about in the middle.
  private func tests(
    of a: Quotient, _ b: Quotient, _ atom: SymbolicSize, _ range: ClosedRange<Int>, _ searches: inout Int
  ) -> [[String: Int]] {
    var result: [[String: Int]] = []
    let smallest = min(a.size(range.lowerBound), b.size(range.lowerBound))
    let largest = max(a.size(range.upperBound), b.size(range.upperBound))
    for size in smallest...largest {
      let first = max(min(a.start(size), b.start(size)), range.lowerBound)
      let last = min(max(a.start(size), b.start(size)) - 1, range.upperBound)
      guard first <= last else { continue }
      for part in [first + (last - first) / 2...last, first...last] {
        guard result.count < SizeFitter.testLimit, searches > 0 else { return result }
        searches -= 1
        guard let sample = sample(atom, in: part) else { continue }
        result.append(sample)
        break
      }
    }
    return result
  }

  /// Symbols with which an atom is in a range, one of them varied; found by bisection, as sizes grow with their symbols.
  private func sample(_ atom: SymbolicSize, in sizes: ClosedRange<Int>) -> [String: Int]? {
    for symbol in atom.symbols.sorted() {
      guard let range = bounds[symbol] else { continue }
      var symbols = center
      var (low, high) = (range.lowerBound, range.upperBound)
      while low < high {
        let middle = low + (high - low) / 2
        symbols[symbol] = middle
        guard let value = atom.evaluated(symbols) else { return nil }
        if value < sizes.lowerBound { low = middle + 1 } else { high = middle }
      }
      symbols[symbol] = low
      if let value = atom.evaluated(symbols), sizes.contains(value) { return symbols }
    }
    return nil
  }
}
