import TensorCore

/// Transforms in a row, from a decoded picture to a model's input, as torchvision's `Compose`:
///
///     let transform = try Compose([
///       .resize(256), .centerCrop(224), .toTensor,
///       .normalize(mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]),
///     ])
///
/// The result is equal to the last bit to Pillow's decoded picture put through torchvision's transforms, each operation
/// in float32. Random transforms take their numbers from a generator that is the sample's own.
public struct Compose: Hashable, Sendable {
  /// The steps in order.
  public let transforms: [Transform]
  /// Where `toTensor` stands.
  private let border: Int

  /// - Throws: `transform`, naming it, for arguments out of range, and unless exactly one `toTensor` stands between the
  ///   transforms of pictures and those of tensors.
  public init(_ transforms: [Transform]) throws(PreprocessError) {
    for transform in transforms {
      if let objection = transform.objection { throw .transform(transform.name, reason: objection) }
    }
    guard let border = transforms.firstIndex(of: .toTensor), transforms.lastIndex(of: .toTensor) == border else {
      throw .transform(Transform.toTensor.name, reason: "must occur exactly once among the transforms")
    }
    for (index, transform) in transforms.enumerated() where index != border {
      guard transform.isForTensors == (index > border) else {
        throw .transform(transform.name, reason: "must stand \(index > border ? "before" : "after") ToTensor")
      }
    }
    self.transforms = transforms
    self.border = border
  }

  /// The steps that a preprocessing file stands for, whose values it has checked.
  init(_ recipe: Preprocess) {
    var steps: [Transform] = []
    if let side = recipe.resize { steps.append(.resize(.side(side), interpolation: recipe.interpolation ?? .bilinear)) }
    if let side = recipe.crop { steps.append(.centerCrop(.side(side))) }
    self.border = steps.count
    steps.append(.toTensor)
    if recipe.channels == .bgr { steps.append(.flipChannels) }
    if recipe.mean != nil || recipe.std != nil {
      // Subtracting 0 and dividing by 1 change no bit.
      steps.append(.normalize(mean: recipe.mean ?? [0, 0, 0], std: recipe.std ?? [1, 1, 1]))
    }
    self.transforms = steps
  }

  /// The model input of a picture: float32 [1, 3, H, W], contiguous.
  ///
  /// - Parameter generator: where random transforms take their numbers; `SeededGenerator(seed:epoch:sample:)` gives each
  ///   sample its own.
  /// - Throws: `unreachableSize` if a transform needs a picture above `Image.maximumPixelCount`.
  public func tensor(
    from image: Image, using generator: SeededGenerator = SeededGenerator(seed: 0)
  ) throws(ImageError) -> Tensor {
    tensor(of: try picture(from: image, using: generator))
  }

  /// The picture that `toTensor` is given. Throws as `tensor(from:using:)`.
  public func picture(
    from image: Image, using generator: SeededGenerator = SeededGenerator(seed: 0)
  ) throws(ImageError) -> Image {
    var generator = generator
    var picture = image
    var index = 0
    while index < border {
      switch transforms[index] {
      case .resize(let size, let filter):
        let (height, width) = try size.resized(picture)
        if case .centerCrop(let crop) = transforms[index + 1] {
          picture = try picture.resized(width: width, height: height, croppedTo: crop.crop, filter: filter)
          index += 1
        } else {
          picture = try picture.resized(width: width, height: height, filter: filter)
        }
      case .centerCrop(let size): picture = try picture.centerCropped(height: size.crop.height, width: size.crop.width)
      case .randomResizedCrop(let size, let scale, let ratio, let filter):
        let box = CropBox(in: picture, scale: scale, ratio: ratio, using: &generator)
        picture = try picture.resizedCrop(box, height: size.crop.height, width: size.crop.width, filter: filter)
      case .randomHorizontalFlip(let p): if generator.uniform(0...1) < p { picture = picture.flippedHorizontally() }
      case .randomVerticalFlip(let p): if generator.uniform(0...1) < p { picture = picture.flippedVertically() }
      case .toTensor, .flipChannels, .normalize: break
      }
      index += 1
    }
    return picture
  }

  /// `toTensor` and what follows it, one look-up per element.
  private func tensor(of picture: Image) -> Tensor {
    let (width, height) = (picture.width, picture.height)
    let planeSize = width * height
    let channels = channelValues()
    return Tensor(unsafeUninitialized: TensorSpec(.float32, [1, 3, height, width])) { bytes in
      let target = bytes.bindMemory(to: Float.self)
      picture.pixels.withUnsafeBufferPointer { source in
        for (channel, (offset, values)) in channels.enumerated() {
          let plane = UnsafeMutableBufferPointer(rebasing: target[channel * planeSize..<(channel + 1) * planeSize])
          values.withUnsafeBufferPointer { values in
            for pixel in 0..<planeSize { plane[pixel] = values[Int(source[pixel &* 3 &+ offset])] }
          }
        }
      }
    }
  }

  /// For each channel of the tensor: which of the picture's it is, and its value for each byte 0...255.
  private func channelValues() -> [(offset: Int, values: [Float])] {
    let unit = (0..<256).map { Float($0) / 255 }
    var channels = (0..<3).map { (offset: $0, values: unit) }
    for transform in transforms[(border + 1)...] {
      switch transform {
      case .flipChannels: channels.reverse()
      case .normalize(let mean, let std):
        for channel in 0..<3 {
          let (mean, std) = (Float(mean[channel]), Float(std[channel]))
          channels[channel].values = channels[channel].values.map { ($0 - mean) / std }
        }
      case .resize, .centerCrop, .randomResizedCrop, .randomHorizontalFlip, .randomVerticalFlip, .toTensor: break
      }
    }
    return channels
  }
}
