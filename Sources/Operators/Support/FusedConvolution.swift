import TensorCore

/// A convolution as matrix products: the windows of a tile of output pixels are laid out as rows (im2col) and
/// multiplied with the filters of one group. Activations are (N, H, W, C), filters (O, kh, kw, C / groups).
struct FusedConvolution: Sendable {
  let window: FusedWindow
  let batch: Int
  let channels: Int
  let groups: Int
  let outputs: Int

  var channelsPerGroup: Int { channels / groups }
  private var pixels: Int { window.outputHeight * window.outputWidth }

  /// Rows per tile: an even number whose rows fill about 192 KB.
  static func tileRows(rowByteCount: Int) -> Int { max(4, min(64, 196_608 / max(rowByteCount, 1)) & ~3) }

  // MARK: int8

  func runInt8(
    _ gemm: Int8Gemm, input: UnsafePointer<Int8>, zeroPoint: Int16, packed: UnsafeRawPointer,
    rows: UnsafeMutablePointer<Int16>, tileRows: Int, output: UnsafeMutablePointer<Int8>
  ) {
    forEachTile(gemm, input, zeroPoint, rows, tileRows) { count, group, offset in
      gemm.multiply(
        rows, rowCount: count, packed: packed, group: group, output: output + offset, outputStride: outputs)
    }
  }

  /// As `runInt8`, to reals; `rowScales` holds the input's scale `tileRows` times.
  func runDynamic(
    _ gemm: Int8Gemm, input: UnsafePointer<Int8>, zeroPoint: Int16, rowScales: UnsafePointer<Float>,
    packed: UnsafeRawPointer, rows: UnsafeMutablePointer<Int16>, tileRows: Int, bounds: (lower: Float, upper: Float),
    output: UnsafeMutablePointer<Float>
  ) {
    forEachTile(gemm, input, zeroPoint, rows, tileRows) { count, group, offset in
      gemm.multiplyReal(
        rows, rowCount: count, rowScales: rowScales, packed: packed, group: group, bounds: bounds,
        output: output + offset, outputStride: outputs)
    }
  }

  /// Lays tiles of windows out as rows and calls `body` for each with its number of rows, its group, and where its first
  /// row's first channel lies in the output.
  @inline(__always)
  private func forEachTile(
    _ gemm: Int8Gemm, _ input: UnsafePointer<Int8>, _ zeroPoint: Int16, _ rows: UnsafeMutablePointer<Int16>,
    _ tileRows: Int, _ body: (_ count: Int, _ group: Int, _ offset: Int) -> Void
  ) {
    for image in 0..<batch {
      let source = input + image &* window.inputHeight &* window.inputWidth &* channels
      for group in 0..<groups {
        var first = 0
        while first < pixels {
          let count = min(tileRows, pixels &- first)
          for row in 0..<count {
            fillInt8(
              rows + row &* gemm.rowStride, pixel: first &+ row, source + group &* channelsPerGroup, zeroPoint)
          }
          body(count, group, (image &* pixels &+ first) &* outputs &+ group &* gemm.outputsPerGroup)
          first &+= count
        }
      }
    }
  }

  /// One window as (kh, kw, C / groups), the zero point taken off, so that padding is 0.
  @inline(__always)
  private func fillInt8(
    _ row: UnsafeMutablePointer<Int16>, pixel: Int, _ image: UnsafePointer<Int8>, _ zeroPoint: Int16
  ) {
    forEachRun(pixel: pixel) { offset, count, source in
      let target = row + offset
      if source < 0 {
        for i in 0..<count { target[i] = 0 }
      } else {
        let values = image + source
        for i in 0..<count { target[i] = Int16(values[i]) &- zeroPoint }
      }
    }
  }

  // MARK: f32

  func runFloat(
    _ gemm: FloatGemm, input: UnsafePointer<Float>, packed: UnsafeRawPointer, rows: UnsafeMutablePointer<Float>,
    tileRows: Int, output: UnsafeMutablePointer<Float>
  ) {
    for image in 0..<batch {
      let source = input + image &* window.inputHeight &* window.inputWidth &* channels
      let target = output + image &* pixels &* outputs
      for group in 0..<groups {
        var first = 0
        while first < pixels {
          let count = min(tileRows, pixels &- first)
          for row in 0..<count {
            fillFloat(rows + row &* gemm.depth, pixel: first &+ row, source + group &* channelsPerGroup)
          }
          gemm.multiply(
            rows, rowCount: count, rowStride: gemm.depth, packed: packed, group: group,
            output: target + (first &* outputs &+ group &* gemm.outputsPerGroup), outputStride: outputs)
          first &+= count
        }
      }
    }
  }

  @inline(__always)
  private func fillFloat(_ row: UnsafeMutablePointer<Float>, pixel: Int, _ image: UnsafePointer<Float>) {
    forEachRun(pixel: pixel) { offset, count, source in
      let target = row + offset
      if source < 0 {
        for i in 0..<count { target[i] = 0 }
      } else {
        let values = image + source
        for i in 0..<count { target[i] = values[i] }
      }
    }
  }

  /// The window of an output pixel as runs of neighbouring elements: offset in the row, length, and offset in the
  /// image, or −1 for padding.
  @inline(__always)
  private func forEachRun(pixel: Int, _ body: (_ offset: Int, _ count: Int, _ source: Int) -> Void) {
    let depth = channelsPerGroup
    let rows = window.rows(pixel / window.outputWidth)
    let columns = window.columns(pixel % window.outputWidth)
    let rowLength = window.kernelWidth &* depth
    let isContiguous = window.dilationWidth == 1 && groups == 1
    for ky in 0..<window.kernelHeight {
      let start = ky &* rowLength
      if ky < rows.first || ky >= rows.end || columns.first == columns.end {
        body(start, rowLength, -1)
        continue
      }
      let line = (rows.origin &+ ky &* window.dilationHeight) &* window.inputWidth
      if columns.first > 0 { body(start, columns.first &* depth, -1) }
      if isContiguous {
        body(
          start &+ columns.first &* depth, (columns.end &- columns.first) &* depth,
          (line &+ columns.origin &+ columns.first) &* channels)
      } else {
        for kx in columns.first..<columns.end {
          body(start &+ kx &* depth, depth, (line &+ columns.origin &+ kx &* window.dilationWidth) &* channels)
        }
      }
      let tail = window.kernelWidth &- columns.end
      if tail > 0 { body(start &+ columns.end &* depth, tail &* depth, -1) }
    }
  }
}
