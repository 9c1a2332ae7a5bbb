import TensorCore

extension Image {
  /// Decodes a JPEG or PNG file to the pixels that Pillow's `Image.open(path).convert("RGB")` gives.
  ///
  /// The format is told by the content, not by the extension. Alpha is dropped (not blended); orientation tags, colour
  /// profiles and gamma are ignored.
  ///
  /// - Throws: `unreadable`, `unknownFormat`, `damaged` or `tooLarge`, each naming the file.
  public init(contentsOf path: String) throws(ImageError) {
    let storage: Storage
    do { storage = try Storage(mapping: path) } catch { throw .unreadable(error) }
    defer { withExtendedLifetime(storage) {} }
    try self.init(encoded: storage.bytes, name: path)
  }

  /// Decodes the bytes of a JPEG or PNG file; `name` stands for the file in errors.
  public init(encoded bytes: UnsafeRawBufferPointer, name: String) throws(ImageError) {
    switch ImageFormat(signatureOf: bytes) {
    case .jpeg: self = try JPEGDecoder.decode(bytes, name: name)
    case .png: self = try PNGDecoder.decode(bytes, name: name)
    case nil: throw .unknownFormat(name: name)
    }
  }
}
