extension Image {
  /// Left becomes right.
  package func flippedHorizontally() -> Image {
    pixels.withUnsafeBufferPointer { source in
      Image(unsafeUninitializedWidth: width, height: height) { target in
        for row in 0..<height {
          for column in 0..<width {
            let from = (row &* width &+ column) &* 3
            let to = ((row &+ 1) &* width &- column &- 1) &* 3
            for channel in 0..<3 { target[to &+ channel] = source[from &+ channel] }
          }
        }
      }
    }
  }

  /// Top becomes bottom.
  package func flippedVertically() -> Image {
    let byteCount = width * 3
    return pixels.withUnsafeBufferPointer { source in
      Image(unsafeUninitializedWidth: width, height: height) { target in
        for row in 0..<height {
          let line = UnsafeBufferPointer(rebasing: source[(height - row - 1) * byteCount..<(height - row) * byteCount])
          (target + row * byteCount).initialize(from: line.baseAddress!, count: byteCount)
        }
      }
    }
  }
}
