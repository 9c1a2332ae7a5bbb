import TensorCore

/// An operator's signature, parsed from ATen's schema language.
///
/// `aten.conv2d.default(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1) -> Tensor`
package struct Schema: Sendable, Hashable {
  package enum Kind: Sendable, Hashable {
    case tensor, optionalTensor, tensors
    case int, optionalInt
    case ints(count: Int?)
    case floats
    case float, optionalFloat, bool, string, dataType
  }

  package struct Parameter: Sendable, Hashable {
    package let name: String
    package let kind: Kind
    /// Nil when the argument must be given.
    package let defaultValue: Attribute?
    package let isKeywordOnly: Bool
  }

  /// The qualified name with its overload, `aten.conv2d.default`.
  package let name: String
  package let parameters: [Parameter]

  package func parameter(named name: String) -> Parameter? { parameters.first { $0.name == name } }

  /// - Precondition: `text` is a well-formed schema in ASCII; schemas are literals of this package, checked by the tests.
  package init(_ text: String) {
    // All schemas are parsed when the first operator is looked up: bytes, since characters cost a millisecond.
    let bytes = Array(text.utf8)
    guard let open = bytes.firstIndex(of: UInt8(ascii: "(")), let close = bytes.firstIndex(of: UInt8(ascii: ")")) else {
      preconditionFailure("schema without parameters: \(text)")
    }
    name = String(decoding: bytes[..<open], as: UTF8.self)
    var parameters: [Parameter] = []
    var isKeywordOnly = false
    for field in Schema.split(bytes[(open + 1)..<close]) {
      if field.elementsEqual("*".utf8) {
        isKeywordOnly = true
        continue
      }
      let parts = field.split(separator: UInt8(ascii: "="), maxSplits: 1)
      let words = parts[0].split(separator: UInt8(ascii: " "))
      precondition(words.count == 2, "malformed parameter in \(text)")
      let kind = Kind(String(decoding: words[0], as: UTF8.self))
      parameters.append(
        Parameter(
          name: String(decoding: words[1], as: UTF8.self), kind: kind,
          defaultValue: parts.count == 2
            ? Schema.literal(String(decoding: parts[1], as: UTF8.self)[...], of: kind) : nil,
          isKeywordOnly: isKeywordOnly))
    }
    self.parameters = parameters
  }

  /// Splits at commas outside brackets and trims blanks.
  private static func split(_ text: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
    var fields: [ArraySlice<UInt8>] = []
    var depth = 0
    var start = text.startIndex
    for index in text.indices {
      switch text[index] {
      case UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "]"): depth -= 1
      case UInt8(ascii: ",") where depth == 0:
        fields.append(text[start..<index])
        start = index + 1
      default: break
      }
    }
    fields.append(text[start...])
    return fields.map { $0.drop { $0 == UInt8(ascii: " ") } }.filter { !$0.isEmpty }
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
  init(_ text: String) {
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
