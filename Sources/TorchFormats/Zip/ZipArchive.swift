import CZlib
import TensorCore

/// A zip file, mapped into memory: its directory, and windows on its stored entries.
///
/// Reads what PyTorch and NumPy write: stored and deflated entries, zip64. Every offset and size is checked against the
/// file, and entries together may not claim more bytes than the file has, so that what can be inflated stays in
/// proportion to the file's size.
package struct ZipArchive: Sendable {
  package struct Entry: Hashable, Sendable {
    package let name: String
    /// Bytes of the content.
    package let byteCount: Int
    /// Bytes that it takes in the file.
    package let compressedByteCount: Int
    package let crc32: UInt32
    let method: Int
    let isEncrypted: Bool
    let headerOffset: Int
  }

  /// The content of an entry, somewhere in a storage: the mapped file, or the inflated bytes.
  package struct Window: Sendable {
    package let storage: Storage
    package let byteOffset: Int
    package let byteCount: Int

    init(storage: Storage, byteOffset: Int, byteCount: Int) {
      self.storage = storage
      self.byteOffset = byteOffset
      self.byteCount = byteCount
    }

    /// A whole file. Throws when it cannot be mapped.
    init(mapping path: String) throws(FormatError) {
      do { storage = try Storage(mapping: path) } catch { throw FormatError(error) }
      byteOffset = 0
      byteCount = storage.byteCount
    }

    /// The part of `count` bytes from `offset` on; nil when it reaches outside.
    func slice(at offset: Int, count: Int) -> Window? {
      guard offset >= 0, count >= 0, offset <= byteCount, count <= byteCount - offset else { return nil }
      return Window(storage: storage, byteOffset: byteOffset + offset, byteCount: count)
    }

    /// The storage stays alive during `body`.
    func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws(FormatError) -> R) throws(FormatError) -> R {
      let result = try body(UnsafeRawBufferPointer(start: storage.base + byteOffset, count: byteCount))
      withExtendedLifetime(storage) {}
      return result
    }
  }

  package let path: String
  /// In the order of the directory.
  package let entries: [Entry]
  /// Where the archive lies: the mapped file, or an entry of another archive.
  private let whole: Window
  private let byName: [String: Int]

  /// The largest content of a deflated entry, bytes; and the most that one byte can inflate to.
  static let inflatedLimit = 1 << 31
  static let inflationLimit = 1032

  /// Whether a name is that of a file in the archive's only folder, whose name may be anything: PyTorch's layout.
  static func isAtRoot(_ name: String, _ file: String) -> Bool {
    name.split(separator: "/", omittingEmptySubsequences: false).count == 2 && name.hasSuffix("/" + file)
  }

  /// Throws when the file cannot be mapped or its directory is damaged; names the entry or the offset.
  package init(path: String) throws(FormatError) {
    try self.init(Window(mapping: path), path: path)
  }

  /// An archive inside another file; `path` is what it is called in messages. Throws as `init(path:)` does.
  init(_ window: Window, path: String) throws(FormatError) {
    whole = window
    self.path = path
    entries = try window.withBytes { bytes throws(FormatError) in
      try ZipDirectory(path: path, reader: ByteReader(bytes: bytes)).entries()
    }
    var byName: [String: Int] = [:]
    var total = 0
    for (index, entry) in entries.enumerated() {
      guard byName.updateValue(index, forKey: entry.name) == nil else {
        throw FormatError(path: path, place: "entry '\(entry.name)'", reason: "appears twice")
      }
      let (sum, overflow) = total.addingReportingOverflow(entry.compressedByteCount)
      guard !overflow, sum <= window.byteCount else {
        throw FormatError(path: path, place: "entry '\(entry.name)'", reason: "the entries are larger than the file")
      }
      total = sum
    }
    self.byName = byName
  }

  /// Bytes of the archive.
  package var byteCount: Int { whole.byteCount }

  package func entry(_ name: String) -> Entry? { byName[name].map { entries[$0] } }

  /// The content of an entry without copying it, if it is stored; its checksum is compared on request. Deflated content
  /// is inflated into new storage and always compared.
  ///
  /// Throws for content outside the file, a wrong checksum, encryption, or another compression method.
  package func window(of entry: Entry, verify: Bool = false) throws(FormatError) -> Window {
    let data = try rawWindow(of: entry)
    switch entry.method {
    case 0:
      guard entry.byteCount == entry.compressedByteCount else {
        throw error(entry, "is stored, but its sizes differ: \(entry.byteCount) and \(entry.compressedByteCount)")
      }
      if verify { try compareChecksum(of: data, entry) }
      return data
    case 8:
      let inflated = try inflate(data, entry)
      try compareChecksum(of: inflated, entry)
      return inflated
    default:
      throw error(entry, "has compression method \(entry.method); only stored and deflated entries can be read")
    }
  }

  /// A copy of an entry's content, checksum compared. For small entries: throws when it exceeds `limit` bytes.
  package func bytes(of entry: Entry, limit: Int = 1 << 28) throws(FormatError) -> [UInt8] {
    guard entry.byteCount <= limit else {
      throw error(entry, "has \(entry.byteCount) bytes; at most \(limit) are read")
    }
    return try window(of: entry, verify: true).withBytes { bytes throws(FormatError) in [UInt8](bytes) }
  }

  func error(_ entry: Entry, _ reason: String) -> FormatError {
    FormatError(path: path, place: "entry '\(entry.name)'", reason: reason)
  }

  /// The bytes in the file. Name and extra field lie between the local header and them, with lengths of their own.
  private func rawWindow(of entry: Entry) throws(FormatError) -> Window {
    guard !entry.isEncrypted else { throw error(entry, "is encrypted") }
    let offset = try whole.withBytes { bytes throws(FormatError) -> Int in
      let reader = ByteReader(bytes: bytes)
      guard reader.uint32(at: entry.headerOffset) == ZipDirectory.localSignature,
        let nameLength = reader.uint16(at: entry.headerOffset + 26),
        let extraLength = reader.uint16(at: entry.headerOffset + 28)
      else { throw error(entry, "no entry header at offset \(entry.headerOffset)") }
      return entry.headerOffset + 30 + nameLength + extraLength
    }
    guard let window = whole.slice(at: offset, count: entry.compressedByteCount) else {
      throw error(entry, "\(entry.compressedByteCount) bytes at offset \(offset) reach past the end of the file")
    }
    return window
  }

  private func compareChecksum(of window: Window, _ entry: Entry) throws(FormatError) {
    let actual = try window.withBytes { bytes throws(FormatError) in checksum(bytes) }
    guard actual == entry.crc32 else { throw error(entry, "is damaged: its checksum is wrong") }
  }

  private func inflate(_ data: Window, _ entry: Entry) throws(FormatError) -> Window {
    guard entry.byteCount <= ZipArchive.inflatedLimit,
      entry.byteCount / ZipArchive.inflationLimit <= data.byteCount, data.byteCount <= ZipArchive.inflatedLimit
    else {
      throw error(entry, "claims \(entry.byteCount) bytes, too many for \(data.byteCount) compressed ones")
    }
    let target = Storage(byteCount: entry.byteCount)
    var stream = z_stream()
    guard inflateInit2_(&stream, -MAX_WBITS, zlibVersion(), Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      throw error(entry, "cannot be inflated: no memory")
    }
    defer { inflateEnd(&stream) }
    stream.next_in = (data.storage.base + data.byteOffset).assumingMemoryBound(to: UInt8.self)
    stream.avail_in = UInt32(data.byteCount)
    stream.next_out = target.base.assumingMemoryBound(to: UInt8.self)
    stream.avail_out = UInt32(entry.byteCount)
    let status = CZlib.inflate(&stream, Z_FINISH)
    withExtendedLifetime(data.storage) {}
    guard status == Z_STREAM_END, stream.avail_out == 0 else {
      throw error(entry, "is damaged: it does not inflate to \(entry.byteCount) bytes")
    }
    return Window(storage: target, byteOffset: 0, byteCount: entry.byteCount)
  }
}

/// CRC-32 as zip files use it.
func checksum(_ bytes: UnsafeRawBufferPointer, continuing previous: UInt32 = 0) -> UInt32 {
  guard let base = bytes.baseAddress, !bytes.isEmpty else { return previous }
  return UInt32(truncatingIfNeeded: crc32_z(UInt(previous), base.assumingMemoryBound(to: UInt8.self), bytes.count))
}
