import CPNG

/// PNG by libpng's simplified reader, arranged so that no colour conversion of its own touches the pixels.
///
/// What Pillow does, by kind of file: gray of 1, 2 and 4 bits is spread to 0...255, gray of 16 bits is cut off at 255,
/// colour of 16 bits keeps its high byte, alpha is dropped. One difference is left: where a file of 16 bits *with
/// alpha* is not opaque, values are rounded to 8 bits, and may be off by 1 from Pillow's.
enum PNGDecoder {
  static func decode(_ bytes: UnsafeRawBufferPointer, name: String) throws(ImageError) -> Image {
    let stream = try PNGStream(bytes, name: name)
    let header = stream.header
    let (width, height) = (header.width, header.height)
    if header.hasAlpha {
      var rgba = try read(stream, format: PNGFormat.rgba, as: UInt8.self, channels: 4, name: name)
      if header.bitDepth == 16 {
        let wide = try read(stream, format: PNGFormat.linearRGBA, as: UInt16.self, channels: 4, name: name)
        keepHighBytes(of: wide, whereOpaqueIn: &rgba)
      }
      return dropAlpha(rgba, width: width, height: height)
    }
    guard header.bitDepth == 16 else {
      let pixels = try read(stream, format: PNGFormat.rgb, as: UInt8.self, channels: 3, name: name)
      return Image(width: width, height: height, pixels: pixels)
    }
    if header.hasColor {
      let wide = try read(stream, format: PNGFormat.linearRGB, as: UInt16.self, channels: 3, name: name)
      return Image(width: width, height: height, pixels: wide.map { UInt8(truncatingIfNeeded: $0 &>> 8) })
    }
    let gray = try read(stream, format: PNGFormat.linearGray, as: UInt16.self, channels: 1, name: name)
    return spread(gray, width: width, height: height)
  }

  /// The pixels in one of libpng's formats, `channels` values each, rows from the top without gaps.
  private static func read<Sample: FixedWidthInteger>(
    _ stream: PNGStream, format: UInt32, as type: Sample.Type, channels: Int, name: String
  ) throws(ImageError) -> [Sample] {
    var control = png_image()
    control.version = UInt32(PNG_IMAGE_VERSION)
    defer { png_image_free(&control) }
    let count = stream.header.width * stream.header.height * channels
    let noGaps: Int32 = 0  // between rows
    var isDone = false
    let samples = stream.bytes.withUnsafeBytes { source -> [Sample] in
      guard png_image_begin_read_from_memory(&control, source.baseAddress, source.count) != 0 else { return [] }
      control.format = format
      // 8-bit output only: a 16-bit file holds values like an 8-bit one, not linear light. For 16-bit output both sides
      // are taken as linear, which leaves the values alone.
      if Sample.bitWidth == 8 { control.flags |= UInt32(PNG_IMAGE_FLAG_16BIT_sRGB) }
      return [Sample](unsafeUninitializedCapacity: count) { buffer, initialized in
        isDone = png_image_finish_read(&control, nil, buffer.baseAddress, noGaps, nil) != 0
        initialized = isDone ? count : 0
      }
    }
    guard isDone else { throw .damaged(name: name, format: .png, reason: message(of: control)) }
    return samples
  }

  private static func message(of control: png_image) -> String {
    withUnsafeBytes(of: control.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  /// `wide` is multiplied by its alpha, hence exact only where that is 1.
  private static func keepHighBytes(of wide: [UInt16], whereOpaqueIn rgba: inout [UInt8]) {
    for pixel in stride(from: 0, to: rgba.count, by: 4) where wide[pixel + 3] == .max {
      for index in pixel..<pixel + 3 { rgba[index] = UInt8(truncatingIfNeeded: wide[index] &>> 8) }
    }
  }

  private static func dropAlpha(_ rgba: [UInt8], width: Int, height: Int) -> Image {
    rgba.withUnsafeBufferPointer { rgba in
      Image(unsafeUninitializedWidth: width, height: height) { target in
        for pixel in 0..<width &* height {
          target[pixel &* 3] = rgba[pixel &* 4]
          target[pixel &* 3 &+ 1] = rgba[pixel &* 4 &+ 1]
          target[pixel &* 3 &+ 2] = rgba[pixel &* 4 &+ 2]
        }
      }
    }
  }

  private static func spread(_ gray: [UInt16], width: Int, height: Int) -> Image {
    gray.withUnsafeBufferPointer { gray in
      Image(unsafeUninitializedWidth: width, height: height) { target in
        for pixel in 0..<width &* height {
          let value = UInt8(min(gray[pixel], 255))
          target[pixel &* 3] = value
          target[pixel &* 3 &+ 1] = value
          target[pixel &* 3 &+ 2] = value
        }
      }
    }
  }
}

/// `PNG_FORMAT_*` of png.h, whose macros are expressions that Swift does not import.
private enum PNGFormat {
  private static let alpha: UInt32 = 1
  private static let color: UInt32 = 2
  private static let linear: UInt32 = 4
  static let rgb = color
  static let rgba = color | alpha
  static let linearGray = linear
  static let linearRGB = linear | color
  static let linearRGBA = linear | color | alpha
}
