import TensorCore

/// The header of an `.npy` file: magic, version, and a Python dict literal with `descr`, `fortran_order` and `shape`
/// (NumPy, "The .npy format", versions 1.0 to 3.0).
struct NumPyHeader {
  let spec: TensorSpec
  /// Where the elements begin.
  let dataOffset: Int

  /// NumPy's type strings, without the byte order.
  private static let dataTypes: [String: DataType] = [
    "f2": .float16, "f4": .float32, "f8": .float64, "i1": .int8, "i2": .int16, "i4": .int32, "i8": .int64,
    "u1": .uint8, "b1": .bool,
  ]
  private static let magic: [UInt8] = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]
  private static let lengthLimit = 1 << 16

  struct Failure: Error { let reason: String }

  static func hasMagic(_ bytes: UnsafeRawBufferPointer) -> Bool { bytes.prefix(6).elementsEqual(magic) }

  /// Throws a `Failure` for another format, an element type without counterpart, Fortran order, and data cut off.
  init(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
    let reader = ByteReader(bytes: bytes)
    guard NumPyHeader.hasMagic(bytes), bytes.count >= 8 else {
      throw Failure(reason: "is not an .npy array")
    }
    let version = bytes[6]
    guard (1...3).contains(version) else { throw Failure(reason: "has .npy version \(version); 1 to 3 can be read") }
    let start = version == 1 ? 10 : 12
    guard let length = version == 1 ? reader.uint16(at: 8) : reader.uint32(at: 8), length <= NumPyHeader.lengthLimit,
      let text = reader.slice(at: start, count: length)
    else { throw Failure(reason: "its header is cut off or too long") }
    var parser = PythonLiteralParser(text)
    guard case .dictionary(let fields) = parser.parse(), case .bool(let isFortran)? = fields["fortran_order"],
      case .tuple(let dimensions)? = fields["shape"], let description = fields["descr"]
    else { throw Failure(reason: "its header is damaged") }
    guard case .string(let type) = description else {
      throw Failure(reason: "holds records; only plain element types can be read")
    }
    guard !isFortran else {
      throw Failure(reason: "is in Fortran order; save numpy.ascontiguousarray(x) instead")
    }
    spec = TensorSpec(try NumPyHeader.dataType(type), try NumPyHeader.shape(dimensions))
    dataOffset = start + length
    guard reader.slice(at: dataOffset, count: spec.byteCount) != nil else {
      throw Failure(reason: "\(spec) needs \(spec.byteCount) bytes; the file has \(bytes.count - dataOffset)")
    }
  }

  private static func dataType(_ text: String) throws(Failure) -> DataType {
    guard let order = text.first, let type = dataTypes[String(text.dropFirst())] else {
      throw Failure(reason: "has element type '\(text)', which is not supported")
    }
    guard order == "<" || order == "|" || (order == "=" && type.size == 1) else {
      throw Failure(reason: "has element type '\(text)'; only little-endian data can be read")
    }
    return type
  }

  private static func shape(_ items: [PythonLiteralParser.Value]) throws(Failure) -> Shape {
    var dimensions: [Int] = []
    for item in items {
      guard case .int(let dimension) = item else { throw Failure(reason: "its shape is damaged") }
      dimensions.append(dimension)
    }
    guard dimensions.count <= 64, let shape = Shape(validating: dimensions) else {
      throw Failure(reason: "its shape \(dimensions.prefix(8)) is impossible")
    }
    return shape
  }

  /// The header of a tensor's `.npy` file, a multiple of 64 bytes long. Nil for bfloat16, which NumPy does not know.
  static func bytes(for spec: TensorSpec) -> [UInt8]? {
    guard let type = dataTypes.first(where: { $0.value == spec.dataType })?.key else { return nil }
    let order = spec.dataType.size == 1 ? "|" : "<"
    let shape = spec.shape.dimensions.map { "\($0)," }.joined(separator: " ")
    let tuple = spec.shape.rank > 1 ? "(\(shape.dropLast()))" : "(\(shape))"
    var text = "{'descr': '\(order)\(type)', 'fortran_order': False, 'shape': \(tuple), }"
    text += String(repeating: " ", count: 63 - (10 + text.utf8.count) % 64) + "\n"
    var result = LittleEndianBytes(bytes: magic + [1, 0])
    result.append16(text.utf8.count)
    return result.bytes + text.utf8
  }
}

/// Reads the few Python literals that `.npy` headers are made of.
struct PythonLiteralParser {
  enum Value {
    case string(String)
    case bool(Bool)
    case int(Int)
    case tuple([Value])
    case dictionary([String: Value])
  }

  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  private var depth = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// The literal at the start, or nil; what follows is not looked at.
  mutating func parse() -> Value? {
    depth += 1
    defer { depth -= 1 }
    guard depth < 8 else { return nil }
    skipBlanks()
    switch peek() {
    case UInt8(ascii: "{"): return dictionary()
    case UInt8(ascii: "("): return list(until: UInt8(ascii: ")"))
    case UInt8(ascii: "["): return list(until: UInt8(ascii: "]"))
    case UInt8(ascii: "'"), UInt8(ascii: "\""): return string().map { .string($0) }
    case UInt8(ascii: "T"): return take("True") ? .bool(true) : nil
    case UInt8(ascii: "F"): return take("False") ? .bool(false) : nil
    default: return int().map { .int($0) }
    }
  }

  private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipBlanks() {
    while let byte = peek(), byte == 0x20 || byte == 0x0a { position += 1 }
  }

  private mutating func take(_ word: StaticString) -> Bool {
    let count = word.utf8CodeUnitCount
    guard count <= bytes.count - position, bytes[position..<position + count].elementsEqual(word.utf8) else {
      return false
    }
    position += count
    return true
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    skipBlanks()
    guard peek() == byte else { return false }
    position += 1
    return true
  }

  private mutating func dictionary() -> Value? {
    position += 1
    var fields: [String: Value] = [:]
    while !take(UInt8(ascii: "}")) {
      skipBlanks()
      guard let key = string(), take(UInt8(ascii: ":")), let value = parse() else { return nil }
      fields[key] = value
      guard take(UInt8(ascii: ",")) || peek() == UInt8(ascii: "}") else { return nil }
    }
    return .dictionary(fields)
  }

  private mutating func list(until end: UInt8) -> Value? {
    position += 1
    var items: [Value] = []
    while !take(end) {
      guard let item = parse() else { return nil }
      items.append(item)
      guard take(UInt8(ascii: ",")) || peek() == end else { return nil }
    }
    return .tuple(items)
  }

  /// A string without escapes.
  private mutating func string() -> String? {
    guard let quote = peek(), quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else { return nil }
    let start = position + 1
    guard let end = bytes[start...].firstIndex(of: quote) else { return nil }
    position = end + 1
    return String(validating: bytes[start..<end], as: UTF8.self)
  }

  private mutating func int() -> Int? {
    let start = position
    while let byte = peek(), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
    return Int(String(decoding: bytes[start..<position], as: UTF8.self))
  }
}

extension StaticString {
  fileprivate var utf8: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: utf8Start, count: utf8CodeUnitCount) }
}
