extension Image {
  /// The centre `size` × `size` pixels, as torchvision's `CenterCrop(size)`: a picture that is smaller gets a black
  /// border.
  ///
  /// - Throws: `unreachableSize` if `size` is not positive or its square is above `maximumPixelCount`.
  public func centerCropped(_ size: Int) throws(ImageError) -> Image {
    guard Image.isAllowed(width: size, height: size) else { throw .unreachableSize(width: size, height: size) }
    let horizontal = CenterCrop(from: width, to: size)
    let vertical = CenterCrop(from: height, to: size)
    return window(columns: horizontal.kept, rows: vertical.kept).padded(horizontal, vertical)
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
