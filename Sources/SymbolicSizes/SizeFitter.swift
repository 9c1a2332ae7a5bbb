/// Finds how a size follows from others, from what it is at several values of the symbols.
///
/// Operators say what their outputs' sizes are for given numbers. Asked at many sizes, they tell the rule as well: a
/// constant, another size, `a·d + b`, `(d + b)//c + e` (convolution, pooling), sums (concatenation) or products
/// (flattening) of sizes. A rule is right at every sample; where the samples are all values of a range, it is proved.
/// Where they are not, and several rules would do, the fitter names sizes that tell them apart.
package struct SizeFitter {
  package enum Fit: Hashable, Sendable {
    case rule(SymbolicSize)
    /// Another rule gives the same sizes at all samples, but not with these symbols. Any of the tests, once it is a sample,
    /// rules one of the two out; where none of them is possible, the rule is as good as the other.
    case ambiguous(SymbolicSize, tests: [[String: Int]])
    case none
  }

  let atoms: [SymbolicSize]
  /// What each atom is at each sample.
  let columns: [[Int]]
  /// Where another atom, equal at all samples, differs from an atom.
  private var rivals: [Int: [[String: Int]]] = [:]
  /// The values of the symbols around which one alone is varied.
  let center: [String: Int]
  /// The smallest and largest value of each symbol, between which a rule has to hold.
  let bounds: [String: ClosedRange<Int>]
  /// Symbols of which every value between the bounds is among the samples.
  private let settled: Set<String>

  static let testLimit = 8
  private static let scanLimit = 4096
  private static let largestProduct = 4
  private static let productAtoms = 10

  /// - Parameters:
  ///   - atoms: what a rule may refer to, preferred ones first. Those without a value at one of the samples are left out.
  ///   - samples: values of all symbols; the sizes given to `rule(for:)` are parallel to it.
  ///   - limit: different atoms that are considered.
  package init(atoms: [SymbolicSize], samples: [[String: Int]], limit: Int = .max) {
    center = samples.first ?? [:]
    var bounds: [String: ClosedRange<Int>] = [:]
    var settled: Set<String> = []
    for symbol in center.keys {
      let values = Set(samples.compactMap { $0[symbol] })
      guard let low = values.min(), let high = values.max(), low > .min / 2, high < .max / 2 else { continue }
      bounds[symbol] = low...high
      if high - low == values.count - 1 { settled.insert(symbol) }
    }
    self.bounds = bounds
    self.settled = settled
    var kept: [SymbolicSize] = []
    var columns: [[Int]] = []
    var seen: Set<SymbolicSize> = []
    var positions: [[Int]: Int] = [:]
    for atom in atoms where !atom.isConstant && kept.count < limit && seen.insert(atom).inserted {
      let column = samples.compactMap { atom.evaluated($0) }
      guard column.count == samples.count else { continue }
      guard let twin = positions[column] else {
        positions[column] = kept.count
        kept.append(atom)
        columns.append(column)
        continue
      }
      guard rivals[twin] == nil else { continue }
      let tests = SizeFitter.differences(kept[twin], atom, center, bounds.filter { !settled.contains($0.key) })
      if !tests.isEmpty { rivals[twin] = tests }
    }
    self.atoms = kept
    self.columns = columns
  }

  /// Values of one symbol, the others at the center, where two sizes differ.
  private static func differences(
    _ a: SymbolicSize, _ b: SymbolicSize, _ center: [String: Int], _ bounds: [String: ClosedRange<Int>]
  ) -> [[String: Int]] {
    var result: [[String: Int]] = []
    for symbol in a.symbols.union(b.symbols).sorted() {
      guard let range = bounds[symbol] else { continue }
      // An odd distance, so that no small divisor stays unseen.
      let span = range.upperBound - range.lowerBound
      let step = span < scanLimit ? 1 : (span / scanLimit) | 1
      var symbols = center
      for value in stride(from: range.lowerBound, through: range.upperBound, by: step) {
        symbols[symbol] = value
        guard a.evaluated(symbols) != b.evaluated(symbols) else { continue }
        result.append(symbols)
        if result.count == testLimit { return result }
      }
    }
    return result
  }

  /// Whether every value that the atom can have is among the samples.
  func isSettled(_ atom: SymbolicSize) -> Bool { atom.symbols.isSubset(of: settled) && atom.symbols.count == 1 }

  /// The rule that gives these sizes, one for each sample; none when there is none of the known forms.
  package func rule(for values: [Int]) -> Fit {
    guard let first = values.first else { return .none }
    if values.allSatisfy({ $0 == first }) { return .rule(.int(first)) }
    if let index = columns.firstIndex(of: values) { return fit(atoms[index], of: [index]) }
    for index in atoms.indices {
      if let rule = affine(atoms[index], columns[index], values) { return fit(rule, of: [index]) }
    }
    for index in atoms.indices {
      guard let found = quotient(index, values) else { continue }
      if case .rule(let rule) = found { return fit(rule, of: [index]) }
      return found
    }
    return sum(values) ?? product(values) ?? .none
  }

  /// A rule that refers to these atoms, ambiguous if one of them is.
  private func fit(_ rule: SymbolicSize, of group: [Int]) -> Fit {
    for index in group {
      if let tests = rivals[index] { return .ambiguous(rule, tests: tests) }
    }
    return .rule(rule)
  }

  /// `a·d + b`
  private func affine(_ atom: SymbolicSize, _ column: [Int], _ values: [Int]) -> SymbolicSize? {
    guard let other = column.firstIndex(where: { $0 != column[0] }) else { return nil }
    guard let rise = SizeFitter.difference(values[other], values[0]),
      let run = SizeFitter.difference(column[other], column[0]), rise != .min, rise % run == 0
    else { return nil }
    let factor = rise / run
    func rest(_ size: Int, _ value: Int) -> Int? {
      SizeFitter.product([factor, size]).flatMap { SizeFitter.difference(value, $0) }
    }
    guard let base = rest(column[0], values[0]), zip(column, values).allSatisfy({ rest($0, $1) == base }) else {
      return nil
    }
    return atom.times(factor).plus(base)
  }

  /// `d₁ + d₂ + b`, or the sum of all atoms.
  private func sum(_ values: [Int]) -> Fit? {
    var groups = [Array(atoms.indices)]
    for a in atoms.indices { for b in atoms.indices where a < b { groups.append([a, b]) } }
    for group in groups where group.count > 1 {
      let rests = values.indices.map { sample in
        group.reduce(Optional(values[sample])) { rest, atom in
          rest.flatMap { SizeFitter.difference($0, columns[atom][sample]) }
        }
      }
      guard let rest = rests[0], rests.allSatisfy({ $0 == rest }) else { continue }
      return fit(SymbolicSize.call(.add, group.map { atoms[$0] }).plus(rest), of: group)
    }
    return nil
  }

  /// `d₁·d₂·…·n//m`, of few sizes rather than many; a size may come several times.
  private func product(_ values: [Int]) -> Fit? {
    var groups: [[Int]] = [[]]
    for _ in 0..<SizeFitter.largestProduct {
      groups = groups.flatMap { group in
        ((group.last ?? 0)..<max(group.last ?? 0, min(atoms.count, SizeFitter.productAtoms))).map { group + [$0] }
      }
      for group in groups {
        if let rule = product(values, group) { return fit(rule, of: group) }
      }
    }
    return nil
  }

  private func product(_ values: [Int], _ group: [Int]) -> SymbolicSize? {
    let products = values.indices.compactMap { sample in SizeFitter.product(group.map { columns[$0][sample] }) }
    guard products.count == values.count, let sample = products.firstIndex(where: { $0 > 0 }), values[sample] > 0
    else { return nil }
    let divisor = SizeFitter.greatestCommonDivisor(values[sample], products[sample])
    let (numerator, denominator) = (values[sample] / divisor, products[sample] / divisor)
    let isRule = zip(products, values).allSatisfy { product, value in
      let left = SizeFitter.product([value, denominator])
      return left != nil && left == SizeFitter.product([product, numerator])
    }
    guard isRule else { return nil }
    let whole = (group.count == 1 ? atoms[group[0]] : .call(.multiply, group.map { atoms[$0] })).times(numerator)
    return denominator == 1 ? whole : .call(.floorDivide, [whole, .int(denominator)])
  }

  /// Nil on overflow.
  private static func product(_ factors: [Int]) -> Int? {
    factors.reduce(1) { result, factor in
      guard let result else { return nil }
      let (product, overflow) = result.multipliedReportingOverflow(by: factor)
      return overflow ? nil : product
    }
  }

  /// Nil on overflow.
  private static func difference(_ a: Int, _ b: Int) -> Int? {
    let (difference, overflow) = a.subtractingReportingOverflow(b)
    return overflow ? nil : difference
  }

  private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
    var (a, b) = (a, b)
    while b != 0 { (a, b) = (b, a % b) }
    return max(1, a)
  }
}

extension SymbolicSize {
  /// The sum with a number, written without `+ 0`.
  package func plus(_ number: Int) -> SymbolicSize {
    switch self {
    case .int(let value): .int(value &+ number)
    case .call(.add, let operands):
      if case .int(let old)? = operands.last {
        operands.count == 2
          ? operands[0].plus(old &+ number) : SymbolicSize.call(.add, Array(operands.dropLast())).plus(old &+ number)
      } else {
        number == 0 ? self : .call(.add, operands + [.int(number)])
      }
    default: number == 0 ? self : .call(.add, [self, .int(number)])
    }
  }

  /// The product with a number, written without `1*`.
  package func times(_ number: Int) -> SymbolicSize {
    switch self {
    case .int(let value): .int(value &* number)
    case .call(.multiply, let operands):
      if case .int(let old)? = operands.first {
        operands.count == 2
          ? operands[1].times(old &* number)
          : SymbolicSize.call(.multiply, Array(operands.dropFirst())).times(old &* number)
      } else {
        number == 1 ? self : .call(.multiply, [.int(number)] + operands)
      }
    default: number == 1 ? self : .call(.multiply, [.int(number), self])
    }
  }
}
