/// A size that depends on the sizes of a program's inputs: an expression in symbols, as `torch.export` records it.
package indirect enum SymbolicSize: Hashable, Sendable, CustomStringConvertible {
  /// Functions of SymPy, and of PyTorch's own (`FloorDiv`), that sizes are made with.
  package enum Function: String, Hashable, Sendable {
    case add = "Add"
    case multiply = "Mul"
    case floorDivide = "FloorDiv"
    case modulo = "Mod"
    case power = "Pow"
    case maximum = "Max"
    case minimum = "Min"
  }

  case int(Int)
  case symbol(String)
  case call(Function, [SymbolicSize])

  package var isConstant: Bool { symbols.isEmpty }

  /// The names of the symbols in it.
  package var symbols: Set<String> {
    switch self {
    case .int: []
    case .symbol(let name): [name]
    case .call(_, let operands): operands.reduce(into: []) { $0.formUnion($1.symbols) }
    }
  }

  /// The size where the symbols have these values; nil for a symbol without value, a division by zero, or overflow.
  package func evaluated(_ values: [String: Int]) -> Int? {
    switch self {
    case .int(let value): return value
    case .symbol(let name): return values[name]
    case .call(let function, let operands):
      let numbers = operands.compactMap { $0.evaluated(values) }
      guard numbers.count == operands.count, let first = numbers.first else { return nil }
      return numbers.dropFirst().reduce(first) { result, number in
        result.flatMap { SymbolicSize.apply(function, $0, number) }
      }
    }
  }

  private static func apply(_ function: Function, _ a: Int, _ b: Int) -> Int? {
    func checked(_ result: (partialValue: Int, overflow: Bool)) -> Int? {
      result.overflow ? nil : result.partialValue
    }
    switch function {
    case .add: return checked(a.addingReportingOverflow(b))
    case .multiply: return checked(a.multipliedReportingOverflow(by: b))
    case .floorDivide:
      guard b != 0, let quotient = checked(a.dividedReportingOverflow(by: b)) else { return nil }
      return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient
    case .modulo:
      guard b > 0 else { return nil }
      let rest = a % b
      return rest < 0 ? rest + b : rest
    case .power:
      guard (0...64).contains(b) else { return nil }
      return (0..<b).reduce(1) { result, _ in result.flatMap { checked($0.multipliedReportingOverflow(by: a)) } }
    case .maximum: return max(a, b)
    case .minimum: return min(a, b)
    }
  }

  /// As Python writes it: `2*s0 + 1`.
  package var description: String {
    switch self {
    case .int(let value): return String(value)
    case .symbol(let name): return name
    case .call(let function, let operands):
      let texts = operands.map { operand in
        if function == .power, case .int(let value) = operand, value < 0 { return "(\(value))" }
        guard case .call(let inner, _) = operand, inner != .maximum, inner != .minimum else {
          return operand.description
        }
        return function == .add && inner == .multiply ? operand.description : "(\(operand))"
      }
      switch function {
      case .add: return texts.joined(separator: " + ")
      case .multiply: return texts.joined(separator: "*")
      case .floorDivide: return texts.joined(separator: "//")
      case .modulo: return texts.joined(separator: "%")
      case .power: return texts.joined(separator: "**")
      case .maximum, .minimum: return "\(function.rawValue)(\(texts.joined(separator: ", ")))"
      }
    }
  }

  /// As SymPy's `srepr` writes it, which is what archives hold.
  package var serialized: String {
    switch self {
    case .int(let value): "Integer(\(value))"
    case .symbol(let name): "Symbol('\(name)', positive=True, integer=True)"
    case .call(let function, let operands):
      "\(function.rawValue)(\(operands.map(\.serialized).joined(separator: ", ")))"
    }
  }

  /// Reads an archive's expression: SymPy's `srepr` (PyTorch 2.6 and later) or Python's infix form (2.5). Nil when it is
  /// neither, uses another function, or is out of proportion.
  package init?(parsing text: String) {
    var parser = SymbolicSizeParser(text)
    guard text.utf8.count <= 4096, let result = parser.sum(depth: 0), parser.isAtEnd else { return nil }
    self = result
  }
}

