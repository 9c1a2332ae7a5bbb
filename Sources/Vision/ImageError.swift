import TensorCore

/// A picture that cannot be read, or made in the size asked for.
public enum ImageError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The file cannot be opened.
  case unreadable(FileError)
  /// Neither a JPEG nor a PNG file, whatever its extension says.
  case unknownFormat(name: String)
  /// Truncated, corrupt, or of a kind that the decoder does not know. `reason` is the decoder's.
  case damaged(name: String, format: ImageFormat, reason: String)
  /// The file claims more than `Image.maximumPixelCount` pixels.
  case tooLarge(name: String, width: Int, height: Int)
  /// The size to resize or crop to is not positive, or needs more than `Image.maximumPixelCount` pixels on the way.
  case unreachableSize(width: Int, height: Int)

  public var description: String {
    switch self {
    case .unreadable(let error): error.description
    case .unknownFormat(let name): "\(name): is neither a JPEG nor a PNG image"
    case .damaged(let name, let format, let reason):
      "\(name): damaged or unsupported \(format.rawValue) image: \(reason)"
    case .tooLarge(let name, let width, let height):
      "\(name): \(width)×\(height) pixels are more than the limit of \(Image.maximumPixelCount)"
    case .unreachableSize(let width, let height):
      "cannot make an image of \(width)×\(height) pixels (limit \(Image.maximumPixelCount))"
    }
  }
}

/// The file formats that can be decoded.
public enum ImageFormat: String, Hashable, Sendable {
  /// Baseline and progressive JPEG.
  case jpeg = "JPEG"
  /// PNG.
  case png = "PNG"

  /// What the first bytes of a file say it is.
  init?(signatureOf bytes: UnsafeRawBufferPointer) {
    if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else if bytes.starts(with: PNGStream.signature) {
      self = .png
    } else {
      return nil
    }
  }
}
