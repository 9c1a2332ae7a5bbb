/// A non-tensor argument of an operator call, as ATen's schemas know them.
public enum Attribute: Hashable, Sendable {
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
  case ints([Int])
  case floats([Double])
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
  case tensor(Int)
  case tensors([Int])
  case attribute(Attribute)
}
