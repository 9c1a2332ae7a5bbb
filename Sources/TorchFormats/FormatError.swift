import TensorCore

/// A file that cannot be read or written: which one, where inside it, and why.
public struct FormatError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The file.
  public let path: String
  /// The place inside the file: an archive entry, a node, a byte offset. Empty when the whole file is meant.
  public let place: String
  /// What is wrong, in words; text of the file among them.
  public let reason: String

  package init(path: String, place: String = "", reason: String) {
    self.path = path
    self.place = place
    self.reason = reason
  }

  package init(_ error: FileError) { self.init(path: error.path, reason: error.reason) }

  /// One line: what the file supplied is shortened and its control characters are escaped.
  public var description: String {
    let place = place.isEmpty ? "" : FormatError.printable(place) + ": "
    return "\(path): \(place)\(FormatError.printable(reason))"
  }

  /// Text of a file as one line: cut after 600 characters, control characters escaped.
  package static func printable(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars.prefix(600) {
      let isControl =
        scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .lineSeparator
      if isControl { result += scalar.escaped(asASCII: true) } else { result.unicodeScalars.append(scalar) }
    }
    return result
  }

  /// What a `JSONDecoder` found wrong, and where.
  static func reason(decoding error: any Error) -> String {
    guard let error = error as? DecodingError else { return "is not JSON: \(error)" }
    func at(_ context: DecodingError.Context) -> String {
      let path = context.codingPath.reduce("") { text, key in
        if let index = key.intValue { return text + "[\(index)]" }
        return text + (text.isEmpty ? "" : ".") + key.stringValue
      }
      return path.isEmpty ? "" : " at \(path)"
    }
    switch error {
    case .keyNotFound(let key, let context): return "has no '\(key.stringValue)'\(at(context))"
    case .typeMismatch(let type, let context): return "has no \(type)\(at(context))"
    case .valueNotFound(let type, let context): return "has no \(type)\(at(context))"
    case .dataCorrupted(let context): return "is damaged\(at(context)): \(context.debugDescription)"
    @unknown default: return "is damaged"
    }
  }
}
