import TensorCore

extension Convolution2d {
  /// The windows of 8 output pixels as columns [K][8]; taps in the padding and pixels behind the last are 0.
  ///
  /// `image` is the group's first input plane.
  func fillPanel(_ panel: UnsafeMutablePointer<Float>, firstPixel: Int, _ image: UnsafePointer<Float>) {
    let y = firstPixel / window.width.output
    let x = firstPixel &- y &* window.width.output
    if window.width.stride == 1 && x &+ 8 <= window.width.output {
      fillRun(panel, y, x, image)
    } else {
      let end = window.height.output &* window.width.output
      for lane in 0..<8 {
        let pixel = firstPixel &+ lane
        if pixel < end {
          fillLane(panel + lane, pixel / window.width.output, pixel % window.width.output, image)
        } else {
          for k in 0..<channelsPerGroup &* window.area { panel[k &* 8 &+ lane] = 0 }
        }
      }
    }
  }

  /// Eight neighbours of one output row at stride 1: each tap reads eight neighbours of an input row.
  private func fillRun(_ panel: UnsafeMutablePointer<Float>, _ y: Int, _ x: Int, _ image: UnsafePointer<Float>) {
    let (height, width) = (window.height, window.width)
    let rows = height.taps(y)
    let origin = x &- width.padBefore
    var target = UnsafeMutableRawPointer(panel)
    var plane = image
    for _ in 0..<channelsPerGroup {
      for ky in 0..<height.kernel {
        let isInside = ky >= rows.first && ky < rows.end
        let line = isInside ? plane + (rows.origin &+ ky &* height.dilation) &* width.input : plane
        for kx in 0..<width.kernel {
          let column = origin &+ kx &* width.dilation
          var values = SIMD8<Float>()
          if isInside && column >= 0 && column &+ 8 <= width.input {
            values = UnsafeRawPointer(line + column).loadUnaligned(as: SIMD8<Float>.self)
          } else if isInside {
            for lane in 0..<8 where column &+ lane >= 0 && column &+ lane < width.input {
              values[lane] = line[column &+ lane]
            }
          }
          target.storeBytes(of: values, as: SIMD8<Float>.self)
          target += 32
        }
      }
      plane += height.input &* width.input
    }
  }

  /// The window of one output pixel, every eighth element of `target`.
  private func fillLane(_ lane: UnsafeMutablePointer<Float>, _ y: Int, _ x: Int, _ image: UnsafePointer<Float>) {
    let (height, width) = (window.height, window.width)
    let (rows, columns) = (height.taps(y), width.taps(x))
    let isWhole = columns.first == 0 && columns.end == width.kernel
    var (target, plane) = (lane, image)
    for _ in 0..<channelsPerGroup {
      for ky in 0..<height.kernel {
        let isInside = ky >= rows.first && ky < rows.end
        if !isInside || !isWhole {
          for kx in 0..<width.kernel { target[kx &* 8] = 0 }
        }
        if isInside {
          let line = plane + (rows.origin &+ ky &* height.dilation) &* width.input
          for kx in columns.first..<columns.end { target[kx &* 8] = line[columns.origin &+ kx &* width.dilation] }
        }
        target += width.kernel &* 8
      }
      plane += height.input &* width.input
    }
  }
}
