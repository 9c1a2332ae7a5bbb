import Operators
import TensorCore

/// A tensor that flows through a graph: the graph's input, or a node's output. Defined exactly once.
public struct ValueID: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// Its place in `Graph.values`.
  public let index: Int
  init(index: Int) { self.index = index }
  /// The standard hash costs more than the rest of a look-up, and small numbers in sequence need none of its strength.
  public func _rawHashValue(seed: Int) -> Int {
    let mixed = UInt64(bitPattern: Int64(index ^ seed)) &* 0x9e37_79b9_7f4a_7c15
    return Int(truncatingIfNeeded: mixed ^ (mixed >> 32))
  }
  /// By the order in which they were added to the graph.
  public static func < (a: ValueID, b: ValueID) -> Bool { a.index < b.index }
  public var description: String { "%\(index)" }
}

/// An argument of a node.
public enum Operand: Hashable, Sendable {
  /// One tensor.
  case value(ValueID)
  /// A list of tensors.
  case values([ValueID])
  /// Anything but a tensor.
  case attribute(Attribute)

  /// The tensors that it names, in order.
  public var valueIDs: [ValueID] {
    switch self {
    case .value(let id): [id]
    case .values(let ids): ids
    case .attribute: []
    }
  }
}

/// One operator call of a graph.
public struct Node: Hashable, Sendable {
  /// An argument by its name in the operator's schema.
  public struct Argument: Hashable, Sendable {
    /// The parameter's name in the operator's schema.
    public let name: String
    /// What is passed.
    public var operand: Operand

    /// An argument of that name.
    public init(_ name: String, _ operand: Operand) {
      self.name = name
      self.operand = operand
    }
  }

  /// Unique in its graph.
  public var name: String
  /// What it computes.
  public var op: Operator { didSet { record = CallRecord() } }
  /// Only those given; the schema's defaults stand for the rest.
  public var arguments: [Argument] { didSet { record = CallRecord() } }
  /// The values that it computes, in the operator's order.
  public var outputs: [ValueID]
  /// PyTorch's node metadata (`nn_module_stack`, `torch_fn`, …), carried along unread but for the module stack.
  public var metadata: [String: String]
  private(set) var record = CallRecord()

  /// A call; `Graph.makeNode` makes one together with the value that it gives.
  public init(
    name: String, op: Operator, arguments: [Argument], outputs: [ValueID], metadata: [String: String] = [:]
  ) {
    self.name = name
    self.op = op
    self.arguments = arguments
    self.outputs = outputs
    self.metadata = metadata
  }

  /// Sets arguments that differ from those before in the values alone.
  mutating func setArguments(_ renamed: [Argument]) {
    let record = record
    arguments = renamed
    self.record = record
  }

  /// The argument of that name; nil where it was not given.
  public func operand(_ name: String) -> Operand? { arguments.first { $0.name == name }?.operand }

  /// The value of a tensor argument; nil when absent.
  public func value(_ name: String) -> ValueID? {
    if case .value(let id) = operand(name) { id } else { nil }
  }

  /// All values the node reads, in argument order.
  public var inputs: [ValueID] { arguments.flatMap(\.operand.valueIDs) }

  /// The first of its results, by which a node is known.
  public var output: ValueID { outputs[0] }

  /// The modules that the node stands in, outermost first, from PyTorch's `nn_module_stack`: path (`layer1.0.conv1`) and
  /// class (`torch.nn.modules.conv.Conv2d`).
  public var moduleStack: [(path: String, type: String)] {
    (metadata["nn_module_stack"] ?? "").split(separator: ";").compactMap { entry in
      let fields = entry.split(separator: ",", omittingEmptySubsequences: false)
      return fields.count > 1 ? (String(fields[1]), fields.count > 2 ? String(fields[2]) : "") : nil
    }
  }

  /// The path of the innermost module.
  public var modulePath: String { moduleStack.last?.path ?? "" }
}

/// A directed acyclic graph of operator calls in execution order.
public struct Graph: Hashable, Sendable {
  /// A tensor that flows through the graph.
  public struct Value: Hashable, Sendable {
    /// Unique in the graph.
    public let name: String
    /// Type, shape and memory order.
    public var spec: TensorSpec
  }

  /// All values, in the order in which they were added; `ValueID.index` is the place here.
  public private(set) var values: [Value] = []
  /// Parameters and buffers first, then the user's inputs, as PyTorch orders them.
  public var inputs: [ValueID] = []
  /// The calls in execution order: each after those whose results it reads.
  public var nodes: [Node] = []
  /// What the graph gives, in order.
  public var outputs: [ValueID] = []
  /// The names that are taken, each with the first number that may still be free behind it.
  private var names: [String: Int] = [:]

  /// A graph without values.
  public init() {}

  /// The value's name and spec.
  public subscript(id: ValueID) -> Value { values[id.index] }

  /// The value's type, shape and memory order.
  public func spec(_ id: ValueID) -> TensorSpec { values[id.index].spec }

  /// Gives a value another spec; who changes it makes sure that producer and readers agree (`Verifier`).
  public mutating func setSpec(_ spec: TensorSpec, of id: ValueID) { values[id.index].spec = spec }

  /// Adds a value; a name that is taken gets a numbered suffix.
  public mutating func addValue(_ name: String, _ spec: TensorSpec) -> ValueID {
    var unique = name
    if var suffix = names[name] {
      repeat {
        unique = "\(name)_\(suffix)"
        suffix += 1
      } while names[unique] != nil
      names[name] = suffix
    }
    names[unique] = 1
    values.append(Value(name: unique, spec: spec))
    return ValueID(index: values.count - 1)
  }

  /// Makes a node with one new output, named after it. The caller places it into `nodes`.
  public mutating func makeNode(
    _ op: Operator, name: String, arguments: [Node.Argument], output: TensorSpec,
    metadata: [String: String] = [:]
  ) -> Node {
    let id = addValue(name, output)
    return Node(
      name: values[id.index].name, op: op, arguments: arguments, outputs: [id], metadata: metadata)
  }

  // MARK: Queries

  /// The index of the node that computes each value; graph inputs are absent.
  public func producers() -> [ValueID: Int] {
    var result: [ValueID: Int] = [:]
    for (index, node) in nodes.enumerated() { for output in node.outputs { result[output] = index } }
    return result
  }

  /// The indices of the nodes that read each value, in execution order, each once.
  public func users() -> [ValueID: [Int]] {
    var result: [ValueID: [Int]] = [:]
    for (index, node) in nodes.enumerated() {
      for id in Set(node.inputs) { result[id, default: []].append(index) }
    }
    return result
  }
}
