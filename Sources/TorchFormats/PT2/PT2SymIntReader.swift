import GraphIR
import SymbolicSizes
import TensorCore

/// Collects the symbolic sizes of a serialized graph. Nodes that compute sizes are left out of the graph: what each computes
/// is recorded beside it, as an expression of symbols with its value in the example.
struct PT2SymIntReader {
  private(set) var shapes = DynamicShapes()
  private let path: String
  private let recorded: [String: PT2Schema.SymInt]
  /// The computed sizes that nodes before the current one have defined.
  private var defined: Set<String> = []

  init(path: String, program: PT2Schema.Program) {
    self.path = path
    recorded = program.graphModule.graph.symIntValues ?? [:]
    shapes.rangeConstraints = (program.rangeConstraints ?? [:]).mapValues {
      RangeConstraint(minimum: $0.minimum, maximum: $0.maximum)
    }
    shapes.guards = program.guardsCode ?? []
  }

  private func error(_ place: String, _ reason: String) -> FormatError {
    FormatError(path: path, place: place, reason: reason)
  }

  /// Records the sizes of a value.
  mutating func addSizes(_ sizes: [PT2Schema.SymInt], of name: String, _ place: String) throws(FormatError) {
    var result: [SymbolicSize] = []
    for size in sizes { result.append(try expression(size, "\(place), value '\(name)'").size) }
    shapes.sizes[name] = result
  }

  /// Whether a node computes sizes only; notes that they are computed from here on.
  mutating func define(_ node: PT2Schema.Node) throws(FormatError) -> Bool {
    var names: [String] = []
    for case .symInt(let name) in node.outputs { names.append(name) }
    guard !names.isEmpty, names.count == node.outputs.count else { return false }
    for name in names {
      guard defined.insert(name).inserted else { throw error("node '\(name)'", "is defined twice") }
      _ = try computed(name, "node '\(name)' (\(node.target))")
    }
    return true
  }

  /// What an argument with computed sizes is in the example, noting its symbolic form; nil for other arguments.
  mutating func example(
    of argument: PT2Schema.NamedArgument, node: String, _ place: String
  ) throws(FormatError) -> Attribute? {
    let place = "\(place), argument '\(argument.name)'"
    switch argument.arg {
    case .symInt(let name):
      let (size, value) = try computed(name, place)
      note([size], argument.name, node)
      return .int(value)
    case .symInts(let items):
      var (sizes, values): ([SymbolicSize], [Int]) = ([], [])
      for item in items {
        if let value = item.value {
          sizes.append(.int(value))
          values.append(value)
        } else {
          let (size, value) = try computed(item.name ?? "", place)
          sizes.append(size)
          values.append(value)
        }
      }
      note(sizes, argument.name, node)
      return .ints(values)
    default: return nil
    }
  }

  private mutating func note(_ sizes: [SymbolicSize], _ argument: String, _ node: String) {
    guard sizes.contains(where: { !$0.isConstant }) else { return }
    shapes.arguments[node, default: [:]][argument] = sizes
  }

  private mutating func computed(_ name: String, _ place: String) throws(FormatError) -> (SymbolicSize, Int) {
    guard let recorded = recorded[name] else { throw error(place, "the size '\(name)' is not described") }
    guard defined.contains(name) else { throw error(place, "the size '\(name)' is read before it is computed") }
    let (size, value) = try expression(recorded, place)
    guard let value else { throw error(place, "the size '\(name)' has no value in the example: it depends on data") }
    return (size, value)
  }

  /// An expression and its value in the example.
  private mutating func expression(
    _ symInt: PT2Schema.SymInt, _ place: String
  ) throws(FormatError) -> (size: SymbolicSize, example: Int?) {
    if let value = symInt.value { return (.int(value), value) }
    guard let expression = symInt.expression else { throw error(place, "is neither a number nor an expression") }
    guard let size = SymbolicSize(parsing: expression.text) else {
      throw error(place, "the size '\(expression.text.prefix(100))' is not an expression that can be read")
    }
    for symbol in size.symbols where symbol.hasPrefix("u") && Int(symbol.dropFirst()) != nil {
      throw error(place, "the size '\(size)' depends on data (unbacked symbol \(symbol)), which cannot be read")
    }
    if let example = symInt.example { learn(size, example) }
    return (size, symInt.example)
  }

  /// Takes the value of a symbol from that of the symbol itself or of a multiple.
  private mutating func learn(_ size: SymbolicSize, _ example: Int) {
    switch size {
    case .symbol(let name): shapes.hints[name] = example
    case .call(.multiply, let operands):
      guard operands.count == 2, case .int(let factor) = operands[0], case .symbol(let name) = operands[1], factor > 0,
        shapes.hints[name] == nil
      else { return }
      shapes.hints[name] = example / factor
    default: return
    }
  }
}
