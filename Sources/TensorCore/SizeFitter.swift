/// Finds how a size follows from others, from what it is at several values of the symbols.
///
/// Operators say what their outputs' sizes are for given numbers. Asked at many sizes, they tell the rule as well: a
/// constant, another size, `a·d + b`, `(d + b)//c + e` (convolution, pooling), sums (concatenation) or products
/// (flattening) of sizes. A rule is right at every sample; where the samples are all values of a range, it is proved.
public struct SizeFitter {
  private let atoms: [SymbolicSize]
  /// What each atom is at each sample.
  private let columns: [[Int]]

  private static let largestDivisor = 1024
  private static let largestProduct = 4

  /// - Parameters:
  ///   - atoms: what a rule may refer to. Those without a value at one of the samples are left out.
  ///   - samples: values of all symbols; the sizes given to `fit` are parallel to it.
  public init(atoms: [SymbolicSize], samples: [[String: Int]]) {
    var kept: [(SymbolicSize, [Int])] = []
    for atom in atoms where !atom.isConstant && !kept.contains(where: { $0.0 == atom }) {
      let column = samples.compactMap { atom.evaluated($0) }
      if column.count == samples.count { kept.append((atom, column)) }
    }
    self.atoms = kept.map(\.0)
    self.columns = kept.map(\.1)
  }

  /// The rule that gives these sizes, one for each sample; nil when there is none of the known forms.
  public func fit(_ values: [Int]) -> SymbolicSize? {
    guard let first = values.first else { return nil }
    if values.allSatisfy({ $0 == first }) { return .int(first) }
    if let index = columns.firstIndex(of: values) { return atoms[index] }
    for (atom, column) in zip(atoms, columns) {
      if let rule = affine(atom, column, values) { return rule }
    }
    for (atom, column) in zip(atoms, columns) {
      if let rule = quotient(atom, column, values) { return rule }
    }
    return sum(values) ?? product(values)
  }

  /// `a·d + b`
  private func affine(_ atom: SymbolicSize, _ column: [Int], _ values: [Int]) -> SymbolicSize? {
    guard let other = column.firstIndex(where: { $0 != column[0] }) else { return nil }
    let (rise, run) = (values[other] - values[0], column[other] - column[0])
    guard rise % run == 0 else { return nil }
    let factor = rise / run
    guard let base = SizeFitter.product([factor, column[0]]).map({ values[0] - $0 }),
      zip(column, values).allSatisfy({ SizeFitter.product([factor, $0]).map { $0 + base } == $1 })
    else { return nil }
    return atom.times(factor).plus(base)
  }

  /// `(d + b)//c + e`
  private func quotient(_ atom: SymbolicSize, _ column: [Int], _ values: [Int]) -> SymbolicSize? {
    let run = column.max()! - column.min()!
    let rise = values.max()! - values.min()!
    guard rise > 0, rise < run else { return nil }
    for divisor in 2...SizeFitter.largestDivisor where abs(run / divisor - rise) <= 1 {
      for offset in 0..<divisor {
        func floor(_ size: Int) -> Int { (size + offset) / divisor }
        let shift = values[0] - floor(column[0])
        guard zip(column, values).allSatisfy({ floor($0) + shift == $1 }) else { continue }
        return SymbolicSize.call(.floorDivide, [atom.plus(offset), .int(divisor)]).plus(shift)
      }
    }
    return nil
  }

  /// `d₁ + d₂ + b`, or the sum of all atoms.
  private func sum(_ values: [Int]) -> SymbolicSize? {
    var groups = [Array(atoms.indices)]
    for a in atoms.indices { for b in atoms.indices where a < b { groups.append([a, b]) } }
    for group in groups where group.count > 1 {
      let rests = values.indices.map { sample in values[sample] - group.reduce(0) { $0 + columns[$1][sample] } }
      guard rests.allSatisfy({ $0 == rests[0] }) else { continue }
      return SymbolicSize.call(.add, group.map { atoms[$0] }).plus(rests[0])
    }
    return nil
  }

  /// `d₁·d₂·…·n//m`
  private func product(_ values: [Int]) -> SymbolicSize? {
    for mask in 1..<(1 << min(atoms.count, 10)) where mask.nonzeroBitCount <= SizeFitter.largestProduct {
      let group = atoms.indices.filter { mask & (1 << $0) != 0 }
      let products = values.indices.compactMap { sample in SizeFitter.product(group.map { columns[$0][sample] }) }
      guard products.count == values.count, let sample = products.firstIndex(where: { $0 > 0 }) else { continue }
      let divisor = SizeFitter.greatestCommonDivisor(values[sample], products[sample])
      let (numerator, denominator) = (values[sample] / divisor, products[sample] / divisor)
      let isRule = zip(products, values).allSatisfy { product, value in
        let left = SizeFitter.product([value, denominator])
        return left != nil && left == SizeFitter.product([product, numerator])
      }
      guard isRule, numerator > 0 else { continue }
      let whole = (group.count == 1 ? atoms[group[0]] : .call(.multiply, group.map { atoms[$0] })).times(numerator)
      return denominator == 1 ? whole : .call(.floorDivide, [whole, .int(denominator)])
    }
    return nil
  }

  /// Nil on overflow.
  private static func product(_ factors: [Int]) -> Int? {
    factors.reduce(1) { result, factor in
      guard let result else { return nil }
      let (product, overflow) = result.multipliedReportingOverflow(by: factor)
      return overflow ? nil : product
    }
  }

  private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
    var (a, b) = (abs(a), abs(b))
    while b != 0 { (a, b) = (b, a % b) }
    return max(1, a)
  }
}

extension SymbolicSize {
  /// The sum with a number, written without `+ 0`.
  public func plus(_ number: Int) -> SymbolicSize {
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
  public func times(_ number: Int) -> SymbolicSize {
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
