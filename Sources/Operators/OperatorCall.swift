import TensorCore

/// One call of an operator: its arguments by name, the specs of its tensors, and the data of those that are constant.
///
/// The accessors read arguments with the schema's defaults filled in and throw an `OperatorError` that names the
/// argument when it is missing or of another kind.
public struct OperatorCall: Sendable {
  /// What is called.
  public let op: Operator
  /// The calling node, for messages.
  public let node: String
  /// The arguments that were given, tensors among them by their position in `inputs`.
  public let arguments: CallArguments
  /// The call's tensors in schema order, absent optional ones left out.
  public let inputs: [TensorSpec]
  /// Parallel to `inputs`: the data, where it is known before the first run.
  public let constants: [Tensor?]
  /// The results' specs; empty while they are inferred.
  public let outputs: [TensorSpec]

  /// A call; `constants` is parallel to `inputs`.
  public init(
    op: Operator, node: String, arguments: CallArguments, inputs: [TensorSpec], constants: [Tensor?],
    outputs: [TensorSpec] = []
  ) {
    self.op = op
    self.node = node
    self.arguments = arguments
    self.inputs = inputs
    self.constants = constants
    self.outputs = outputs
  }

  package var schema: Schema { op.schema }

  /// The same call under another name, with other data, or with other results.
  package func with(
    node: String? = nil, constants: [Tensor?]? = nil, outputs: [TensorSpec]? = nil
  ) -> OperatorCall {
    OperatorCall(
      op: op, node: node ?? self.node, arguments: arguments, inputs: inputs, constants: constants ?? self.constants,
      outputs: outputs ?? self.outputs)
  }

  /// The error that this call is refused with, for that reason.
  public func error(_ reason: String) -> OperatorError {
    OperatorError(operatorName: op.name, node: node, inputs: inputs, reason: reason)
  }

  /// Throws the error with that reason unless the condition holds.
  public func check(_ condition: Bool, _ reason: @autoclosure () -> String) throws(OperatorError) {
    if !condition { throw error(reason()) }
  }

  // MARK: Tensors

  /// The position of a tensor argument among `inputs`; nil when an optional one is absent.
  public func index(of name: String) throws(OperatorError) -> Int? {
    switch arguments[name] {
    case .tensor(let index):
      try check(inputs.indices.contains(index), "'\(name)' refers to tensor \(index) of \(inputs.count)")
      return index
    case nil, .attribute(.none): return nil
    default: throw error("'\(name)' must be a tensor")
    }
  }

  /// The spec of a tensor argument that must be there.
  public func spec(_ name: String) throws(OperatorError) -> TensorSpec {
    guard let index = try index(of: name) else { throw error("the tensor '\(name)' is missing") }
    return inputs[index]
  }

  /// The spec of a tensor argument; nil when it is absent.
  public func optionalSpec(_ name: String) throws(OperatorError) -> TensorSpec? {
    try index(of: name).map { inputs[$0] }
  }

  /// The data of a constant tensor argument; nil when it is computed, or absent.
  public func constant(_ name: String) throws(OperatorError) -> Tensor? {
    try index(of: name).flatMap { constants[$0] }
  }

  /// The specs of a tensor-list argument.
  public func specs(_ name: String) throws(OperatorError) -> [TensorSpec] {
    guard case .tensors(let indices) = arguments[name] else { throw error("'\(name)' must be a list of tensors") }
    try check(indices.allSatisfy(inputs.indices.contains), "'\(name)' refers to tensors that are not inputs")
    return indices.map { inputs[$0] }
  }

  /// The spec of the only result; throws when there are several.
  public func output() throws(OperatorError) -> TensorSpec {
    try check(outputs.count == 1, "expected one output, not \(outputs.count)")
    return outputs[0]
  }

  // MARK: Attributes

  /// An argument that is no tensor, or its default.
  public func attribute(_ name: String) throws(OperatorError) -> Attribute {
    guard let parameter = schema.parameter(named: name) else { throw error("has no argument '\(name)'") }
    switch arguments[name] {
    case .attribute(let value): return value
    case nil:
      guard let value = parameter.defaultValue else { throw error("the argument '\(name)' is missing") }
      return value
    case .tensor, .tensors: throw error("'\(name)' must not be a tensor")
    }
  }

  /// An integer.
  public func int(_ name: String) throws(OperatorError) -> Int {
    guard let value = try optionalInt(name) else { throw error("'\(name)' must be an integer") }
    return value
  }

  /// An integer; nil for None.
  public func optionalInt(_ name: String) throws(OperatorError) -> Int? {
    switch try attribute(name) {
    case .int(let value): return value
    case .none: return nil
    case let other: throw error("'\(name)' must be an integer, not \(other)")
    }
  }

  /// A number, of an integer too.
  public func float(_ name: String) throws(OperatorError) -> Double {
    guard let value = try optionalFloat(name) else { throw error("'\(name)' must be a number") }
    return value
  }

  /// A number; nil for None.
  public func optionalFloat(_ name: String) throws(OperatorError) -> Double? {
    switch try attribute(name) {
    case .float(let value): return value
    case .int(let value): return Double(value)
    case .none: return nil
    case let other: throw error("'\(name)' must be a number, not \(other)")
    }
  }

  /// True or False.
  public func bool(_ name: String) throws(OperatorError) -> Bool {
    guard case .bool(let value) = try attribute(name) else { throw error("'\(name)' must be True or False") }
    return value
  }

  /// A text.
  public func string(_ name: String) throws(OperatorError) -> String {
    guard case .string(let value) = try attribute(name) else { throw error("'\(name)' must be a string") }
    return value
  }

  /// A list of integers; one integer is a list of one, None an empty list.
  public func ints(_ name: String) throws(OperatorError) -> [Int] {
    switch try attribute(name) {
    case .ints(let values): return values
    case .int(let value): return [value]
    case .none: return []
    case let other: throw error("'\(name)' must be a list of integers, not \(other)")
    }
  }

  /// A list of numbers; None is an empty list.
  public func floats(_ name: String) throws(OperatorError) -> [Double] {
    switch try attribute(name) {
    case .floats(let values): return values
    case .ints(let values): return values.map(Double.init)
    case .none: return []
    case let other: throw error("'\(name)' must be a list of numbers, not \(other)")
    }
  }

  /// An element type.
  public func dataType(_ name: String) throws(OperatorError) -> DataType {
    guard case .dataType(let value) = try attribute(name) else { throw error("'\(name)' must be a dtype") }
    return value
  }

  /// A height–width pair; ATen lets one integer stand for both.
  public func pair(_ name: String) throws(OperatorError) -> (height: Int, width: Int) {
    let values = try ints(name)
    try check(values.count == 1 || values.count == 2, "'\(name)' must have one or two integers, not \(values)")
    return (values[0], values[values.count - 1])
  }
}
