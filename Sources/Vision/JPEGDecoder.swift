import CTurboJPEG

/// JPEG by libjpeg-turbo, set to the pixels that Pillow gets from the same library: the accurate integer DCT and
/// smooth ("fancy") chroma upsampling.
enum JPEGDecoder {
  static func decode(_ bytes: UnsafeRawBufferPointer, name: String) throws(ImageError) -> Image {
    guard let handle = tjInitDecompress() else {
      throw .damaged(name: name, format: .jpeg, reason: "the JPEG decoder could not be started")
    }
    defer { tjDestroy(handle) }
    let header = try readHeader(bytes, handle, name: name)
    let isInk = header.colorSpace == Int32(TJCS_CMYK.rawValue) || header.colorSpace == Int32(TJCS_YCCK.rawValue)
    let format = isInk ? TJPF_CMYK : TJPF_RGB
    let byteCount = header.width * header.height * (isInk ? 4 : 3)
    let source = bytes.bindMemory(to: UInt8.self).baseAddress
    // A progressive file can hold any number of scans, each as dear as the first.
    let flags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS
    let noGaps: Int32 = 0  // between rows
    var failure: String?
    let pixels = [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, initialized in
      let status = tjDecompress2(
        handle, source, UInt(bytes.count), buffer.baseAddress, Int32(header.width), noGaps, Int32(header.height),
        Int32(format.rawValue), flags)
      if status != 0 { failure = fatalMessage(handle) }
      initialized = failure == nil ? byteCount : 0
    }
    if let failure { throw .damaged(name: name, format: .jpeg, reason: failure) }
    guard isInk else { return Image(width: header.width, height: header.height, pixels: pixels) }
    return convertInk(pixels, width: header.width, height: header.height)
  }

  private struct Header {
    let width: Int
    let height: Int
    let colorSpace: Int32
  }

  private static func readHeader(
    _ bytes: UnsafeRawBufferPointer, _ handle: tjhandle, name: String
  ) throws(ImageError) -> Header {
    var width: Int32 = 0
    var height: Int32 = 0
    var subsampling: Int32 = -1
    var colorSpace: Int32 = -1
    let source = bytes.bindMemory(to: UInt8.self).baseAddress
    let status = tjDecompressHeader3(handle, source, UInt(bytes.count), &width, &height, &subsampling, &colorSpace)
    // A subsampling without a name in this API fails too, but the sizes are set and the decoder can read it.
    let isKnown = width > 0 && height > 0 && colorSpace >= 0
    guard status == 0 || isKnown else {
      throw .damaged(name: name, format: .jpeg, reason: message(handle))
    }
    guard Image.isAllowed(width: Int(width), height: Int(height)) else {
      throw .tooLarge(name: name, width: Int(width), height: Int(height))
    }
    return Header(width: Int(width), height: Int(height), colorSpace: colorSpace)
  }

  /// Why the file was refused; nil for a warning that leaves the picture whole.
  ///
  /// Bytes between the image data and the next marker are common in photo collections, and Pillow accepts them. All
  /// other warnings mean lost data.
  private static func fatalMessage(_ handle: tjhandle) -> String? {
    let text = message(handle)
    let isHarmless =
      tjGetErrorCode(handle) == Int32(TJERR_WARNING.rawValue) && text.contains("extraneous bytes before marker")
    return isHarmless ? nil : text
  }

  private static func message(_ handle: tjhandle) -> String {
    tjGetErrorStr2(handle).map { String(cString: $0) } ?? "unknown error"
  }

  /// CMYK as Adobe writes it (255 is no ink) to RGB: `r = k − k·(255 − c)/255`, the quotient rounded to nearest as
  /// Pillow rounds it.
  private static func convertInk(_ ink: [UInt8], width: Int, height: Int) -> Image {
    ink.withUnsafeBufferPointer { ink in
      Image(unsafeUninitializedWidth: width, height: height) { target in
        for pixel in 0..<width &* height {
          let black = Int32(ink[pixel &* 4 &+ 3])
          for channel in 0..<3 {
            let product = (255 &- Int32(ink[pixel &* 4 &+ channel])) &* black &+ 128
            target[pixel &* 3 &+ channel] = UInt8(max(0, black &- ((product &>> 8 &+ product) &>> 8)))
          }
        }
      }
    }
  }
}
