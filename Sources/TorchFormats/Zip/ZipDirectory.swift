/// The directory at a zip file's end (PKWARE APPNOTE 6.3, sections 4.3.12 to 4.3.16).
struct ZipDirectory {
  let path: String
  let reader: ByteReader

  static let localSignature = 0x0403_4b50
  static let centralSignature = 0x0201_4b50
  static let endSignature = 0x0605_4b50
  static let end64Signature = 0x0606_4b50
  static let end64LocatorSignature = 0x0706_4b50

  private struct Extent {
    var count: Int
    var byteCount: Int
    var offset: Int
  }

  func entries() throws(FormatError) -> [ZipArchive.Entry] {
    let extent = try extent()
    guard let directory = reader.slice(at: extent.offset, count: extent.byteCount),
      extent.count <= extent.byteCount / 46
    else { throw error("the directory reaches past the end of the file", at: extent.offset) }
    let central = ByteReader(bytes: directory)
    var entries: [ZipArchive.Entry] = []
    entries.reserveCapacity(extent.count)
    var offset = 0
    for _ in 0..<extent.count {
      let (entry, length) = try entry(central, at: offset, of: extent)
      entries.append(entry)
      offset += length
    }
    return entries
  }

  private func error(_ reason: String, at offset: Int) -> FormatError {
    FormatError(path: path, place: "offset \(offset)", reason: reason)
  }

  /// Where the directory lies: from the end record, which only the archive's comment follows, or from the zip64 one.
  private func extent() throws(FormatError) -> Extent {
    let last = reader.bytes.count - 22
    var end = last
    while end >= max(0, last - 65_535) {
      if reader.uint32(at: end) == ZipDirectory.endSignature, reader.uint16(at: end + 20) == last - end { break }
      end -= 1
    }
    guard end >= max(0, last - 65_535), let count = reader.uint16(at: end + 10),
      let byteCount = reader.uint32(at: end + 12), let offset = reader.uint32(at: end + 16)
    else {
      throw FormatError(path: path, reason: "is not a zip archive, as .pt2, .pth and .npz files are, or was cut off")
    }
    guard count == 0xffff || byteCount == 0xffff_ffff || offset == 0xffff_ffff else {
      return Extent(count: count, byteCount: byteCount, offset: offset)
    }
    let locator = end - 20
    guard reader.uint32(at: locator) == ZipDirectory.end64LocatorSignature else {
      return Extent(count: count, byteCount: byteCount, offset: offset)
    }
    guard let end64 = reader.uint64(at: locator + 8), end64 < reader.bytes.count,
      reader.uint32(at: end64) == ZipDirectory.end64Signature,
      let count = reader.uint64(at: end64 + 32), let byteCount = reader.uint64(at: end64 + 40),
      let offset = reader.uint64(at: end64 + 48)
    else { throw error("the zip64 directory record is damaged", at: locator) }
    return Extent(count: count, byteCount: byteCount, offset: offset)
  }

  /// One directory record and its length.
  private func entry(
    _ central: ByteReader, at offset: Int, of extent: Extent
  ) throws(FormatError) -> (ZipArchive.Entry, length: Int) {
    guard central.uint32(at: offset) == ZipDirectory.centralSignature, let flags = central.uint16(at: offset + 8),
      let method = central.uint16(at: offset + 10), let crc = central.uint32(at: offset + 16),
      var compressed = central.uint32(at: offset + 20), var size = central.uint32(at: offset + 24),
      let nameLength = central.uint16(at: offset + 28), let extraLength = central.uint16(at: offset + 30),
      let commentLength = central.uint16(at: offset + 32), var header = central.uint32(at: offset + 42),
      let nameBytes = central.slice(at: offset + 46, count: nameLength),
      let extra = central.slice(at: offset + 46 + nameLength, count: extraLength)
    else { throw error("a directory record is damaged", at: extent.offset + offset) }
    guard let name = String(validating: nameBytes, as: UTF8.self) else {
      throw error("an entry's name is not UTF-8", at: extent.offset + offset)
    }
    var wide = Zip64Field(extra)
    guard wide.replace(&size), wide.replace(&compressed), wide.replace(&header) else {
      throw error("a zip64 field is damaged", at: extent.offset + offset)
    }
    guard header <= reader.bytes.count, compressed <= reader.bytes.count else {
      throw FormatError(path: path, place: "entry '\(name)'", reason: "lies outside the file")
    }
    let entry = ZipArchive.Entry(
      name: name, byteCount: size, compressedByteCount: compressed, crc32: UInt32(crc), method: method,
      isEncrypted: flags & 1 != 0, headerOffset: header)
    return (entry, length: 46 + nameLength + extraLength + commentLength)
  }
}

/// The extra field that holds, in this order, those of an entry's sizes and its offset that need 64 bits.
private struct Zip64Field {
  private var values: ByteReader?
  private var position = 0

  init(_ extra: UnsafeRawBufferPointer) {
    let reader = ByteReader(bytes: extra)
    var offset = 0
    while let id = reader.uint16(at: offset), let length = reader.uint16(at: offset + 2) {
      if id == 1, let field = reader.slice(at: offset + 4, count: length) {
        values = ByteReader(bytes: field)
        return
      }
      offset += 4 + length
    }
  }

  /// Puts the next value in place of one that says it is too large for 32 bits. False when the field lacks it.
  mutating func replace(_ narrow: inout Int) -> Bool {
    guard narrow == 0xffff_ffff, let values else { return true }
    guard let wide = values.uint64(at: position) else { return false }
    position += 8
    narrow = wide
    return true
  }
}
