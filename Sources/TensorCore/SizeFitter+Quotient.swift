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
  private static let searchLimit = 512

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
    for candidate in [pivot] + candidates {
      let offsets = tests(ofOffsets: candidate, atom, range, &searches)
      if !offsets.isEmpty { return .ambiguous(rule, tests: offsets) }
      let others = tests(of: pivot, candidate, atom, range, &searches)
      if !others.isEmpty { return .ambiguous(rule, tests: others) }
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

  /// Samples that tell the offsets of one divisor apart, about halving them.
  private func tests(
    ofOffsets quotient: Quotient, _ atom: SymbolicSize, _ range: ClosedRange<Int>, _ searches: inout Int
  ) -> [[String: Int]] {
    let (low, high) = (quotient.offsets.lowerBound, quotient.offsets.upperBound)
    var result: [[String: Int]] = []
    for distance in 0..<(high - low) where result.count < SizeFitter.testLimit && searches > 0 {
      // Offsets from this one on give one more where `size + offset` is a multiple of the divisor.
      let middle = low + 1 + (high - low - 1) / 2
      let offset = distance % 2 == 0 ? middle + distance / 2 : middle - (distance + 1) / 2
      guard low < offset, offset <= high else { continue }
      var size = -Quotient.floor(-(range.lowerBound + offset), quotient.divisor) * quotient.divisor - offset
      for _ in 0..<4 where range.contains(size) && searches > 0 {
        searches -= 1
        if let sample = sample(atom, size) {
          result.append(sample)
          break
        }
        size += quotient.divisor
      }
    }
    return result
  }

  /// Samples where two rules differ. Both rise by one at a time: they differ at a step of one of them, if at all.
  private func tests(
    of a: Quotient, _ b: Quotient, _ atom: SymbolicSize, _ range: ClosedRange<Int>, _ searches: inout Int
  ) -> [[String: Int]] {
    var result: [[String: Int]] = []
    for quotient in [a, b] {
      let first = -Quotient.floor(-(range.lowerBound + quotient.offset), quotient.divisor) * quotient.divisor
      for step in stride(from: first - quotient.offset, through: range.upperBound, by: quotient.divisor) {
        for size in [step - 1, step] where range.contains(size) && a.size(size) != b.size(size) {
          guard result.count < SizeFitter.testLimit, searches > 0 else { return result }
          searches -= 1
          if let sample = sample(atom, size) { result.append(sample) }
        }
      }
    }
    return result
  }

  /// Symbols with which an atom has a size, one of them varied; found by bisection, as sizes grow with their symbols.
  private func sample(_ atom: SymbolicSize, _ size: Int) -> [String: Int]? {
    for symbol in atom.symbols.sorted() {
      guard let range = bounds[symbol] else { continue }
      var symbols = center
      var (low, high) = (range.lowerBound, range.upperBound)
      while low < high {
        let middle = low + (high - low) / 2
        symbols[symbol] = middle
        guard let value = atom.evaluated(symbols) else { return nil }
        if value < size { low = middle + 1 } else { high = middle }
      }
      symbols[symbol] = low
      if atom.evaluated(symbols) == size { return symbols }
    }
    return nil
  }
}
