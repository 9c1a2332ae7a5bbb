/// Why a pickle cannot be read, and where in it.
struct PickleFailure: Error {
  let offset: Int
  let reason: String
}

/// Reads the arguments of pickle opcodes, in order. Holds a pointer only, as `ByteReader` does.
struct PickleReader {
  let reader: ByteReader
  private(set) var position: Int

  init(_ bytes: UnsafeRawBufferPointer, at position: Int) {
    reader = ByteReader(bytes: bytes)
    self.position = position
  }

  func failure(_ reason: String) -> PickleFailure { PickleFailure(offset: position, reason: reason) }

  private var cutOff: PickleFailure { failure("is cut off") }

  mutating func slice(_ count: Int) throws(PickleFailure) -> UnsafeRawBufferPointer {
    guard let slice = reader.slice(at: position, count: count) else { throw cutOff }
    position += count
    return slice
  }

  mutating func uint8() throws(PickleFailure) -> Int { Int(try slice(1)[0]) }

  mutating func uint16() throws(PickleFailure) -> Int {
    let bytes = try slice(2)
    return Int(bytes[0]) | Int(bytes[1]) << 8
  }

  mutating func uint32() throws(PickleFailure) -> Int {
    guard let value = reader.uint32(at: position) else { throw cutOff }
    position += 4
    return value
  }

  /// A length, which no file exceeds.
  mutating func uint64() throws(PickleFailure) -> Int {
    guard let value = reader.uint64(at: position) else { throw cutOff }
    position += 8
    return value
  }

  mutating func int32() throws(PickleFailure) -> Int { Int(Int32(truncatingIfNeeded: try uint32())) }

  /// A big-endian IEEE double.
  mutating func double() throws(PickleFailure) -> Double {
    Double(bitPattern: try slice(8).reduce(0) { $0 << 8 | UInt64($1) })
  }

  /// UTF-8, where Python also writes lone surrogates, which Swift's strings cannot hold.
  mutating func utf8(_ count: Int) throws(PickleFailure) -> String {
    let bytes = try slice(count)
    guard let text = String(validating: bytes, as: UTF8.self) else { throw failure("a string is not UTF-8") }
    return text
  }

  /// A Python 2 string: text if it is UTF-8.
  mutating func byteString(_ count: Int) throws(PickleFailure) -> PickleValue {
    let bytes = try slice(count)
    return String(validating: bytes, as: UTF8.self).map { .string($0) } ?? .bytes([UInt8](bytes))
  }

  /// Two's complement, little-endian.
  mutating func long(_ count: Int) throws(PickleFailure) -> PickleValue {
    let bytes = try slice(count)
    guard count <= 8 else { return .long([UInt8](bytes)) }
    let value = bytes.reversed().reduce(bytes.last.map { $0 >= 0x80 ? -1 : 0 } ?? 0) { $0 << 8 | Int($1) }
    return .int(value)
  }

  /// The bytes up to the next line feed, which is consumed.
  mutating func lineBytes() throws(PickleFailure) -> UnsafeRawBufferPointer {
    guard let end = reader.bytes[position...].firstIndex(of: 0x0a) else { throw cutOff }
    let line = try slice(end - position)
    position += 1
    return line
  }

  mutating func line() throws(PickleFailure) -> String {
    let bytes = try lineBytes()
    guard let text = String(validating: bytes, as: UTF8.self) else { throw failure("a line is not UTF-8") }
    return text
  }

  /// Protocol 0's integers, where "00" and "01" are booleans and longs end in "L".
  mutating func decimal() throws(PickleFailure) -> PickleValue {
    let text = try line()
    if text == "00" || text == "01" { return .bool(text == "01") }
    guard let value = Int(text.hasSuffix("L") ? String(text.dropLast()) : text) else {
      throw failure("'\(text.prefix(40))' is not a 64-bit integer")
    }
    return .int(value)
  }

  /// Protocol 0's strings: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
  mutating func rawUnicodeEscape() throws(PickleFailure) -> String {
    var rest = try lineBytes()[...]
    var text = String.UnicodeScalarView()
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let kind = rest.first, kind == UInt8(ascii: "u") || kind == UInt8(ascii: "U")
      else {
        text.append(Unicode.Scalar(byte))
        continue
      }
      let count = kind == UInt8(ascii: "u") ? 4 : 8
      let digits = String(decoding: rest.dropFirst().prefix(count), as: UTF8.self)
      guard digits.utf8.count == count, let scalar = UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init) else {
        throw failure("a string has a wrong escape")
      }
      text.append(scalar)
      rest = rest.dropFirst(count + 1)
    }
    return String(text)
  }
}
