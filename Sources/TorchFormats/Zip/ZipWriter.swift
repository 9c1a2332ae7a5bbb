import CZlib

/// Writes a zip file of entries whose contents are aligned to 64 bytes, as PyTorch lays them out: stored, or (text)
/// deflated, which PyTorch reads too.
///
/// The same entries give the same bytes: the date is fixed. The target is replaced when `finish()` returns; dropped
/// before, or after an error, the writer leaves nothing behind. Files beyond 4 GiB are refused.
package struct ZipWriter {
  /// Bytes; PyTorch maps weights and wants them aligned.
  package static let alignment = 64

  private struct Record {
    let name: [UInt8]
    let crc32: UInt32
    let byteCount: Int
    let headerOffset: Int
    /// Nil for a stored entry.
    let deflatedByteCount: Int?
  }

  private let file: AtomicFile
  private var records: [Record] = []
  private var names: Set<String> = []

  /// Throws when the file's folder does not exist or cannot be written to.
  package init(path: String) throws(FormatError) {
    file = try AtomicFile(path)
  }

  package mutating func add(_ name: String, _ content: [UInt8]) throws(FormatError) {
    try withBytes(of: content) { bytes throws(FormatError) in try add(name, chunks: [bytes]) }
  }

  /// Adds a deflated entry; stored, where that is no longer. Throws as `add(_:chunks:)` does.
  package mutating func addDeflated(_ name: String, _ content: [UInt8]) throws(FormatError) {
    guard let deflated = deflate(content), deflated.count < content.count else { return try add(name, content) }
    let crc = content.withUnsafeBytes { checksum($0, continuing: 0) }
    try withBytes(of: deflated) { bytes throws(FormatError) in
      try add(name, [bytes], crc32: crc, byteCount: content.count, deflatedByteCount: deflated.count)
    }
  }

  /// Adds an entry whose content is `chunks` one after the other.
  ///
  /// Throws for a name that is taken or too long, and when the file would exceed 4 GiB or cannot be written.
  package mutating func add(_ name: String, chunks: [UnsafeRawBufferPointer]) throws(FormatError) {
    let crc = chunks.reduce(0) { checksum($1, continuing: $0) }
    try add(name, chunks, crc32: crc, byteCount: chunks.reduce(0) { $0 + $1.count }, deflatedByteCount: nil)
  }

  private mutating func add(
    _ name: String, _ chunks: [UnsafeRawBufferPointer], crc32: UInt32, byteCount: Int, deflatedByteCount: Int?
  ) throws(FormatError) {
    let utf8 = [UInt8](name.utf8)
    guard names.insert(name).inserted, (1...0x7fff).contains(utf8.count) else {
      throw FormatError(path: file.path, place: "entry '\(name)'", reason: "its name occurs twice or is too long")
    }
    guard file.byteCount + byteCount < 0xffff_0000, records.count < 0xfffe else {
      throw FormatError(
        path: file.path, place: "entry '\(name)'", reason: "the archive would exceed 4 GiB or 65534 entries")
    }
    let record = Record(
      name: utf8, crc32: crc32, byteCount: byteCount, headerOffset: file.byteCount,
      deflatedByteCount: deflatedByteCount)
    // PyTorch pads with an extra field "FB" of as many bytes as the content needs to be aligned.
    let unpadded = file.byteCount + 30 + utf8.count + 4
    let padding = (ZipWriter.alignment - unpadded % ZipWriter.alignment) % ZipWriter.alignment
    var header = LittleEndianBytes()
    header.append32(ZipDirectory.localSignature)
    append(record, to: &header)
    header.append16(4 + padding)
    header.bytes += utf8
    header.bytes += [0x46, 0x42]
    header.append16(padding)
    header.bytes += [UInt8](repeating: 0x5a, count: padding)
    try file.write(header.bytes)
    for chunk in chunks { try file.write(chunk) }
    records.append(record)
  }

  /// Writes the directory and puts the file in its place.
  package func finish() throws(FormatError) {
    var directory = LittleEndianBytes()
    for record in records {
      directory.append32(ZipDirectory.centralSignature)
      directory.append16(20)
      append(record, to: &directory)
      directory.append16(0)
      directory.bytes += [UInt8](repeating: 0, count: 10)
      directory.append32(record.headerOffset)
      directory.bytes += record.name
    }
    let (offset, byteCount) = (file.byteCount, directory.bytes.count)
    guard offset + byteCount < 0xffff_ffff else {
      throw FormatError(path: file.path, reason: "the archive would exceed 4 GiB")
    }
    directory.append32(ZipDirectory.endSignature)
    directory.append32(0)
    directory.append16(records.count)
    directory.append16(records.count)
    directory.append32(byteCount)
    directory.append32(offset)
    directory.append16(0)
    try file.write(directory.bytes)
    try file.commit()
  }

  /// The fields that local header and directory record share, from the version to the length of the name: UTF-8 name,
  /// midnight of 1980-01-01.
  private func append(_ record: Record, to bytes: inout LittleEndianBytes) {
    bytes.append16(20)
    bytes.append16(0x0800)
    bytes.append16(record.deflatedByteCount == nil ? 0 : Int(Z_DEFLATED))
    bytes.append16(0)
    bytes.append16(0x0021)
    bytes.append32(Int(record.crc32))
    bytes.append32(record.deflatedByteCount ?? record.byteCount)
    bytes.append32(record.byteCount)
    bytes.append16(record.name.count)
  }
}

/// The content as a raw deflate stream; nil when zlib refuses.
private func deflate(_ content: [UInt8]) -> [UInt8]? {
  guard let count = UInt32(exactly: content.count) else { return nil }
  var stream = z_stream()
  let level = Z_BEST_COMPRESSION
  guard
    deflateInit2_(
      &stream, level, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
      Int32(MemoryLayout<z_stream>.size)) == Z_OK
  else { return nil }
  defer { deflateEnd(&stream) }
  var source = content
  let capacity = Int(deflateBound(&stream, UInt(count)))
  let result = [UInt8](unsafeUninitializedCapacity: capacity) { target, written in
    source.withUnsafeMutableBufferPointer { bytes in
      stream.next_in = bytes.baseAddress
      stream.avail_in = count
      stream.next_out = target.baseAddress
      stream.avail_out = UInt32(capacity)
      written = deflate(&stream, Z_FINISH) == Z_STREAM_END ? capacity - Int(stream.avail_out) : 0
    }
  }
  return result.isEmpty ? nil : result
}

/// Bytes under construction.
struct LittleEndianBytes {
  var bytes: [UInt8] = []

  mutating func append16(_ value: Int) {
    bytes.append(UInt8(truncatingIfNeeded: value))
    bytes.append(UInt8(truncatingIfNeeded: value >> 8))
  }

  mutating func append32(_ value: Int) {
    append16(value)
    append16(value >> 16)
  }
}
