import Foundation
import TensorCore
import TestSupport
import Testing

@testable import Vision

/// The transforms on 20 photos, against Pillow and torchvision.
@Suite struct PhotoTransformTests {
  let golden: PhotoGolden
  let images: [Image]

  init() throws {
    golden = try PhotoGolden.load()
    images = try golden.photos.map { photo in
      let whole = try Image(contentsOf: repositoryPath("models/" + photo.file))
      let (top, left, height, width) = (photo.region[0], photo.region[1], photo.region[2], photo.region[3])
      // All that follows compares transforms of the same pixels.
      try #require(whole.crc == photo.crc, "\(photo.file): is not decoded to Pillow's pixels")
      return whole.window(columns: left..<left + width, rows: top..<top + height)
    }
  }

  /// Down, far down, up, and each in one axis; to within 1/255, and in fact to the byte.
  @Test func resizedPixels() throws {
    #expect(images.count == 20)
    var sizes: Set<[Int]> = []
    for (photo, image) in zip(golden.photos, images) {
      #expect(Set(photo.resize.map(\.filter)) == [.bilinear, .bicubic] && photo.resize.count == 6)
      for expected in photo.resize {
        let (height, width) = (expected.result.height, expected.result.width)
        let made = try image.resized(width: width, height: height, filter: expected.filter)
        check(made, expected.result, "\(photo.file) to \(width)×\(height), \(expected.filter)")
        sizes.insert([height, width])
      }
    }
    #expect(sizes.count == 5)
  }

  @Test func cropsAndFlips() throws {
    for (photo, image) in zip(golden.photos, images) {
      let center = try image.centerCropped(height: photo.center.height, width: photo.center.width)
      check(center, photo.center, "\(photo.file), centre")
      check(image.flippedHorizontally(), photo.horizontal, "\(photo.file), hflip")
      check(image.flippedVertically(), photo.vertical, "\(photo.file), vflip")
    }
    // Crops that pad: one axis, both, none.
    let padded = zip(golden.photos, images).map { [$0.center.height > $1.height, $0.center.width > $1.width] }
    #expect(Set(padded).count >= 3)
  }

  @Test func randomTransformsAreTorchvisionsOnOurNumbers() throws {
    for (photo, image) in zip(golden.photos, images) {
      let (key, size) = (photo.random.key, (photo.random.result.height, photo.random.result.width))
      let transform = try Compose([
        .randomResizedCrop(.exactly(height: size.0, width: size.1), interpolation: photo.random.filter),
        .randomHorizontalFlip(), .randomVerticalFlip(p: 0.3), .toTensor,
      ])
      let generator = SeededGenerator(seed: UInt64(key[0]), epoch: key[1], sample: key[2])
      check(try transform.picture(from: image, using: generator), photo.random.result, photo.file)
    }
  }

  @Test func randomBoxesAreThoseOfGetParams() throws {
    #expect(golden.boxes.count == 140)
    for row in golden.boxes {
      let (height, width) = (Int(row[0]), Int(row[1]))
      let image = Image(width: width, height: height, pixels: [UInt8](repeating: 0, count: width * height * 3))
      let seed = Int(row[6])
      var generator = SeededGenerator(seed: UInt64(seed), epoch: 5, sample: 2 * seed)
      let box = CropBox(in: image, scale: row[2]...row[3], ratio: row[4]...row[5], using: &generator)
      #expect([box.top, box.left, box.height, box.width] == row[7...].map { Int($0) }, "\(row)")
    }
  }

  private func check(_ made: Image, _ expected: PhotoGolden.Summary, _ what: String) {
    #expect(made.height == expected.height && made.width == expected.width, "\(what)")
    #expect(made.difference(from: expected.samples) <= 1, "\(what)")
    #expect(made.sums == expected.sums && made.crc == expected.crc, "\(what): not the same bytes")
  }
}
