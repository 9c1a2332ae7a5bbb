import TensorCore

extension Program {
  /// The values of the symbols for which inputs have these shapes; symbols that none of the inputs tells keep their
  /// present value.
  ///
  /// - Parameter shapes: by position among the program's inputs; not all need be given.
  ///
  /// Throws, naming the input, for another number of dimensions, a fixed size that differs, inputs that contradict each
  /// other, and a size outside its range.
  public func symbols(forInputs shapes: [Int: Shape]) throws(ProgramError) -> [String: Int] {
    var found: [String: (value: Int, input: Int)] = [:]
    for (position, shape) in shapes.sorted(by: { $0.key < $1.key }) {
      let sizes = try symbolicSizes(ofInput: position, shape)
      for (size, value) in zip(sizes, shape.dimensions) {
        guard let (symbol, solution) = size.solved(for: value), found[symbol] == nil else { continue }
        found[symbol] = (solution, position)
      }
    }
    let symbols = (dynamicSizes?.symbols ?? [:]).merging(found.mapValues(\.value)) { $1 }
    for (position, shape) in shapes.sorted(by: { $0.key < $1.key }) {
      for (size, value) in zip(try symbolicSizes(ofInput: position, shape), shape.dimensions) {
        guard size.evaluated(symbols) != value else { continue }
        throw refusal(position, shape, found.filter { size.symbols.contains($0.key) })
      }
    }
    for (symbol, (value, position)) in found.sorted(by: { $0.key < $1.key }) {
      guard let range = dynamicSizes?.rangeConstraints[symbol], !range.contains(value) else { continue }
      throw ProgramError(
        program: name, place: "input '\(values[inputs[position]].name)'",
        reason: "is \(shapes[position]!): \(symbol) = \(value) lies outside \(range.described(symbol))")
    }
    return symbols
  }

  /// The sizes of an input as they may be, constants for those that do not vary.
  private func symbolicSizes(ofInput position: Int, _ shape: Shape) throws(ProgramError) -> [SymbolicSize] {
    guard inputs.indices.contains(position) else {
      throw ProgramError(program: name, reason: "has \(inputs.count) inputs, no input \(position)")
    }
    let own = values[inputs[position]].spec.shape.dimensions
    guard shape.rank == own.count else { throw refusal(position, shape, [:]) }
    return dynamicSizes?.sizes[inputs[position]] ?? own.map { .int($0) }
  }

  private func refusal(_ position: Int, _ shape: Shape, _ found: [String: (value: Int, input: Int)]) -> ProgramError {
    let others = found.filter { $0.value.input != position }.sorted { $0.key < $1.key }.map { symbol, solution in
      "\(symbol) is \(solution.value) in '\(values[inputs[solution.input]].name)'"
    }
    return ProgramError(
      program: name, place: "input '\(values[inputs[position]].name)'",
      reason: (["must be \(describe(inputs[position])), not \(shape)"] + others).joined(separator: "; "))
  }
}

extension SymbolicSize {
  /// The value of the one symbol in it for which it is `value`; nil where it has none or several, or none of `s`, `2*s`,
  /// `s + 1` and their compositions gives that.
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
