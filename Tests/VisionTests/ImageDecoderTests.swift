import Foundation
import Testing

@testable import Vision

@Suite struct ImageDecoderTests {
  @Test func pixelsAreThoseOfPillow() throws {
    let cases = try VisionGolden.load().decode
    #expect(cases.count == 12)
    for golden in cases {
      #expect(try Image(contentsOf: VisionGolden.path(golden.file)) == golden.image, "\(golden.file)")
    }
  }

  @Test func formatIsToldByContent() throws {
    try withTemporaryFolder { folder in
      let path = folder.appendingPathComponent("named.png").path
      try FileManager.default.copyItem(atPath: VisionGolden.path("gray.jpg"), toPath: path)
      #expect(try Image(contentsOf: path).width == 17)
    }
  }

  @Test(arguments: ["color420.jpg", "gray.jpg", "progressive422.jpg", "alpha.png", "palette.png"])
  func everyTruncationIsRefused(file: String) throws {
    let bytes = try VisionGolden.bytes(file)
    for count in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 60)) {
      #expect(throws: ImageError.self, "\(count) bytes") { try decode(Array(bytes.prefix(count))) }
    }
  }

  @Test(arguments: ["color420.jpg", "progressive422.jpg", "cmyk.jpg", "alpha.png", "palette.png", "color16.png"])
  func anyChangedByteIsSafe(file: String) throws {
    let bytes = try VisionGolden.bytes(file)
    for index in stride(from: 2, to: bytes.count, by: max(1, bytes.count / 200)) {
      var damaged = bytes
      damaged[index] ^= 0x5A
      // Some changes only alter colours; none may do more than throw.
      _ = try? decode(damaged)
    }
  }

  @Test func errorsNameTheFileAndTheReason() throws {
    var bytes = try VisionGolden.bytes("alpha.png")
    bytes[bytes.count - 20] ^= 1
    #expect(throws: ImageError.damaged(name: "x", format: .png, reason: "wrong checksum of chunk IDAT")) {
      try decode(bytes)
    }
    let jpeg = try VisionGolden.bytes("color420.jpg")
    #expect {
      try decode(Array(jpeg.prefix(jpeg.count / 2)))
    } throws: { error in
      guard case .damaged("x", .jpeg, let reason)? = error as? ImageError else { return false }
      return !reason.isEmpty && "\(error)".hasPrefix("x: damaged")
    }
    #expect(throws: ImageError.unknownFormat(name: "x")) { try decode(Array("GIF89a".utf8)) }
    #expect {
      try Image(contentsOf: "/no/such/file.jpg")
    } throws: { error in
      "\(error)".hasPrefix("/no/such/file.jpg: ")
    }
  }

  @Test func hugeClaimsAreRefused() throws {
    // Start of frame: marker, length, precision, then height and width.
    var jpeg = try VisionGolden.bytes("gray.jpg")
    let frame = try #require(jpeg.indices.dropLast().first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
    for index in 5...8 { jpeg[frame + index] = 0xF0 }
    #expect(throws: ImageError.tooLarge(name: "x", width: 0xF0F0, height: 0xF0F0)) { try decode(jpeg) }

    #expect(throws: ImageError.tooLarge(name: "x", width: 1 << 30, height: 1 << 30)) {
      try decode(png(width: 1 << 30, height: 1 << 30))
    }
    #expect(throws: ImageError.damaged(name: "x", format: .png, reason: "truncated image data")) {
      try decode(png(width: 8000, height: 8000))
    }
  }

  private func decode(_ bytes: [UInt8]) throws -> Image {
    try bytes.withUnsafeBytes { bytes in try Image(encoded: bytes, name: "x") }
  }

  /// A gray 8-bit PNG of that size with one byte of data.
  private func png(width: UInt32, height: UInt32) -> [UInt8] {
    func bigEndian(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }
    func chunk(_ kind: String, _ data: [UInt8]) -> [UInt8] {
      let body = Array(kind.utf8) + data
      return bigEndian(UInt32(data.count)) + body + bigEndian(body.withUnsafeBytes { checksum($0) })
    }
    return PNGStream.signature + chunk("IHDR", bigEndian(width) + bigEndian(height) + [8, 0, 0, 0, 0])
      + chunk("IDAT", [0]) + chunk("IEND", [])
  }
}
