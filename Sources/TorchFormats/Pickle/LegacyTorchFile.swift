/// The format of `torch.save` before PyTorch 1.6, and of its `_use_new_zipfile_serialization=False`: five pickles (magic
/// number, protocol version, system, object, keys of storages), then for each key its element count and its bytes.
enum LegacyTorchFile {
  /// The magic number as a pickled long, after the two bytes of the protocol.
  private static let magic: [UInt8] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]
  private static let protocolVersion = 1001

  static func hasMagic(_ bytes: UnsafeRawBufferPointer) -> Bool { magicEnd(bytes) != nil }

  /// Where the first pickle ends, which is nothing but the magic number; from protocol 4 on it lies in a frame.
  private static func magicEnd(_ bytes: UnsafeRawBufferPointer) -> Int? {
    guard bytes.count > 2, bytes[0] == PickleOpcode.proto.rawValue else { return nil }
    let start = bytes[2] == PickleOpcode.frame.rawValue ? 11 : 2
    return bytes.dropFirst(start).prefix(magic.count).elementsEqual(magic) ? start + magic.count : nil
  }

  /// The object and the data of its storages by key. Throws for damage and big-endian data.
  static func read(
    _ window: ZipArchive.Window, path: String
  ) throws(FormatError) -> (PickleValue, [String: ZipArchive.Window]) {
    try window.withBytes { bytes throws(FormatError) in
      guard var position = magicEnd(bytes) else {
        throw FormatError(path: path, reason: "was not written by torch.save")
      }
      let limit = Unpickler.valueLimit(fileByteCount: bytes.count)
      func next() throws(FormatError) -> Unpickler.Result {
        let result = try Unpickler.decode(bytes, at: position, valueLimit: limit, path: path)
        position = result.end
        return result
      }
      let version = try next().value
      guard version == .int(protocolVersion) else {
        throw FormatError(
          path: path, reason: "has protocol version \(version.text(limit: 40)); \(protocolVersion) can be read")
      }
      guard case .dict(let system) = try next().value else { throw damaged(path, "has no description of its system") }
      guard !system.contains(where: { $0.key == .string("little_endian") && $0.value == .bool(false) }) else {
        throw FormatError(path: path, reason: "is big-endian; only little-endian data can be read")
      }
      let object = try next()
      guard case .list(let keys) = try next().value else { throw damaged(path, "has no list of storages") }
      var storages: [String: ZipArchive.Window] = [:]
      for key in keys {
        guard case .string(let key) = key, let size = object.storages[key]?.elementSize else {
          throw damaged(path, "lists storage \(key.text(limit: 40)), which no tensor uses")
        }
        let count = ByteReader(bytes: bytes).uint64(at: position) ?? .max
        let (byteCount, overflow) = count.multipliedReportingOverflow(by: size)
        guard !overflow, let data = window.slice(at: position + 8, count: byteCount), storages[key] == nil else {
          throw damaged(path, "storage '\(key)' at offset \(position) is cut off, or occurs twice")
        }
        storages[key] = data
        position += 8 + byteCount
      }
      return (object.value, storages)
    }
  }

  private static func damaged(_ path: String, _ reason: String) -> FormatError {
    FormatError(path: path, reason: "is damaged: \(reason)")
  }
}
