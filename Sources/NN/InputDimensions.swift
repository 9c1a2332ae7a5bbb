import GraphIR
import SymbolicSizes
import TensorCore

/// The sizes of a model's inputs as expressions of symbols, made from `Dim`s and the example.
struct InputDimensions {
  private struct Symbol {
    let name: String
    /// What messages call it: the `Dim`'s name, or the place of an automatic one.
    let title: String
    let mayBeFixed: Bool
  }

  /// Ranges and hints of the symbols that are left.
  private(set) var shapes = DynamicShapes()
  private(set) var sizes: [[SymbolicSize]]
  private let model: String
  private var symbols: [Symbol] = []

  init(_ inputs: [TensorSpec], _ dynamic: [[Int: Dim]], model: String) throws(ExportError) {
    self.model = model
    sizes = inputs.map { $0.shape.dimensions.map { .int($0) } }
    guard dynamic.count <= inputs.count else {
      throw ExportError(model: model, reason: "has \(inputs.count) inputs, and dynamic shapes for \(dynamic.count)")
    }
    for (input, dims) in dynamic.enumerated() {
      for (dim, declared) in dims.sorted(by: { $0.key < $1.key }) {
        guard let index = inputs[input].shape.normalizedDimension(dim), inputs[input].shape.rank > 0 else {
          throw ExportError(model: model, reason: "input \(input) is \(inputs[input]); it has no dimension \(dim)")
        }
        sizes[input][index] = try add(
          declared, size: inputs[input].shape[index], "dimension \(index) of input \(input)")
      }
    }
    // Derived sizes have ranges of their own, as PyTorch records them.
    for size in sizes.joined() where !size.isConstant {
      guard case .call = size, let symbol = size.symbols.first, let range = shapes.rangeConstraints[symbol] else {
        continue
      }
      func bound(_ value: Int?) -> Int? { value.flatMap { size.evaluated([symbol: $0]) } }
      shapes.rangeConstraints[size.description] = RangeConstraint(
        minimum: bound(range.minimum), maximum: bound(range.maximum))
    }
  }

  private mutating func add(_ dim: Dim, size: Int, _ place: String) throws(ExportError) -> SymbolicSize {
    func refuse(_ reason: String) -> ExportError { ExportError(model: model, reason: "\(place): \(reason)") }
    let (title, factor, offset, mayBeFixed) =
      switch dim.kind {
      case .named(let name, let factor, let offset): (name, factor, offset, false)
      case .automatic: (place, 1, 0, true)
      }
    let (scaled, overflow) = size.subtractingReportingOverflow(offset)
    guard factor > 0, !overflow, scaled % factor == 0 else { throw refuse("the example's size \(size) is not \(dim)") }
    let value = scaled / factor
    guard dim.range.contains(value) else {
      let (low, high) = (dim.range.minimum ?? 1, dim.range.maximum.map(String.init) ?? "∞")
      throw refuse("\(title) = \(value) in the example lies outside [\(low), \(high)]")
    }
    let name: String
    if let known = symbols.first(where: { $0.title == title }) {
      name = known.name
      guard shapes.hints[name] == value, shapes.rangeConstraints[name] == dim.range else {
        throw refuse("\(title) is \(shapes.hints[name]!) in another place and \(value) here, or has another range")
      }
    } else {
      name = "s\(symbols.count)"
      symbols.append(Symbol(name: name, title: title, mayBeFixed: mayBeFixed))
      shapes.hints[name] = value
      shapes.rangeConstraints[name] = dim.range
    }
    return SymbolicSize.symbol(name).times(factor).plus(offset)
  }

  /// Makes sizes fixed that the model fixes, where they may be. Returns whether there were such.
  ///
  /// Throws for sizes that were declared dynamic, with every guard that does not hold in the whole range.
  mutating func fixSizes(violating guards: [SizeGuard]) throws(ExportError) -> Bool {
    let broken = guards.compactMap { decision in
      decision.counterexample(in: shapes.rangeConstraints).map { (decision, $0) }
    }
    guard !broken.isEmpty else { return false }
    let involved = broken.reduce(into: Set<String>()) { $0.formUnion($1.0.symbols) }
    guard fix(involved) else { throw error(broken) }
    return true
  }

  /// Makes those sizes fixed that differ from the example's at a sample that an operator refused, where they may be.
  /// Returns whether there were such.
  mutating func fixSizes(differingIn sample: [String: Int]) -> Bool {
    fix(Set(sample.filter { shapes.hints[$0.key] != $0.value }.keys))
  }

  private mutating func fix(_ names: Set<String>) -> Bool {
    let fixed = symbols.filter { names.contains($0.name) && $0.mayBeFixed && shapes.hints[$0.name] != nil }
    for symbol in fixed {
      let value = shapes.hints.removeValue(forKey: symbol.name)!
      shapes.rangeConstraints[symbol.name] = nil
      sizes = sizes.map { $0.map { $0 == .symbol(symbol.name) ? .int(value) : $0 } }
    }
    return !fixed.isEmpty
  }

  /// The text with the symbols' titles in place of their names.
  private func named(_ text: String) -> String {
    // The longest names first, since `s1` is a part of `s10`.
    symbols.sorted { $0.name.count > $1.name.count }
      .reduce(text) { text, symbol in text.replacing(symbol.name, with: symbol.title) }
  }

  /// The error with sizes called as they were declared.
  func naming(_ error: ExportError) -> ExportError {
    ExportError(
      model: error.model, module: error.module, location: error.location, operatorName: error.operatorName,
      reason: named(error.reason))
  }

  private func error(_ broken: [(SizeGuard, [String: Int])]) -> ExportError {
    let lines = broken.map { decision, sample in
      let values = symbols.filter { sample[$0.name] != nil }.map { "\($0.title) = \(sample[$0.name]!)" }
      let place = [decision.location, decision.module.isEmpty ? "" : "module '\(decision.module)'"]
        .filter { !$0.isEmpty }.joined(separator: ", ")
      let elsewhere =
        values.isEmpty
        ? "and cannot be decided for all sizes" : "and \(!decision.holds) at \(values.joined(separator: ", "))"
      return
        "\(place.isEmpty ? "" : "\(place): ")'\(named(decision.condition))' is \(decision.holds) in the example \(elsewhere)"
    }
    return ExportError(
      model: model,
      reason: "is specialized to the example's sizes though they were declared dynamic. "
        + lines.joined(separator: "; ")
        + ". Remove the condition, narrow the range, or make the size fixed")
  }
}
