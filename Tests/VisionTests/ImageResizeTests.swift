import TensorCore
import Testing

@testable import Vision

@Suite struct ImageResizeTests {
  @Test func bytesAreThoseOfPillow() throws {
    let cases = try VisionGolden.load().resize
    #expect(cases.count == 66)
    for golden in cases {
      let (source, expected) = (golden.source.image, golden.result.image)
      let made = try source.resized(width: expected.width, height: expected.height, filter: golden.filter)
      #expect(
        made == expected,
        "\(source.width)×\(source.height) to \(expected.width)×\(expected.height), \(golden.filter)")
    }
  }

  @Test func aWindowIsThatPartOfTheWhole() throws {
    for golden in try VisionGolden.load().resize where golden.result.width > 4 && golden.result.height > 3 {
      let (source, expected) = (golden.source.image, golden.result.image)
      let (columns, rows) = (1..<expected.width - 2, 2..<expected.height - 1)
      let made = try source.resized(
        width: expected.width, height: expected.height, columns: columns, rows: rows, filter: golden.filter)
      #expect(made == expected.window(columns: columns, rows: rows))
    }
  }

  @Test(arguments: [
    (500, 375, 256, 341, 256), (375, 500, 256, 256, 341), (299, 299, 256, 256, 256), (3, 7, 2, 2, 4), (10, 3, 1, 3, 1),
  ])
  func longerSideIsCutOff(width: Int, height: Int, side: Int, newWidth: Int, newHeight: Int) throws {
    let image = Image(width: width, height: height, pixels: [UInt8](repeating: 7, count: width * height * 3))
    let made = try image.resized(shorterSide: side, filter: .bilinear)
    #expect(made == Image(width: newWidth, height: newHeight, pixels: [UInt8](repeating: 7, count: made.pixels.count)))
  }

  @Test func cropRoundsAsTorchvision() {
    // int(round((source − size) / 2)), halves to even.
    let starts = [(8, 8, 0), (9, 8, 0), (10, 8, 1), (11, 8, 2), (12, 8, 2), (13, 8, 2), (15, 8, 4)]
    for (source, size, start) in starts {
      #expect(CenterCrop(from: source, to: size).kept == start..<start + size)
    }
    let padded = CenterCrop(from: 6, to: 9)
    #expect(padded.kept == 0..<6 && padded.border == 1)
  }

  @Test func cropOfASmallPictureHasABlackBorder() throws {
    let image = Image(width: 1, height: 4, pixels: (1...12).map { UInt8($0) })
    let cropped = try image.centerCropped(height: 2, width: 2)
    #expect(cropped == Image(width: 2, height: 2, pixels: [4, 5, 6, 0, 0, 0, 7, 8, 9, 0, 0, 0]))
  }

  @Test func unreachableSizesAreRefused() throws {
    let thin = Image(width: 1, height: 70_000, pixels: [UInt8](repeating: 0, count: 210_000))
    for size in [0, -1, 1 << 20, .max] {
      #expect(throws: ImageError.self) { try thin.resized(width: size, height: size, filter: .bicubic) }
      #expect(throws: ImageError.self) { try thin.centerCropped(height: size, width: size) }
      #expect(throws: ImageError.self) { try thin.resized(shorterSide: size, filter: .nearest) }
    }
    // 70 million rows; with a crop only a few are made, but the whole is over the limit as well.
    #expect(throws: ImageError.self) { try Preprocess(resize: 1000, crop: 10).tensor(from: thin) }
    #expect(try Preprocess(resize: 900, crop: 10).tensor(from: thin).shape == [1, 3, 10, 10])
  }
}
