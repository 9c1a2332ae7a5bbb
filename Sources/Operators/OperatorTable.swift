/// Which operators a row of a table is for: some by name, or all of a kind.
public enum OperatorPattern: Sendable, ExpressibleByArrayLiteral {
  /// These operators.
  case operators([Operator])
  /// Those with all of these traits.
  case traits(Operator.Traits)
  /// Those that a condition holds for.
  case condition(@Sendable (Operator) -> Bool)

  /// Operators by name: `[.relu, .relu6]`.
  public init(arrayLiteral operators: Operator...) { self = .operators(operators) }

  /// Whether the row is for an operator.
  public func matches(_ op: Operator) -> Bool {
    switch self {
    case .operators(let operators): operators.contains(op)
    case .traits(let traits): op.has(traits)
    case .condition(let holds): holds(op)
    }
  }
}

/// Rows by operator. A row for an operator by name comes before one for a kind; otherwise the first row that matches holds.
package struct OperatorTable<Row: Sendable>: Sendable {
  private var named: [Operator: Row] = [:]
  private var kinds: [(pattern: OperatorPattern, row: Row)] = []

  /// - Parameter pattern: of each row.
  package init(_ rows: [Row], by pattern: (Row) -> OperatorPattern) {
    for row in rows {
      if case .operators(let operators) = pattern(row) {
        for op in operators where named[op] == nil { named[op] = row }
      } else {
        kinds.append((pattern(row), row))
      }
    }
  }

  /// The row for an operator, if there is one.
  package subscript(op: Operator) -> Row? { named[op] ?? kinds.first { $0.pattern.matches(op) }?.row }
}