/// Recursive descent; `depth` bounds it.
private struct SymbolicSizeParser {
  private let bytes: [UInt8]
  private var position = 0
  private static let depthLimit = 32

  init(_ text: String) { bytes = Array(text.utf8) }

  var isAtEnd: Bool {
    mutating get {
      skipBlanks()
      return position == bytes.count
    }
  }

  private mutating func skipBlanks() {
    while position < bytes.count, bytes[position] == UInt8(ascii: " ") { position += 1 }
  }

  private mutating func take(_ token: String) -> Bool {
    skipBlanks()
    guard bytes[position...].starts(with: token.utf8) else { return false }
    position += token.utf8.count
    return true
  }

  private mutating func word() -> String {
    skipBlanks()
    let start = position
    while position < bytes.count, Character(Unicode.Scalar(bytes[position])).isWordCharacter { position += 1 }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  mutating func sum(depth: Int) -> SymbolicSize? {
    guard depth < SymbolicSizeParser.depthLimit, var result = product(depth: depth + 1) else { return nil }
    while true {
      if take("+") {
        guard let next = product(depth: depth + 1) else { return nil }
        result = .call(.add, [result, next])
      } else if take("-") {
        guard let next = product(depth: depth + 1) else { return nil }
        result = .call(.add, [result, .call(.multiply, [.int(-1), next])])
      } else {
        return result
      }
    }
  }

  private mutating func product(depth: Int) -> SymbolicSize? {
    guard depth < SymbolicSizeParser.depthLimit, var result = factor(depth: depth + 1) else { return nil }
    while true {
      let function: SymbolicSize.Function
      if take("*") {
        function = .multiply
      } else if take("//") {
        function = .floorDivide
      } else if take("%") {
        function = .modulo
      } else {
        return result
      }
      guard let next = factor(depth: depth + 1) else { return nil }
      result = .call(function, [result, next])
    }
  }

  private mutating func factor(depth: Int) -> SymbolicSize? {
    guard depth < SymbolicSizeParser.depthLimit else { return nil }
    if take("-") {
      guard let operand = factor(depth: depth + 1) else { return nil }
      if case .int(let value) = operand { return .int(0 &- value) }
      return .call(.multiply, [.int(-1), operand])
    }
    guard let base = primary(depth: depth + 1) else { return nil }
    guard take("**") else { return base }
    // Binds tighter than a sign before it, and to the right.
    guard let exponent = factor(depth: depth + 1) else { return nil }
    return .call(.power, [base, exponent])
  }

  private mutating func primary(depth: Int) -> SymbolicSize? {
    guard depth < SymbolicSizeParser.depthLimit else { return nil }
    if take("(") {
      guard let inner = sum(depth: depth + 1), take(")") else { return nil }
      return inner
    }
    let word = word()
    guard !word.isEmpty else { return nil }
    if word.utf8.first.map({ (48...57).contains($0) }) == true { return Int(word).map { .int($0) } }
    guard take("(") else { return .symbol(word) }
    return call(word, depth: depth)
  }

  /// What stands in the parentheses of `name(…)`.
  private mutating func call(_ name: String, depth: Int) -> SymbolicSize? {
    if name == "Symbol" {
      guard take("'") else { return nil }
      let symbol = word()
      guard take("'"), !symbol.isEmpty else { return nil }
      while take(",") { guard !word().isEmpty, take("="), !word().isEmpty else { return nil } }
      return take(")") ? .symbol(symbol) : nil
    }
    var operands: [SymbolicSize] = []
    repeat {
      guard let operand = sum(depth: depth + 1) else { return nil }
      operands.append(operand)
    } while take(",")
    guard take(")") else { return nil }
    if name == "Integer" { return operands.count == 1 ? operands[0] : nil }
    // Variants with another range of operands; sizes are never negative.
    let variants = ["CleanDiv": "FloorDiv", "PythonMod": "Mod"]
    guard let function = SymbolicSize.Function(rawValue: variants[name] ?? name), operands.count >= 2,
      function != .power || operands.count == 2
    else { return nil }
    return .call(function, operands)
  }
}

extension Character {
  fileprivate var isWordCharacter: Bool { isASCII && (isLetter || isNumber || self == "_") }
}
