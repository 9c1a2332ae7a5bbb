extension Image {
  /// The `height` × `width` pixels in the middle, as torchvision's `CenterCrop((height, width))`: a picture that is
  /// smaller gets a black border.
  ///
  /// - Throws: `unreachableSize` if a size is not positive or their product is above `maximumPixelCount`.
  package func centerCropped(height: Int, width: Int) throws(ImageError) -> Image {
    try resized(width: self.width, height: self.height, croppedTo: (height, width), filter: .nearest)
  }

  /// Resized and then cropped to the middle; only the pixels that the crop keeps are computed.
  func resized(
    width: Int, height: Int, croppedTo crop: (height: Int, width: Int), filter: ResizeFilter
  ) throws(ImageError) -> Image {
    guard Image.isAllowed(width: crop.width, height: crop.height) else {
      throw .unreachableSize(width: crop.width, height: crop.height)
    }
    let horizontal = CenterCrop(from: width, to: crop.width)
    let vertical = CenterCrop(from: height, to: crop.height)
    return try resized(
      width: width, height: height, columns: horizontal.kept, rows: vertical.kept, filter: filter
    ).padded(horizontal, vertical)
  }

  /// This picture, which is what the crops keep, on the black ground that they ask for.
  func padded(_ horizontal: CenterCrop, _ vertical: CenterCrop) -> Image {
    if width == horizontal.size && height == vertical.size { return self }
    var framed = [UInt8](repeating: 0, count: horizontal.size * vertical.size * 3)
    for row in 0..<height {
      let start = ((row + vertical.border) * horizontal.size + horizontal.border) * 3
      framed.replaceSubrange(start..<start + width * 3, with: pixels[row * width * 3..<(row + 1) * width * 3])
    }
    return Image(width: horizontal.size, height: vertical.size, pixels: framed)
  }
}

/// Where a centre crop lies along one axis.
struct CenterCrop {
  /// Pixels after the crop.
  let size: Int
  /// The source pixels that stay: never more than `size`.
  let kept: Range<Int>
  /// Black pixels before the kept ones.
  let border: Int

  /// torchvision's rounding: half of an odd surplus goes to the even start, half of an odd lack to the end.
  init(from source: Int, to size: Int) {
    self.size = size
    guard size <= source else {
      self.kept = 0..<source
      self.border = (size - source) / 2
      return
    }
    let surplus = source - size
    let start = surplus / 2
    let isHalfUp = surplus % 2 == 1 && start % 2 == 1
    let first = isHalfUp ? start + 1 : start
    self.kept = first..<first + size
    self.border = 0
  }
}
