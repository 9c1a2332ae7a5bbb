import TensorCore

extension Preprocess {
  /// The model input of a picture: float32 [1, 3, H, W], contiguous.
  ///
  /// Equal to the last bit to Pillow's decoded picture put through torchvision's `Resize`, `CenterCrop`, `ToTensor` and
  /// `Normalize` (each operation in float32, in that order). H = W = `crop` if there is one.
  ///
  /// - Throws: `unreachableSize` if `resize` without `crop` makes a picture above `Image.maximumPixelCount`.
  public func tensor(from image: Image) throws(ImageError) -> Tensor {
    let picture = try framed(image)
    let (width, height) = (picture.width, picture.height)
    let planeSize = width * height
    return Tensor(unsafeUninitialized: TensorSpec(.float32, [1, 3, height, width])) { bytes in
      let target = bytes.bindMemory(to: Float.self)
      picture.pixels.withUnsafeBufferPointer { source in
        for channel in 0..<3 {
          let plane = UnsafeMutableBufferPointer(rebasing: target[channel * planeSize..<(channel + 1) * planeSize])
          let offset = channels == .bgr ? 2 - channel : channel
          normalized(channel: channel).withUnsafeBufferPointer { values in
            for pixel in 0..<planeSize { plane[pixel] = values[Int(source[pixel &* 3 &+ offset])] }
          }
        }
      }
    }
  }

  /// The model input of samples that are numbers already: their float32 values times `scale`, in the same shape and
  /// order.
  ///
  /// - Parameter array: uint8 or float32, of any shape; a batch dimension is kept.
  /// - Throws: `unsupportedArray` for another element type.
  public func tensor(fromArray array: Tensor) throws(PreprocessError) -> Tensor {
    let factor = Float(scale ?? 1)
    let count = array.shape.elementCount
    let spec = TensorSpec(.float32, array.shape, dimOrder: array.spec.dimOrder)
    switch array.dataType {
    case .uint8:
      return Tensor(unsafeUninitialized: spec) { bytes in
        let target = bytes.bindMemory(to: Float.self)
        array.withUnsafeBytes { source in
          for index in 0..<count { target[index] = Float(source[index]) * factor }
        }
      }
    case .float32:
      return Tensor(unsafeUninitialized: spec) { bytes in
        let target = bytes.bindMemory(to: Float.self)
        array.withUnsafeBytes { source in
          for index in 0..<count {
            target[index] = source.loadUnaligned(fromByteOffset: index &* 4, as: Float.self) * factor
          }
        }
      }
    case .int8, .int16, .int32, .int64, .float16, .bfloat16, .float64, .bool:
      throw .unsupportedArray(array.dataType)
    }
  }

  /// Resize and centre crop in one: only the pixels that the crop keeps are computed.
  func framed(_ image: Image) throws(ImageError) -> Image {
    let size = try resize.map { side throws(ImageError) in try image.sizeWith(shorterSide: side) }
    let (width, height) = size ?? (image.width, image.height)
    let filter = interpolation ?? .bilinear
    guard let crop else { return try image.resized(width: width, height: height, filter: filter) }
    let horizontal = CenterCrop(from: width, to: crop)
    let vertical = CenterCrop(from: height, to: crop)
    return try image.resized(
      width: width, height: height, columns: horizontal.kept, rows: vertical.kept, filter: filter
    ).padded(horizontal, vertical)
  }

  /// The model's value for each byte 0...255 of a channel (counted in the model's order).
  private func normalized(channel: Int) -> [Float] {
    let mean = self.mean.map { Float($0[channel]) }
    let std = self.std.map { Float($0[channel]) }
    return (0..<256).map { byte in
      var value = Float(byte) / 255
      if let mean { value -= mean }
      if let std { value /= std }
      return value
    }
  }
}
