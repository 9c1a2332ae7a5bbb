import Foundation
import TestSupport

@testable import Vision

/// Tests/Golden/vision/photos.json: what torchvision makes of 20 of the shipped photos.
struct PhotoGolden: Decodable {
  let photos: [Photo]
  let boxes: [[Double]]

  struct Photo: Decodable {
    /// Below models/.
    let file: String
    /// Of Pillow's decoded pixels.
    let crc: UInt32
    /// The part of the photo that the transforms are given: top, left, height, width.
    let region: [Int]
    let resize: [Resize]
    let center: Summary
    let horizontal: Summary
    let vertical: Summary
    let random: Random
  }

  struct Resize: Decodable {
    let filter: ResizeFilter
    let result: Summary
  }

  struct Random: Decodable {
    /// Seed, epoch, sample.
    let key: [Int]
    let filter: ResizeFilter
    let result: Summary
  }

  /// What is kept of a picture.
  struct Summary: Decodable {
    let height: Int
    let width: Int
    let crc: UInt32
    /// Per channel.
    let sums: [Int]
    /// Pixels far apart, or all of a small picture.
    let samples: Data
  }

  static func load() throws -> PhotoGolden {
    try JSONDecoder().decode(
      PhotoGolden.self, from: Data(contentsOf: URL(fileURLWithPath: goldenPath("vision", "photos.json"))))
  }
}

extension Image {
  var crc: UInt32 { pixels.withUnsafeBytes { checksum($0) } }

  var sums: [Int] {
    (0..<3).map { channel in stride(from: channel, to: pixels.count, by: 3).reduce(0) { $0 + Int(pixels[$1]) } }
  }

  /// The pixels that a summary with so many bytes of samples has.
  func samples(byteCount: Int) -> [UInt8] {
    let count = byteCount / 3
    guard width * height > count else { return pixels }
    return (0..<count).flatMap { index in
      let start = (index * 7919 + 13) % (width * height) * 3
      return pixels[start..<start + 3]
    }
  }

  /// The largest difference from the sampled pixels, in 1/255.
  func difference(from golden: Data) -> Int {
    zip(samples(byteCount: golden.count), golden).map { abs(Int($0) - Int($1)) }.max() ?? .max
  }
}
