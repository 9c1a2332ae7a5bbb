import Foundation
import TensorCore
import Testing

@testable import Vision

@Suite struct ComposeTests {
  @Test func aPreprocessingFileIsTransforms() throws {
    let recipe = try Preprocess(resize: 256, crop: 224, interpolation: .bicubic, std: [1, 2, 3], channels: .bgr)
    #expect(
      recipe.transforms
        == (try Compose([
          .resize(256, interpolation: .bicubic), .centerCrop(224), .toTensor, .flipChannels,
          .normalize(mean: [0, 0, 0], std: [1, 2, 3]),
        ])))
    #expect(Preprocess().transforms == (try Compose([.toTensor])))
  }

  @Test func transformsOfTensorsAreDoneInTheirOrder() throws {
    let image = Image(width: 1, height: 1, pixels: [51, 102, 255])
    func values(_ transforms: [Transform]) throws -> [Float] {
      try Compose([.toTensor] + transforms).tensor(from: image).elements()
    }
    let normalize = Transform.normalize(mean: [0.25, 0.5, 1], std: [0.5, 1, 2])
    let (red, green, blue) = (Float(51) / 255, Float(102) / 255, Float(1))
    #expect(try values([normalize, .flipChannels]) == [(blue - 1) / 2, (green - 0.5) / 1, (red - 0.25) / 0.5])
    #expect(try values([.flipChannels, normalize]) == [(blue - 0.25) / 0.5, (green - 0.5) / 1, (red - 1) / 2])
    #expect(try values([normalize, normalize])[0] == ((red - 0.25) / 0.5 - 0.25) / 0.5)
  }

  @Test func resizeAndCropTakeHeightAndWidth() throws {
    let image = Image(width: 30, height: 20, pixels: (0..<1800).map { UInt8(truncatingIfNeeded: $0 &* 37) })
    let size = TransformSize.exactly(height: 9, width: 17)
    let resized = try Compose([.resize(size), .toTensor]).picture(from: image)
    #expect(try resized == image.resized(width: 17, height: 9, filter: .bilinear))
    let crop = TransformSize.exactly(height: 5, width: 19)
    let cropped = try Compose([.resize(size), .centerCrop(crop), .toTensor]).picture(from: image)
    #expect(try cropped == resized.centerCropped(height: 5, width: 19))
    #expect(try Compose([.resize(size), .toTensor]).tensor(from: image).shape == [1, 3, 9, 17])
  }

  @Test func flipsFollowTheirProbability() throws {
    let image = Image(width: 2, height: 1, pixels: [1, 2, 3, 4, 5, 6])
    let flipped = [4, 5, 6, 1, 2, 3] as [UInt8]
    func count(_ p: Double) throws -> Int {
      let transform = try Compose([.randomHorizontalFlip(p: p), .toTensor])
      return try (0..<1000).count { sample in
        let generator = SeededGenerator(seed: 1, epoch: 0, sample: sample)
        return try transform.picture(from: image, using: generator).pixels == flipped
      }
    }
    #expect(try count(0) == 0)
    #expect(try count(1) == 1000)
    // Ten standard deviations of 1000 draws.
    #expect(try abs(count(0.25) - 250) < 137)
  }

  @Test(
    arguments: [
      ([.resize(0), .toTensor], "Resize"), ([.centerCrop(5000), .toTensor], "CenterCrop"),
      ([.randomResizedCrop(8, scale: 0...1), .toTensor], "RandomResizedCrop"),
      ([.randomResizedCrop(8, ratio: 1 ... .infinity), .toTensor], "RandomResizedCrop"),
      ([.randomVerticalFlip(p: 1.5), .toTensor], "RandomVerticalFlip"),
      ([.toTensor, .normalize(mean: [0], std: [1, 1, 1])], "Normalize"),
      ([.toTensor, .normalize(mean: [0, 0, 0], std: [1, 0, 1])], "Normalize"),
      ([.toTensor, .centerCrop(8)], "CenterCrop"), ([.flipChannels, .toTensor], "flip of channels"),
      ([.resize(8)], "ToTensor"), ([.toTensor, .toTensor], "ToTensor"),
    ] as [([Transform], String)])
  func whatCannotBeDoneIsNamed(transforms: [Transform], name: String) {
    #expect {
      try Compose(transforms)
    } throws: { error in
      guard case .transform(name, _)? = error as? PreprocessError else { return false }
      return "\(error)".hasPrefix("transform \(name): ")
    }
  }
}
