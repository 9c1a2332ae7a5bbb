import Foundation
import TensorCore

/// A part of a picture, in pixels, that lies inside it.
struct CropBox: Hashable {
  var top: Int
  var left: Int
  var height: Int
  var width: Int
}

extension CropBox {
  /// The part that torchvision's `RandomResizedCrop.get_params` chooses: ten attempts at a random area and a random
  /// ratio, evenly distributed on a logarithmic scale; then the largest part in the middle whose ratio is allowed.
  init(
    in image: Image, scale: ClosedRange<Double>, ratio: ClosedRange<Double>, using generator: inout SeededGenerator
  ) {
    for _ in 0..<10 {
      let area = generator.uniform(scale)
      let aspect = exp(generator.uniform(log(ratio.lowerBound)...log(ratio.upperBound)))
      guard let size = CropBox.size(in: image, area: area, aspect: aspect) else { continue }
      self.init(
        top: generator.integer(below: image.height - size.height + 1),
        left: generator.integer(below: image.width - size.width + 1), height: size.height, width: size.width)
      return
    }
    self.init(middleOf: image, ratio: ratio)
  }

  /// The size of a part that covers `area` of the picture; nil if it does not fit. Halves are rounded to even, as Python
  /// does.
  static func size(in image: Image, area: Double, aspect: Double) -> (height: Int, width: Int)? {
    let target = Double(image.height) * Double(image.width) * area
    let width = (target * aspect).squareRoot().rounded(.toNearestOrEven)
    let height = (target / aspect).squareRoot().rounded(.toNearestOrEven)
    guard width > 0, width <= Double(image.width), height > 0, height <= Double(image.height) else { return nil }
    return (Int(height), Int(width))
  }

  /// The largest part in the middle whose ratio is allowed; at least a pixel, where torchvision fails.
  init(middleOf image: Image, ratio: ClosedRange<Double>) {
    let whole = Double(image.width) / Double(image.height)
    var (height, width) = (image.height, image.width)
    if whole < ratio.lowerBound {
      height = max(1, Int((Double(width) / ratio.lowerBound).rounded(.toNearestOrEven)))
    } else if whole > ratio.upperBound {
      width = max(1, Int((Double(height) * ratio.upperBound).rounded(.toNearestOrEven)))
    }
    self.init(top: (image.height - height) / 2, left: (image.width - width) / 2, height: height, width: width)
  }
}

extension Image {
  /// The part of the picture, resized: torchvision's `resized_crop`.
  func resizedCrop(_ box: CropBox, height: Int, width: Int, filter: ResizeFilter) throws(ImageError) -> Image {
    try window(columns: box.left..<box.left + box.width, rows: box.top..<box.top + box.height)
      .resized(width: width, height: height, filter: filter)
  }
}

extension SeededGenerator {
  /// The numbers of one sample in one epoch. They depend on nothing else, so that neither the order in which samples are
  /// made nor the number of threads changes a picture. The stream is not PyTorch's.
  public init(seed: UInt64, epoch: Int, sample: Int) {
    var state = seed
    for part in [epoch, sample] {
      var mixer = SeededGenerator(seed: state)
      state = mixer.next() ^ UInt64(bitPattern: Int64(part))
    }
    var mixer = SeededGenerator(seed: state)
    self.init(seed: mixer.next())
  }

  /// A number of the range, from 53 random bits; the upper bound comes up only by rounding.
  mutating func uniform(_ range: ClosedRange<Double>) -> Double {
    let fraction = Double(next() >> 11) * 0x1p-53
    return range.lowerBound + fraction * (range.upperBound - range.lowerBound)
  }

  /// An integer of 0..<bound: the high half of a product, biased by less than `bound` · 2⁻⁶⁴.
  /// - Precondition: `bound` is positive.
  package mutating func integer(below bound: Int) -> Int {
    precondition(bound > 0)
    return Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }
}
