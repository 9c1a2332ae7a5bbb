import GraphIR
import SymbolicSizes
import TensorCore

/// Writes the nodes that compute sizes, where an argument needs one: `aten.sym_size.int` of a value that has it, else
/// Python's operators on sizes that others have.
struct PT2SymIntWriter {
  /// Those of the current argument, to stand before its node.
  private(set) var nodes: [JSONText] = []
  /// The graph's `sym_int_values`.
  private(set) var values: [String: JSONText] = [:]
  private let shapes: DynamicShapes
  private var names: Set<String>
  /// Sizes that have been computed.
  private var computed: [SymbolicSize: String] = [:]
  /// A value, defined so far, and its dimension of each size.
  private var dimensions: [SymbolicSize: (value: String, dimension: Int)] = [:]

  init(_ shapes: DynamicShapes, graph: Graph) {
    self.shapes = shapes
    names = Set(graph.values.map(\.name) + graph.nodes.map(\.name))
  }

  /// Notes that a value is there to take sizes from.
  mutating func define(_ name: String) {
    for (index, size) in (shapes.symbolicSizes(of: name) ?? []).enumerated() where !size.isConstant {
      if dimensions[size] == nil { dimensions[size] = (name, index) }
    }
  }

  mutating func takeNodes() -> [JSONText] {
    defer { nodes = [] }
    return nodes
  }

  /// The schema's `SymInt`.
  static func json(_ size: SymbolicSize, _ example: Int) -> JSONText {
    if size.isConstant { return .object(["as_int": .int(example)]) }
    let hint = JSONText.object(["as_int": .int(example)])
    return .object(["as_expr": .object(["expr_str": .string(size.serialized), "hint": hint])])
  }

  /// An argument of a node; nil when none of its sizes varies. Throws the size that cannot be computed.
  mutating func argument(_ parameter: String, of node: String, isList: Bool) throws(Failure) -> JSONText? {
    guard let sizes = shapes.arguments[node]?[parameter] else { return nil }
    var items: [JSONText] = []
    for size in sizes { items.append(try item(size)) }
    if isList { return .object(["as_sym_ints": .array(items)]) }
    return items.first.map { .object(["as_sym_int": $0]) }
  }

  struct Failure: Error {
    let size: SymbolicSize
  }

  /// The schema's `SymIntArgument`.
  private mutating func item(_ size: SymbolicSize) throws(Failure) -> JSONText {
    if size.isConstant {
      guard let value = size.evaluated([:]) else { throw Failure(size: size) }
      return .object(["as_int": .int(value)])
    }
    return .object(["as_name": .string(try name(of: size))])
  }

  private mutating func name(of size: SymbolicSize) throws(Failure) -> String {
    if let known = computed[size] { return known }
    if let (value, dimension) = dimensions[size] {
      let inputs: [(String, JSONText)] = [
        ("self", .object(["as_tensor": .object(["name": .string(value)])])),
        ("dim", .object(["as_int": .int(dimension)])),
      ]
      return try emit("torch.ops.aten.sym_size.int", "sym_size_int", inputs, size)
    }
    switch size {
    case .int: throw Failure(size: size)
    case .symbol(let name):
      // A symbol that no dimension has alone: a whole part of a multiple.
      for multiple in dimensions.keys.sorted(by: { $0.description < $1.description }) {
        guard case .call(.multiply, let operands) = multiple, operands.count == 2, operands[1] == .symbol(name),
          case .int(let factor) = operands[0], factor > 0
        else { continue }
        return try emit("floordiv", multiple, .int(factor), size)
      }
      throw Failure(size: size)
    case .call(let function, let operands):
      let name: String? =
        switch function {
        case .add: "add"
        case .multiply: "mul"
        case .floorDivide: "floordiv"
        case .modulo: "mod"
        case .power, .maximum, .minimum: nil
        }
      guard let name, let last = operands.last, operands.count >= 2 else { throw Failure(size: size) }
      let first = operands.count == 2 ? operands[0] : .call(function, Array(operands.dropLast()))
      // SymPy writes constants first, programs last.
      let isSwapped = first.isConstant && (function == .multiply || function == .add)
      return try emit(name, isSwapped ? last : first, isSwapped ? first : last, size)
    }
  }

  private mutating func emit(
    _ name: String, _ a: SymbolicSize, _ b: SymbolicSize, _ size: SymbolicSize
  ) throws(Failure) -> String {
    var inputs: [(String, JSONText)] = []
    for (parameter, operand) in [("a", a), ("b", b)] {
      if case .int(let value) = operand {
        inputs.append((parameter, .object(["as_int": .int(value)])))
      } else {
        inputs.append((parameter, .object(["as_sym_int": try item(operand)])))
      }
    }
    return try emit("_operator." + name, name, inputs, size)
  }

  private mutating func emit(
    _ target: String, _ base: String, _ inputs: [(String, JSONText)], _ size: SymbolicSize
  ) throws(Failure) -> String {
    guard let example = size.evaluated(shapes.hints) else { throw Failure(size: size) }
    var name = base
    var suffix = 1
    while !names.insert(name).inserted {
      name = "\(base)_\(suffix)"
      suffix += 1
    }
    nodes.append(
      .object([
        "target": .string(target), "name": .string(name),
        "inputs": .array(inputs.map { .object(["name": .string($0.0), "arg": $0.1, "kind": .int(1)]) }),
        "outputs": .array([.object(["as_sym_int": .object(["as_name": .string(name)])])]),
        "metadata": .object([:]), "is_hop_single_tensor_return": .null,
      ]))
    values[name] = PT2SymIntWriter.json(size, example)
    computed[size] = name
    return name
  }
}
