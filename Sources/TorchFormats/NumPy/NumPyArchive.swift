import TensorCore

/// NumPy's files: the arrays of an `.npz`, and single `.npy` arrays.
public struct NumPyArchive: Sendable {
  /// The arrays' names, without `.npy`, in the order of the file.
  public let names: [String]
  private let archive: ZipArchive

  /// Opens an `.npz`, compressed or not. Throws when it is no zip archive or its directory is damaged.
  public init(path: String) throws(FormatError) {
    archive = try ZipArchive(path: path)
    names = archive.entries.compactMap { $0.name.hasSuffix(".npy") ? String($0.name.dropLast(4)) : nil }
  }

  /// An array: a window on the mapped file, or on inflated bytes. Booleans are bytes, 0 or 1.
  ///
  /// Throws when there is none of that name, its element type has no counterpart, it is in Fortran order, big-endian,
  /// damaged, or cut off.
  public func tensor(_ name: String) throws(FormatError) -> Tensor {
    guard let entry = archive.entry(name + ".npy") else {
      throw FormatError(path: archive.path, place: "array '\(name)'", reason: "does not exist; the file has \(names)")
    }
    let window = try archive.window(of: entry)
    let header = try window.withBytes { bytes throws(FormatError) in
      try NumPyArchive.header(bytes, path: archive.path, place: "array '\(name)'")
    }
    return Tensor(header.spec, storage: window.storage, byteOffset: window.byteOffset + header.dataOffset)
  }

  /// Reads an `.npy`. Throws as `tensor(_:)` does.
  public static func readArray(_ path: String) throws(FormatError) -> Tensor {
    let storage: Storage
    do { storage = try Storage(mapping: path) } catch { throw FormatError(error) }
    let header = try header(storage.bytes, path: path, place: "")
    return Tensor(header.spec, storage: storage, byteOffset: header.dataOffset)
  }

  /// Writes an `.npy`. Throws for bfloat16, which NumPy does not know, and when the file cannot be written.
  public static func writeArray(_ tensor: Tensor, to path: String) throws(FormatError) {
    let tensor = tensor.rowMajor()
    let header = try headerBytes(tensor, path: path, place: "")
    let file = try AtomicFile(path)
    try file.write(header)
    try tensor.withUnsafeBytes { bytes throws(FormatError) in try file.write(bytes) }
    try file.commit()
  }

  /// Writes an `.npz` without compression, arrays in the given order; the same arrays give the same bytes.
  ///
  /// Throws for a name given twice, bfloat16, and when the file cannot be written.
  public static func write(_ arrays: [(String, Tensor)], to path: String) throws(FormatError) {
    var writer = try ZipWriter(path: path)
    for (name, tensor) in arrays {
      let tensor = tensor.rowMajor()
      let header = try headerBytes(tensor, path: path, place: "array '\(name)'")
      try withBytes(of: header) { header throws(FormatError) in
        try tensor.withUnsafeBytes { data throws(FormatError) in try writer.add(name + ".npy", chunks: [header, data]) }
      }
    }
    try writer.finish()
  }

  private static func header(
    _ bytes: UnsafeRawBufferPointer, path: String, place: String
  ) throws(FormatError) -> NumPyHeader {
    do { return try NumPyHeader(bytes) } catch {
      throw FormatError(path: path, place: place, reason: error.reason)
    }
  }

  private static func headerBytes(_ tensor: Tensor, path: String, place: String) throws(FormatError) -> [UInt8] {
    guard let bytes = NumPyHeader.bytes(for: tensor.spec) else {
      throw FormatError(path: path, place: place, reason: "NumPy has no type for \(tensor.dataType)")
    }
    return bytes
  }
}
