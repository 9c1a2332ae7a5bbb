/// One step from a decoded picture to a model's input, with the name and meaning of torchvision's transform.
public enum Transform: Hashable, Sendable {
  /// `.side(n)`: the shorter side becomes `n` pixels, the longer one in proportion, cut off to an integer. Antialiased.
  case resize(TransformSize, interpolation: ResizeFilter = .bilinear)
  /// A picture that is smaller gets a black border. `.side(n)`: n × n pixels.
  case centerCrop(TransformSize)
  /// A random part of the picture, resized. `scale`: the part's area as a fraction of the picture's; `ratio`: its width
  /// over its height. `.side(n)`: n × n pixels.
  case randomResizedCrop(
    TransformSize, scale: ClosedRange<Double> = 0.08...1, ratio: ClosedRange<Double> = 3 / 4...4 / 3,
    interpolation: ResizeFilter = .bilinear)
  /// Left becomes right, with probability `p`.
  case randomHorizontalFlip(p: Double = 0.5)
  /// Top becomes bottom, with probability `p`.
  case randomVerticalFlip(p: Double = 0.5)
  /// Bytes [H, W, 3] become float32 [1, 3, H, W] in 0...1.
  case toTensor
  /// RGB becomes BGR: `x.flip(1)`.
  case flipChannels
  /// `(x − mean[c]) / std[c]` for each channel c, in float32.
  case normalize(mean: [Double], std: [Double])

  /// Whether it takes the tensor that `toTensor` makes, not a picture.
  var isForTensors: Bool {
    switch self {
    case .flipChannels, .normalize: true
    case .resize, .centerCrop, .randomResizedCrop, .randomHorizontalFlip, .randomVerticalFlip, .toTensor: false
    }
  }

  /// The class's name in torchvision.
  var name: String {
    switch self {
    case .resize: "Resize"
    case .centerCrop: "CenterCrop"
    case .randomResizedCrop: "RandomResizedCrop"
    case .randomHorizontalFlip: "RandomHorizontalFlip"
    case .randomVerticalFlip: "RandomVerticalFlip"
    case .toTensor: "ToTensor"
    case .flipChannels: "flip of channels"
    case .normalize: "Normalize"
    }
  }

  /// Why its arguments cannot be used; nil if they can.
  var objection: String? {
    switch self {
    case .resize(let size, _), .centerCrop(let size): size.objection
    case .randomResizedCrop(let size, let scale, let ratio, _):
      size.objection ?? Transform.objection(to: scale, "scale") ?? Transform.objection(to: ratio, "ratio")
    case .randomHorizontalFlip(let p), .randomVerticalFlip(let p):
      (0...1).contains(p) ? nil : "the probability must be from 0 to 1, not \(p)"
    case .toTensor, .flipChannels: nil
    case .normalize(let mean, let std):
      if mean.count != 3 || std.count != 3 || !(mean + std).allSatisfy({ Float($0).isFinite }) {
        "mean and std must be three finite numbers each"
      } else {
        std.allSatisfy { Float($0) > 0 } ? nil : "std must be greater than 0"
      }
    }
  }

  private static func objection(to range: ClosedRange<Double>, _ name: String) -> String? {
    range.lowerBound > 0 && range.upperBound.isFinite ? nil : "\(name) \(range) is not positive and finite"
  }
}

/// The `size` of torchvision's transforms: an integer, or height and width. In pixels, 1...`Preprocess.maximumSize`.
public enum TransformSize: Hashable, Sendable, ExpressibleByIntegerLiteral {
  /// The shorter side of a resized picture, or both sides of a crop.
  case side(Int)
  /// Height and width in pixels, whatever the picture's proportions.
  case exactly(height: Int, width: Int)

  public init(integerLiteral side: Int) { self = .side(side) }

  /// The height and width of a crop.
  var crop: (height: Int, width: Int) {
    switch self {
    case .side(let side): (side, side)
    case .exactly(let height, let width): (height, width)
    }
  }

  /// The height and width that a picture is resized to.
  func resized(_ image: Image) throws(ImageError) -> (height: Int, width: Int) {
    switch self {
    case .side(let side):
      let size = try image.sizeWith(shorterSide: side)
      return (size.height, size.width)
    case .exactly(let height, let width): return (height, width)
    }
  }

  fileprivate var objection: String? {
    let sides = [crop.height, crop.width]
    guard let wrong = sides.first(where: { !(1...Preprocess.maximumSize).contains($0) }) else { return nil }
    return "the size must be from 1 to \(Preprocess.maximumSize), not \(wrong)"
  }
}
