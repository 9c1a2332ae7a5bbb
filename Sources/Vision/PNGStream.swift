/// The chunks of a PNG file that carry pixels, checked and copied to a stream of their own.
///
/// Everything else is left out, since Pillow's pixels do not depend on it while libpng's do: gAMA, cHRM, sRGB and iCCP
/// (conversion to sRGB), tRNS and bKGD (blending). It also keeps compressed text and profiles away from the decoder.
struct PNGStream {
  static let signature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]

  let header: Header
  /// Signature, IHDR, PLTE if present, all IDAT, IEND.
  let bytes: [UInt8]

  /// The IHDR chunk's fields that matter here.
  struct Header {
    let width: Int
    let height: Int
    let bitDepth: Int
    let colorType: UInt8

    var hasAlpha: Bool { colorType & 4 != 0 }
    /// False for gray, with or without alpha.
    var hasColor: Bool { colorType & 2 != 0 }
    var isPalette: Bool { colorType == 3 }

    /// Bytes of the picture before compression, without the filter byte of each row.
    var rawByteCount: Int {
      let samples = (hasColor && !isPalette ? 3 : 1) + (hasAlpha ? 1 : 0)
      return (width * samples * bitDepth + 7) / 8 * height
    }
  }

  /// Throws the reason why the file cannot be decoded. `bytes` starts with the signature.
  init(_ source: UnsafeRawBufferPointer, name: String) throws(ImageError) {
    func damaged(_ reason: String) -> ImageError { .damaged(name: name, format: .png, reason: reason) }
    var kept = PNGStream.signature
    kept.reserveCapacity(source.count)
    var header: Header?
    var dataByteCount = 0
    var offset = PNGStream.signature.count
    var isEnded = false
    while !isEnded {
      guard let chunk = Chunk(source, at: offset) else { throw damaged("truncated") }
      offset += chunk.byteCount
      guard chunk.isPixelData else { continue }
      let whole = UnsafeRawBufferPointer(rebasing: source[offset - chunk.byteCount..<offset])
      guard chunk.isIntact(whole) else { throw damaged("wrong checksum of chunk \(chunk.type.name)") }
      if header == nil {
        guard chunk.type == .header, chunk.dataByteCount == 13 else { throw damaged("no header") }
        header = Header(
          width: Int(bigEndian32(whole, 8)), height: Int(bigEndian32(whole, 12)), bitDepth: Int(whole[16]),
          colorType: whole[17])
      }
      if chunk.type == .data { dataByteCount += chunk.dataByteCount }
      isEnded = chunk.type == .end
      kept.append(contentsOf: whole)
    }
    guard let header else { throw damaged("no header") }
    guard Image.isAllowed(width: header.width, height: header.height) else {
      throw .tooLarge(name: name, width: header.width, height: header.height)
    }
    // Deflate packs at most 1032 bytes into one, so that a few bytes cannot make the decoder allocate a huge picture.
    guard header.rawByteCount / 1032 <= dataByteCount else { throw damaged("truncated image data") }
    self.header = header
    self.bytes = kept
  }
}

/// One chunk of a PNG file: length, type, data, CRC-32 of type and data.
private struct Chunk {
  /// The four letters as a big-endian number.
  struct Kind: Equatable {
    let code: UInt32
    static let header = Kind(code: 0x4948_4452)
    static let palette = Kind(code: 0x504C_5445)
    static let data = Kind(code: 0x4944_4154)
    static let end = Kind(code: 0x4945_4E44)

    var name: String {
      String(decoding: (0..<4).map { UInt8(truncatingIfNeeded: code >> (24 - 8 * $0)) }, as: UTF8.self)
    }
  }

  let type: Kind
  let dataByteCount: Int
  /// Of the whole chunk, lengths and checksum included.
  var byteCount: Int { dataByteCount + 12 }
  var isPixelData: Bool { type == .header || type == .palette || type == .data || type == .end }

  /// Nil if the file ends before the chunk does.
  init?(_ source: UnsafeRawBufferPointer, at offset: Int) {
    guard source.count - offset >= 12 else { return nil }
    self.dataByteCount = Int(bigEndian32(source, offset))
    self.type = Kind(code: bigEndian32(source, offset + 4))
    guard byteCount <= source.count - offset else { return nil }
  }

  /// Whether the checksum at the end of the chunk's bytes fits. libpng itself leaves out that of the last data chunk.
  func isIntact(_ whole: UnsafeRawBufferPointer) -> Bool {
    checksum(UnsafeRawBufferPointer(rebasing: whole[4..<whole.count - 4])) == bigEndian32(whole, whole.count - 4)
  }
}

private func bigEndian32(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt32 {
  UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
}

/// CRC-32 as PNG defines it (ISO 3309, reflected polynomial 0xEDB88320).
func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
  checksumTable.withUnsafeBufferPointer { table in
    var remainder: UInt32 = 0xFFFF_FFFF
    for byte in bytes { remainder = table[Int((remainder ^ UInt32(byte)) & 0xFF)] ^ (remainder &>> 8) }
    return ~remainder
  }
}

private let checksumTable: [UInt32] = (0..<256).map { (index: UInt32) in
  (0..<8).reduce(index) { remainder, _ in remainder & 1 == 0 ? remainder >> 1 : remainder >> 1 ^ 0xEDB8_8320 }
}
