import SymbolicSizes
import TensorCore

extension Program {
  /// How the sizes of a program's values follow from those of its inputs. The program itself has the sizes that the
  /// symbols' present values give.
  package struct DynamicSizes: Hashable, Sendable {
    /// By symbol (`s0`), or by an expression of symbols (`2*s0`).
    package let rangeConstraints: [String: RangeConstraint]
    /// The present value of each symbol.
    package internal(set) var symbols: [String: Int]
    /// By index of the value, its sizes in the order of its shape; values of constant sizes are left out.
    package let sizes: [Int: [SymbolicSize]]
    /// By index of the instruction and parameter: integer arguments, one element for an integer, else one per element.
    package let arguments: [Int: [String: [SymbolicSize]]]

    package init(
      rangeConstraints: [String: RangeConstraint], symbols: [String: Int], sizes: [Int: [SymbolicSize]],
      arguments: [Int: [String: [SymbolicSize]]]
    ) {
      self.rangeConstraints = rangeConstraints
      self.symbols = symbols
      self.sizes = sizes
      self.arguments = arguments
    }
  }

  /// 1 TiB: far beyond any machine this runs on, and small enough that sums over a program cannot overflow.
  package static let largestTensor = 1 << 40

  /// A value's type and sizes, those that vary by name: `float32[s0, 3], 1 ≤ s0 ≤ 32`.
  package func describe(_ value: Int) -> String {
    guard let dynamic = dynamicSizes, let sizes = dynamic.sizes[value] else { return "\(values[value].spec)" }
    return RangeConstraint.describe(values[value].spec.dataType, sizes, dynamic.rangeConstraints)
  }

  /// The program at other values of its symbols, those not given as they are: sizes, arguments and memory plan.
  ///
  /// Throws for a symbol that the program does not have, a value outside its range, and sizes that are impossible.
  package func resized(_ symbols: [String: Int]) throws(ProgramError) -> Program {
    guard var dynamic = dynamicSizes else { throw ProgramError(program: name, reason: "all its sizes are fixed") }
    for (symbol, value) in symbols {
      guard dynamic.symbols[symbol] != nil else { throw ProgramError(program: name, reason: "has no size '\(symbol)'") }
      dynamic.symbols[symbol] = value
    }
    try checkRanges(dynamic)
    var result = self
    for (index, sizes) in dynamic.sizes {
      let dimensions = sizes.compactMap { $0.evaluated(dynamic.symbols) }
      guard dimensions.count == sizes.count, let shape = Shape(validating: dimensions),
        shape.elementCount <= Program.largestTensor / values[index].spec.dataType.size
      else {
        throw ProgramError(
          program: name, place: "'\(values[index].name)'",
          reason: "a tensor of \(sizes) is impossible with \(Program.described(dynamic.symbols))")
      }
      result.values[index].spec.shape = shape
    }
    for (index, parameters) in dynamic.arguments {
      for (parameter, sizes) in parameters {
        let numbers = sizes.compactMap { $0.evaluated(dynamic.symbols) }
        guard numbers.count == sizes.count, case .attribute(let old)? = instructions[index].arguments[parameter] else {
          throw ProgramError(
            program: name, place: instructions[index].node,
            reason: "'\(parameter)' of \(sizes) is impossible with \(Program.described(dynamic.symbols))")
        }
        let isList = if case .ints = old { true } else { false }
        result.instructions[index].arguments[parameter] = .attribute(isList ? .ints(numbers) : .int(numbers[0]))
      }
    }
    result.dynamicSizes = dynamic
    return result.planned()
  }

  private func checkRanges(_ dynamic: DynamicSizes) throws(ProgramError) {
    for (text, range) in dynamic.rangeConstraints {
      guard let value = SymbolicSize(parsing: text)?.evaluated(dynamic.symbols), !range.contains(value) else {
        continue
      }
      throw ProgramError(program: name, reason: "\(text) = \(value) lies outside \(range.described(text))")
    }
  }

  /// The program with every symbol at the largest value of its range; nil where one has no bound, or one for which no
  /// machine has the memory.
  package func atUpperBound() -> Program? {
    guard let dynamic = dynamicSizes else { return nil }
    var symbols: [String: Int] = [:]
    for symbol in dynamic.symbols.keys {
      guard let maximum = dynamic.rangeConstraints[symbol]?.maximum else { return nil }
      symbols[symbol] = maximum
    }
    return try? resized(symbols)
  }

  /// `s0 = 3, s1 = 5`
  package static func described(_ symbols: [String: Int]) -> String {
    symbols.keys.sorted().map { "\($0) = \(symbols[$0]!)" }.joined(separator: ", ")
  }
}
