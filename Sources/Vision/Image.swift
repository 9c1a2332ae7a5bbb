/// An 8-bit RGB picture in memory.
public struct Image: Hashable, Sendable {
  /// In pixels, at least 1.
  public let width: Int
  /// In pixels, at least 1.
  public let height: Int
  /// `height` × `width` × 3 bytes: rows from the top, no gaps, each pixel red, green, blue.
  public let pixels: [UInt8]

  /// The most pixels that decoding or resizing makes (192 MiB); a few bytes of a hostile file may claim far more.
  public static let maximumPixelCount = 64 << 20

  /// - Precondition: both sizes are positive and `pixels` holds exactly `width * height * 3` bytes.
  public init(width: Int, height: Int, pixels: [UInt8]) {
    precondition(width > 0 && height > 0 && pixels.count == width * height * 3)
    self.width = width
    self.height = height
    self.pixels = pixels
  }

  /// Lets `body` write all bytes of the pixels; they are uninitialized before.
  init(unsafeUninitializedWidth width: Int, height: Int, _ body: (UnsafeMutablePointer<UInt8>) -> Void) {
    let count = width * height * 3
    self.init(
      width: width, height: height,
      pixels: [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        if let base = buffer.baseAddress { body(base) }
        initialized = count
      })
  }

  /// Whether a picture of that size may be made. Safe for any two integers.
  static func isAllowed(width: Int, height: Int) -> Bool {
    guard width > 0, height > 0 else { return false }
    let (count, overflow) = width.multipliedReportingOverflow(by: height)
    return !overflow && count <= maximumPixelCount
  }
}
