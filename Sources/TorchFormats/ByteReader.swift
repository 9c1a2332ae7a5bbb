/// Little-endian reads from untrusted bytes; nil where the read would leave them.
///
/// Holds a pointer only: whoever makes one keeps the bytes alive.
struct ByteReader {
  let bytes: UnsafeRawBufferPointer

  func uint16(at offset: Int) -> Int? { load(UInt16.self, at: offset).map { Int(UInt16(littleEndian: $0)) } }

  func uint32(at offset: Int) -> Int? { load(UInt32.self, at: offset).map { Int(UInt32(littleEndian: $0)) } }

  /// Nil also when the number exceeds `Int.max`.
  func uint64(at offset: Int) -> Int? {
    load(UInt64.self, at: offset).flatMap { Int(exactly: UInt64(littleEndian: $0)) }
  }

  func slice(at offset: Int, count: Int) -> UnsafeRawBufferPointer? {
    guard offset >= 0, count >= 0, offset <= bytes.count, count <= bytes.count - offset else { return nil }
    return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
  }

  private func load<T: BitwiseCopyable>(_ type: T.Type, at offset: Int) -> T? {
    guard offset >= 0, offset <= bytes.count - MemoryLayout<T>.size else { return nil }
    return bytes.loadUnaligned(fromByteOffset: offset, as: type)
  }
}
