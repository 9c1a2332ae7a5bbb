extension Image {
  /// The picture at another size, byte for byte as Pillow's `Image.resize((width, height), filter)` makes it.
  ///
  /// - Throws: `unreachableSize` if a size is not positive or too many pixels would be needed on the way.
  package func resized(width: Int, height: Int, filter: ResizeFilter) throws(ImageError) -> Image {
    guard Image.isAllowed(width: width, height: height) else {
      throw .unreachableSize(width: width, height: height)
    }
    return try resized(width: width, height: height, columns: 0..<width, rows: 0..<height, filter: filter)
  }

  /// The picture scaled so that its shorter side is `shorterSide` pixels, as torchvision's `Resize(shorterSide)`.
  package func resized(shorterSide: Int, filter: ResizeFilter) throws(ImageError) -> Image {
    let size = try sizeWith(shorterSide: shorterSide)
    return try resized(width: size.width, height: size.height, filter: filter)
  }

  /// torchvision's size rule: the longer side is `shorterSide · longer / shorter`, cut off to an integer.
  func sizeWith(shorterSide: Int) throws(ImageError) -> (width: Int, height: Int) {
    guard (1...Image.maximumPixelCount).contains(shorterSide) else {
      throw .unreachableSize(width: shorterSide, height: shorterSide)
    }
    // Both factors are at most 2²⁶, so the product fits.
    let longerSide = shorterSide * max(width, height) / min(width, height)
    return width <= height ? (shorterSide, longerSide) : (longerSide, shorterSide)
  }

  /// The window `columns` × `rows` of the picture resized to `width` × `height`; nothing outside it is computed.
  func resized(
    width newWidth: Int, height newHeight: Int, columns: Range<Int>, rows: Range<Int>, filter: ResizeFilter
  ) throws(ImageError) -> Image {
    // Also bounds the work along an axis of which only a window is made.
    guard max(newWidth, newHeight) <= Image.maximumPixelCount else {
      throw .unreachableSize(width: newWidth, height: newHeight)
    }
    if newWidth == width && newHeight == height { return window(columns: columns, rows: rows) }
    let horizontal =
      newWidth == width ? nil : ResamplingTaps(source: width, target: newWidth, window: columns, filter: filter)
    let vertical =
      newHeight == height ? nil : ResamplingTaps(source: height, target: newHeight, window: rows, filter: filter)
    let sourceColumns = horizontal?.sourceRange ?? columns
    let sourceRows = vertical?.sourceRange ?? rows
    // The order shows in the rounding between the passes. This rule is inferred from Pillow 13.0's output; older versions
    // go horizontally first where this differs, which for proportional sizes means pictures over twice as tall as wide.
    let isVerticalFirst = newHeight < height && height - newHeight > 2 * (width - newWidth)
    let between =
      isVerticalFirst ? (width: sourceColumns.count, height: rows.count) : (columns.count, sourceRows.count)
    guard Image.isAllowed(width: between.width, height: between.height),
      Image.isAllowed(width: columns.count, height: rows.count)
    else { throw .unreachableSize(width: newWidth, height: newHeight) }
    var picture = window(columns: sourceColumns, rows: sourceRows)
    if let vertical, isVerticalFirst { picture = picture.resampledVertically(vertical) }
    if let horizontal { picture = picture.resampledHorizontally(horizontal) }
    if let vertical, !isVerticalFirst { picture = picture.resampledVertically(vertical) }
    return picture
  }

  /// The part of the picture inside both ranges.
  func window(columns: Range<Int>, rows: Range<Int>) -> Image {
    if columns == 0..<width && rows == 0..<height { return self }
    return pixels.withUnsafeBufferPointer { source in
      Image(unsafeUninitializedWidth: columns.count, height: rows.count) { target in
        let byteCount = columns.count * 3
        for (index, row) in rows.enumerated() {
          let line = UnsafeBufferPointer(rebasing: source[(row * width + columns.lowerBound) * 3..<source.count])
          (target + index * byteCount).initialize(from: line.baseAddress!, count: byteCount)
        }
      }
    }
  }

  /// All rows, each with one pixel per tap list.
  private func resampledHorizontally(_ taps: ResamplingTaps) -> Image {
    let columnCount = taps.starts.count
    let capacity = taps.capacity
    let sourceStride = width * 3
    return pixels.withUnsafeBufferPointer { source in
      taps.starts.withUnsafeBufferPointer { starts in
        taps.counts.withUnsafeBufferPointer { counts in
          taps.weights.withUnsafeBufferPointer { weights in
            Image(unsafeUninitializedWidth: columnCount, height: height) { target in
              var output = target
              for row in 0..<height {
                let line = source.baseAddress! + row &* sourceStride
                for column in 0..<columnCount {
                  let first = line + starts[column] &* 3
                  let weight = weights.baseAddress! + column &* capacity
                  var (red, green, blue) = (half, half, half)
                  for tap in 0..<counts[column] {
                    let factor = weight[tap]
                    red &+= Int32(first[tap &* 3]) &* factor
                    green &+= Int32(first[tap &* 3 &+ 1]) &* factor
                    blue &+= Int32(first[tap &* 3 &+ 2]) &* factor
                  }
                  output[0] = clip8(red)
                  output[1] = clip8(green)
                  output[2] = clip8(blue)
                  output += 3
                }
              }
            }
          }
        }
      }
    }
  }

  /// All columns, with one row per tap list.
  private func resampledVertically(_ taps: ResamplingTaps) -> Image {
    let stride = width * 3
    return pixels.withUnsafeBufferPointer { source in
      withUnsafeTemporaryAllocation(of: Int32.self, capacity: stride) { sums in
        Image(unsafeUninitializedWidth: width, height: taps.starts.count) { target in
          let sum = sums.baseAddress!
          for row in 0..<taps.starts.count {
            sum.initialize(repeating: half, count: stride)
            for tap in 0..<taps.counts[row] {
              let line = source.baseAddress! + (taps.starts[row] + tap) * stride
              let factor = taps.weights[row * taps.capacity + tap]
              for index in 0..<stride { sum[index] &+= Int32(line[index]) &* factor }
            }
            let output = target + row * stride
            for index in 0..<stride { output[index] = clip8(sum[index]) }
          }
        }
      }
    }
  }
}

/// One half in the taps' fixed point, the start of every sum.
private let half: Int32 = 1 << (ResamplingTaps.precisionBits - 1)
