import TensorCore

/// An operator's signature, parsed from ATen's schema language.
///
/// `aten.conv2d.default(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1) -> Tensor`
public struct Schema: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    case tensor, optionalTensor, tensors
    case int, optionalInt
    case ints(count: Int?)
    case floats
    case float, optionalFloat, bool, string, dataType
  }

  public struct Parameter: Sendable, Hashable {
    public let name: String
    public let kind: Kind
    /// Nil when the argument must be given.
    public let defaultValue: Attribute?
    public let isKeywordOnly: Bool
  }

  /// The qualified name with its overload, `aten.conv2d.default`.
  public let name: String
  public let parameters: [Parameter]

  public func parameter(named name: String) -> Parameter? { parameters.first { $0.name == name } }

  /// - Precondition: `text` is a well-formed schema; schemas are literals of this package, checked by the tests.
  public init(_ text: String) {
    guard let open = text.firstIndex(of: "("), let close = text.firstIndex(of: ")") else {
      preconditionFailure("schema without parameters: \(text)")
    }
    name = String(text[..<open])
    var parameters: [Parameter] = []
    var isKeywordOnly = false
    for field in Schema.split(text[text.index(after: open)..<close]) {
      if field == "*" {
        isKeywordOnly = true
        continue
      }
      let parts = field.split(separator: "=", maxSplits: 1)
      let words = parts[0].split(separator: " ")
      precondition(words.count == 2, "malformed parameter '\(field)' in \(text)")
      let kind = Kind(words[0])
      parameters.append(
        Parameter(
          name: String(words[1]), kind: kind,
          defaultValue: parts.count == 2 ? Schema.literal(parts[1], of: kind) : nil, isKeywordOnly: isKeywordOnly))
    }
    self.parameters = parameters
  }

  /// Splits at commas outside brackets and trims blanks.
  private static func split(_ text: Substring) -> [Substring] {
    var fields: [Substring] = []
    var depth = 0
    var start = text.startIndex
    for index in text.indices {
      switch text[index] {
      case "[": depth += 1
      case "]": depth -= 1
      case "," where depth == 0:
        fields.append(text[start..<index])
        start = text.index(after: index)
      default: break
      }
    }
    fields.append(text[start...])
    return fields.map { $0.drop { $0 == " " } }.filter { !$0.isEmpty }
  }

  private static func literal(_ text: Substring, of kind: Kind) -> Attribute {
    if text == "None" { return .none }
    switch kind {
    case .int, .optionalInt: return .int(Int(text)!)
    case .float, .optionalFloat: return .float(Double(text)!)
    case .bool: return .bool(text == "True")
    case .string, .dataType: return .string(text.filter { $0 != "\"" && $0 != "'" })
    case .ints(let count):
      if let single = Int(text) { return .ints([Int](repeating: single, count: count ?? 1)) }
      return .ints(text.filter { $0 != "[" && $0 != "]" }.split(separator: ",").map { Int($0.drop { $0 == " " })! })
    case .floats, .tensor, .optionalTensor, .tensors: preconditionFailure("the only default is None, not \(text)")
    }
  }
}

extension Schema.Kind {
  init(_ text: Substring) {
    switch text {
    case "Tensor": self = .tensor
    case "Tensor?": self = .optionalTensor
    case "Tensor[]", "Tensor?[]": self = .tensors
    case "int", "SymInt", "MemoryFormat": self = .int
    case "int?", "SymInt?", "MemoryFormat?": self = .optionalInt
    case "float", "Scalar": self = .float
    case "float?", "Scalar?": self = .optionalFloat
    case "bool", "bool?": self = .bool
    case "float[]", "float[]?": self = .floats
    case "str", "str?": self = .string
    case "ScalarType", "ScalarType?": self = .dataType
    default:
      guard let bracket = text.firstIndex(of: "["), text.hasPrefix("int") || text.hasPrefix("SymInt") else {
        preconditionFailure("unknown schema type \(text)")
      }
      self = .ints(count: Int(text[text.index(after: bracket)...].prefix { $0.isNumber }))
    }
  }
}
