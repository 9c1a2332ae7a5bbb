/// A non-tensor argument of an operator call, as ATen's schemas know them.
public enum Attribute: Hashable, Sendable {
  /// `None`
  case none
  /// `True` or `False`.
  case bool(Bool)
  /// An integer.
  case int(Int)
  /// A real number.
  case float(Double)
  /// A text.
  case string(String)
  /// A list of integers.
  case ints([Int])
  /// A list of real numbers.
  case floats([Double])
  /// A list of truth values.
  case bools([Bool])
  /// A `torch.dtype`.
  case dataType(DataType)
}

extension Attribute: CustomStringConvertible {
  public var description: String {
    switch self {
    case .none: "None"
    case .bool(let value): value ? "True" : "False"
    case .int(let value): String(value)
    case .float(let value): String(value)
    case .string(let value): "'\(value)'"
    case .ints(let values): "\(values)"
    case .floats(let values): "\(values)"
    case .bools(let values): "\(values)"
    case .dataType(let value): "torch.\(value)"
    }
  }
}

/// One argument of an operator call. Tensors are referred to by their position among the call's inputs.
public enum CallArgument: Hashable, Sendable {
  /// A tensor.
  case tensor(Int)
  /// A list of tensors.
  case tensors([Int])
  /// Anything else.
  case attribute(Attribute)
}
