import TensorCore

/// The sizes that a program's inputs may have: fixed ones, and expressions of symbols with ranges.
package struct InputSizes: Sendable {
  /// A shape that an input may not have, and why.
  package struct Mismatch: Error, Hashable, Sendable {
    /// Position of the input.
    package let input: Int
    package let reason: String
  }

  private let inputs: [(name: String, dataType: DataType, sizes: [SymbolicSize])]
  private let rangeConstraints: [String: RangeConstraint]
  private let symbols: [String: Int]

  /// - Parameters:
  ///   - inputs: with one size for each dimension, a constant where it does not vary.
  ///   - rangeConstraints: by symbol, or by expression.
  ///   - symbols: the present value of each symbol.
  package init(
    _ inputs: [(name: String, dataType: DataType, sizes: [SymbolicSize])],
    rangeConstraints: [String: RangeConstraint], symbols: [String: Int]
  ) {
    self.inputs = inputs
    self.rangeConstraints = rangeConstraints
    self.symbols = symbols
  }

  /// The values of the symbols for which inputs have these shapes; symbols that none of them tells keep their present
  /// value.
  ///
  /// - Parameter shapes: by position; not all inputs need be given.
  ///
  /// Throws for another number of dimensions, a fixed size that differs, inputs that contradict each other, and a size
  /// outside its range.
  package func symbols(for shapes: [Int: Shape]) throws(Mismatch) -> [String: Int] {
    let shapes = shapes.sorted { $0.key < $1.key }
    var found: [String: (value: Int, input: Int)] = [:]
    for (position, shape) in shapes {
      guard shape.rank == inputs[position].sizes.count else { throw mismatch(position, shape, [:]) }
      for (size, value) in zip(inputs[position].sizes, shape.dimensions) {
        guard let (symbol, solution) = size.solved(for: value), found[symbol] == nil else { continue }
        found[symbol] = (solution, position)
      }
    }
    let result = symbols.merging(found.mapValues(\.value)) { $1 }
    for (position, shape) in shapes {
      for (size, value) in zip(inputs[position].sizes, shape.dimensions) where size.evaluated(result) != value {
        throw mismatch(position, shape, found.filter { size.symbols.contains($0.key) })
      }
    }
    for (symbol, (value, position)) in found.sorted(by: { $0.key < $1.key }) {
      guard let range = rangeConstraints[symbol], !range.contains(value) else { continue }
      let shape = shapes.first { $0.key == position }?.value ?? []
      throw Mismatch(
        input: position, reason: "is \(shape): \(symbol) = \(value) lies outside \(range.described(symbol))")
    }
    return result
  }

  private func mismatch(_ input: Int, _ shape: Shape, _ found: [String: (value: Int, input: Int)]) -> Mismatch {
    let (_, dataType, sizes) = inputs[input]
    let others = found.filter { $0.value.input != input }.sorted { $0.key < $1.key }.map { symbol, solution in
      "\(symbol) is \(solution.value) in '\(inputs[solution.input].name)'"
    }
    let expected = RangeConstraint.describe(dataType, sizes, rangeConstraints)
    return Mismatch(
      input: input, reason: (["must be \(expected), not \(dataType)\(shape)"] + others).joined(separator: "; "))
  }
}

extension RangeConstraint {
  /// `1 ≤ s0 ≤ 32`
  package func described(_ text: String) -> String {
    (minimum.map { "\($0) ≤ " } ?? "") + text + (maximum.map { " ≤ \($0)" } ?? "")
  }

  /// A type and sizes with the ranges of the symbols in them: `float32[s0, 3], 1 ≤ s0 ≤ 32`.
  package static func describe(
    _ dataType: DataType, _ sizes: [SymbolicSize], _ ranges: [String: RangeConstraint]
  ) -> String {
    let symbols = sizes.reduce(into: Set<String>()) { $0.formUnion($1.symbols) }
    let limits = symbols.sorted().compactMap { symbol in ranges[symbol]?.described(symbol) }
    return (["\(dataType)\(sizes)"] + limits).joined(separator: ", ")
  }
}

extension SymbolicSize {
  /// The value of the one symbol in it for which it is `value`; nil where it has none or several, or none of `s`,
  /// `2*s`, `s + 1` and their compositions gives that.
  func solved(for value: Int) -> (symbol: String, value: Int)? {
    switch self {
    case .int: return nil
    case .symbol(let name): return (name, value)
    case .call(let function, let operands):
      let varying = operands.filter { !$0.isConstant }
      guard varying.count == 1, operands.count > 1 else { return nil }
      let constants = operands.filter(\.isConstant)
      let rest = constants.count == 1 ? constants[0] : SymbolicSize.call(function, constants)
      guard let number = rest.evaluated([:]) else { return nil }
      switch function {
      case .add:
        let (difference, overflow) = value.subtractingReportingOverflow(number)
        return overflow ? nil : varying[0].solved(for: difference)
      case .multiply:
        guard number > 0, value % number == 0 else { return nil }
        return varying[0].solved(for: value / number)
      default: return nil
      }
    }
  }
}
