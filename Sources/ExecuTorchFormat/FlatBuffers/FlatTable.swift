import TensorCore
import TorchFormats

/// The bytes of a FlatBuffer, from an untrusted file, and how much may still be read out of them.
///
/// Objects of a FlatBuffer refer to each other by offset, and nothing keeps many references from leading to one object:
/// the budget bounds what a small file can make of itself.
final class FlatBuffer {
  let bytes: UnsafeRawBufferPointer
  let path: String
  /// What the buffer is called in messages.
  let name: String
  private var budget: Int

  /// - Parameter bytes: must stay valid as long as the buffer is used.
  init(_ bytes: UnsafeRawBufferPointer, path: String, name: String) {
    self.bytes = bytes
    self.path = path
    self.name = name
    budget = 4 * bytes.count + 4096
  }

  func error(_ reason: String) -> FormatError { FormatError(path: path, place: name, reason: reason) }

  func load<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, at offset: Int) throws(FormatError) -> T {
    guard offset >= 0, offset <= bytes.count - MemoryLayout<T>.size else {
      throw error("is damaged: it reads at byte \(offset) of \(bytes.count)")
    }
    return T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
  }

  /// The absolute position that the reference at `offset` leads to.
  func follow(_ offset: Int) throws(FormatError) -> Int {
    let target = offset + Int(try load(UInt32.self, at: offset))
    guard target < bytes.count else { throw error("is damaged: a reference at byte \(offset) leads outside") }
    return target
  }

  func spend(_ count: Int) throws(FormatError) {
    budget -= count
    if budget < 0 { throw error("is damaged: its parts are referred to more often than they can be") }
  }

  /// The root table, after the identifier (bytes 4 to 8) was compared with those given.
  func root(identifiers: [String]) throws(FormatError) -> FlatTable {
    guard bytes.count >= 8 else { throw error("is cut off after \(bytes.count) bytes") }
    let found = String(decoding: bytes[4..<8], as: UTF8.self)
    guard identifiers.contains(found) else {
      throw error("has identifier '\(found)'; only '\(identifiers.joined(separator: "' and '"))' can be read")
    }
    return try FlatTable(self, at: follow(0))
  }
}

/// A table of a FlatBuffer: fields by number, each absent or there. Numbers count the schema's fields in order, two for
/// a union (its type, its value).
struct FlatTable {
  let buffer: FlatBuffer
  private let position: Int
  private let vtable: Int
  private let vtableSize: Int

  init(_ buffer: FlatBuffer, at position: Int) throws(FormatError) {
    self.buffer = buffer
    self.position = position
    try buffer.spend(1)
    vtable = position - Int(try buffer.load(Int32.self, at: position))
    vtableSize = Int(try buffer.load(UInt16.self, at: vtable))
    guard vtableSize >= 4, vtable + vtableSize <= buffer.bytes.count else {
      throw buffer.error("is damaged: the table at byte \(position) has no field list")
    }
  }

  /// Where a field's value lies; nil when it is absent and its default stands.
  private func place(_ field: Int) throws(FormatError) -> Int? {
    let slot = 4 + 2 * field
    guard slot + 2 <= vtableSize else { return nil }
    let offset = Int(try buffer.load(UInt16.self, at: vtable + slot))
    return offset == 0 ? nil : position + offset
  }

  func integer<T: FixedWidthInteger & BitwiseCopyable>(
    _ field: Int, as type: T.Type, default value: T = 0
  ) throws(FormatError) -> T {
    guard let place = try place(field) else { return value }
    return try buffer.load(type, at: place)
  }

  /// A signed 32-bit field, or an unsigned one, as an `Int`.
  func int(_ field: Int) throws(FormatError) -> Int { Int(try integer(field, as: Int32.self)) }

  func uint(_ field: Int) throws(FormatError) -> Int { Int(try integer(field, as: UInt32.self)) }

  /// A 64-bit length or offset. Throws when it exceeds `Int.max`.
  func length(_ field: Int) throws(FormatError) -> Int {
    let value = try integer(field, as: UInt64.self)
    guard let narrow = Int(exactly: value) else { throw buffer.error("is damaged: \(value) is no length") }
    return narrow
  }

  func bool(_ field: Int) throws(FormatError) -> Bool { try integer(field, as: UInt8.self) != 0 }

  func float(_ field: Int) throws(FormatError) -> Float {
    Float(bitPattern: try integer(field, as: UInt32.self))
  }

  func double(_ field: Int) throws(FormatError) -> Double {
    Double(bitPattern: try integer(field, as: UInt64.self))
  }

  func table(_ field: Int) throws(FormatError) -> FlatTable? {
    guard let place = try place(field) else { return nil }
    return try FlatTable(buffer, at: buffer.follow(place))
  }

  /// Like `table`, where the schema's user cannot do without.
  func requiredTable(_ field: Int, _ name: String) throws(FormatError) -> FlatTable {
    guard let table = try table(field) else { throw buffer.error("has no '\(name)'") }
    return table
  }

  /// The bytes of a vector's elements, each of `elementSize`; empty when the field is absent.
  private func vector(_ field: Int, elementSize: Int) throws(FormatError) -> (start: Int, count: Int) {
    guard let place = try place(field) else { return (0, 0) }
    let start = try buffer.follow(place)
    let count = Int(try buffer.load(UInt32.self, at: start))
    guard count <= (buffer.bytes.count - start - 4) / elementSize else {
      throw buffer.error("is damaged: a list of \(count) elements at byte \(start) does not fit")
    }
    try buffer.spend(count)
    return (start + 4, count)
  }

  func integers<T: FixedWidthInteger & BitwiseCopyable>(_ field: Int, as type: T.Type) throws(FormatError) -> [T] {
    let (start, count) = try vector(field, elementSize: MemoryLayout<T>.size)
    var result: [T] = []
    result.reserveCapacity(count)
    for index in 0..<count { result.append(try buffer.load(type, at: start + index * MemoryLayout<T>.size)) }
    return result
  }

  func ints(_ field: Int) throws(FormatError) -> [Int] { try integers(field, as: Int32.self).map(Int.init) }

  func uints(_ field: Int) throws(FormatError) -> [Int] { try integers(field, as: UInt32.self).map(Int.init) }

  func floats(_ field: Int) throws(FormatError) -> [Float] {
    try integers(field, as: UInt32.self).map(Float.init(bitPattern:))
  }

  func doubles(_ field: Int) throws(FormatError) -> [Double] {
    try integers(field, as: UInt64.self).map(Double.init(bitPattern:))
  }

  func string(_ field: Int) throws(FormatError) -> String {
    let (start, count) = try vector(field, elementSize: 1)
    return String(decoding: buffer.bytes[start..<start + count], as: UTF8.self)
  }

  /// Where a vector of bytes lies in the buffer.
  func byteRange(_ field: Int) throws(FormatError) -> Range<Int> {
    let (start, count) = try vector(field, elementSize: 1)
    return start..<start + count
  }

  func tables(_ field: Int) throws(FormatError) -> [FlatTable] {
    let (start, count) = try vector(field, elementSize: 4)
    var result: [FlatTable] = []
    result.reserveCapacity(count)
    for index in 0..<count { result.append(try FlatTable(buffer, at: buffer.follow(start + 4 * index))) }
    return result
  }
}
