import TensorCore

/// A convolution as matrix products. Activations are (N, H, W, C), filters (O, kh, kw, C / groups).
///
/// The windows of neighbouring pixels overlap, and a line of one is contiguous: they are rows of a product as they lie in
/// the image, a run for each line of the kernel, once the image has its padding and the kernel's element type. That is
/// done strip by strip. Windows with gaps inside or between them are laid out one by one (im2col).
struct FusedConvolution: Sendable {
  let window: Window2d
  let batch: Int
  let channels: Int
  let outputs: Int
  /// Nil where windows are laid out.
  private let strip: Strip?

  /// A few lines of the output, and of one group of the padded image.
  private struct Strip: Sendable {
    let outputRows: Int
    /// Pixels and elements of a padded line.
    let width, lineStep: Int
    let elementCount: Int

    /// Elements of a strip: a share of the second-level cache, unless one line of the output needs more.
    static let size = 49_152
    static let limit = 1 << 22
  }

  init(window: Window2d, batch: Int, channels: Int, outputs: Int) {
    (self.window, self.batch, self.channels, self.outputs) = (window, batch, channels, outputs)
    strip = FusedConvolution.strip(window, channels: channels / window.groups)
  }

  private static func strip(_ window: Window2d, channels: Int) -> Strip? {
    // A run is rounded up to steps of 8; short ones would cost more than laying windows out.
    guard window.height.dilation == 1, window.width.dilation == 1, window.height.stride <= window.height.kernel,
      window.width.stride <= window.width.kernel, window.width.kernel * channels >= 3
    else { return nil }
    let width = (window.width.output - 1) * window.width.stride + window.width.kernel
    let (lineStep, isLong) = width.multipliedReportingOverflow(by: channels)
    let (least, isLarge) = lineStep.multipliedReportingOverflow(by: window.height.kernel)
    guard !isLong, !isLarge, least <= Strip.limit else { return nil }
    let spare = max(0, Strip.size / lineStep - window.height.kernel) / window.height.stride
    let outputRows = min(window.height.output, 1 + spare)
    let lines = (outputRows - 1) * window.height.stride + window.height.kernel
    return Strip(outputRows: outputRows, width: width, lineStep: lineStep, elementCount: lines * lineStep)
  }

  var groups: Int { window.groups }
  var channelsPerGroup: Int { channels / groups }
  private var pixels: Int { window.height.output * window.width.output }

  /// A window as rows of a product have it: so many runs of so many elements.
  var runs: Int { strip == nil ? 1 : window.height.kernel }
  var runLength: Int { (strip == nil ? window.height.kernel : 1) * window.width.kernel * channelsPerGroup }

  /// Rows laid out at a time: an even number that fills about 192 KB.
  static func tileRows(rowByteCount: Int) -> Int { max(4, min(64, 196_608 / max(rowByteCount, 1)) & ~3) }

  /// Elements of scratch memory for rows that take `rowStride` when they are laid out; a step of 8 more may be read.
  func scratchCount(rowStride: Int, elementSize: Int) -> Int {
    let laidOut = FusedConvolution.tileRows(rowByteCount: rowStride * elementSize) * rowStride
    return (strip?.elementCount ?? laidOut) + 8
  }

  // MARK: int8

  func runInt8(
    _ gemm: Int8Gemm, input: UnsafePointer<Int8>, zeroPoint: Int16, packed: UnsafeRawPointer,
    scratch: UnsafeMutablePointer<Int16>, output: UnsafeMutablePointer<Int8>
  ) {
    forEachRows(input, scratch, rowStride: gemm.rowStride, fill: centre(zeroPoint)) { rows, group, offset in
      gemm.multiply(rows, packed: packed, group: group, output: output + offset, outputStride: outputs)
    }
  }

  /// As `runInt8`, to reals; the input has one scale.
  func runDynamic(
    _ gemm: Int8Gemm, input: UnsafePointer<Int8>, zeroPoint: Int16, scale: Float, packed: UnsafeRawPointer,
    scratch: UnsafeMutablePointer<Int16>, bounds: (lower: Float, upper: Float), output: UnsafeMutablePointer<Float>
  ) {
    withUnsafePointer(to: scale) { scale in
      forEachRows(input, scratch, rowStride: gemm.rowStride, fill: centre(zeroPoint)) { rows, group, offset in
        gemm.multiplyReal(
          rows, scales: scale, scaleStep: 0, packed: packed, group: group, bounds: bounds, output: output + offset,
          outputStride: outputs)
      }
    }
  }

  /// Takes the zero point off, so that padding is 0.
  @inline(__always)
  private func centre(_ zeroPoint: Int16) -> (UnsafeMutablePointer<Int16>, UnsafePointer<Int8>, Int) -> Void {
    { target, values, count in
      for i in 0..<count { target[i] = Int16(values[i]) &- zeroPoint }
    }
  }

  // MARK: f32

  func runFloat(
    _ gemm: FloatGemm, input: UnsafePointer<Float>, packed: UnsafeRawPointer, scratch: UnsafeMutablePointer<Float>,
    output: UnsafeMutablePointer<Float>
  ) {
    if groups == 1 && isUnpadded && window.height.dilation == 1 && window.width.dilation == 1 {
      let line = window.width.input &* channels
      for image in 0..<batch {
        let rows = GemmRows(
          base: input + image &* window.height.input &* line, count: pixels, perLine: window.width.output,
          step: window.width.stride &* channels, lineStep: window.height.stride &* line, runs: window.height.kernel,
          runLength: window.width.kernel &* channels, runStep: line)
        gemm.multiply(
          rows, packed: packed, group: 0, output: output + image &* pixels &* outputs, outputStride: outputs)
      }
      return
    }
    forEachRows(
      input, scratch, rowStride: gemm.depth,
      fill: { target, values, count in target.update(from: values, count: count) },
      body: { rows, group, offset in
        gemm.multiply(rows, packed: packed, group: group, output: output + offset, outputStride: outputs)
      })
  }

  /// Whether every window lies in the image.
  private var isUnpadded: Bool {
    let bottom = (window.height.output &- 1) &* window.height.stride &+ window.height.kernel
    let right = (window.width.output &- 1) &* window.width.stride &+ window.width.kernel
    return window.height.padBefore == 0 && window.width.padBefore == 0 && bottom <= window.height.input
      && right <= window.width.input
  }

  // MARK: Rows

  /// Calls `body` for some rows at a time with their group and where the first one's first channel lies in the output.
  /// `fill` brings consecutive elements of the image to the scratch memory.
  @inline(__always)
  private func forEachRows<Source, Element: Numeric>(
    _ input: UnsafePointer<Source>, _ scratch: UnsafeMutablePointer<Element>, rowStride: Int,
    fill: (UnsafeMutablePointer<Element>, UnsafePointer<Source>, Int) -> Void,
    body: (_ rows: GemmRows<Element>, _ group: Int, _ offset: Int) -> Void
  ) {
    let tileRows = FusedConvolution.tileRows(rowByteCount: rowStride &* MemoryLayout<Element>.size)
    for image in 0..<batch {
      for group in 0..<groups {
        let source =
          input + (image &* window.height.input &* window.width.input &* channels &+ group &* channelsPerGroup)
        let offset = image &* pixels &* outputs &+ group &* (outputs / groups)
        var first = 0
        while first < pixels {
          let rows: GemmRows<Element>
          if let strip {
            let y = first / window.width.output
            let count = min(strip.outputRows, window.height.output &- y)
            fillStrip(strip, scratch, firstRow: y, count: count, source, fill)
            rows = GemmRows(
              base: scratch, count: count &* window.width.output, perLine: window.width.output,
              step: window.width.stride &* channelsPerGroup, lineStep: window.height.stride &* strip.lineStep,
              runs: runs, runLength: runLength, runStep: strip.lineStep)
          } else {
            let count = min(tileRows, pixels &- first)
            for row in 0..<count { fillWindow(scratch + row &* rowStride, pixel: first &+ row, source, fill) }
            rows = GemmRows(scratch, count: count, length: runLength, stride: rowStride)
          }
          body(rows, group, offset &+ first &* outputs)
          first &+= rows.count
        }
      }
    }
  }

  /// The padded lines that `count` lines of the output see.
  @inline(__always)
  private func fillStrip<Source, Element: Numeric>(
    _ strip: Strip, _ scratch: UnsafeMutablePointer<Element>, firstRow: Int, count: Int,
    _ image: UnsafePointer<Source>, _ fill: (UnsafeMutablePointer<Element>, UnsafePointer<Source>, Int) -> Void
  ) {
    let depth = channelsPerGroup
    let left = min(window.width.padBefore, strip.width)
    let inside = min(window.width.input, strip.width &- left)
    let origin = firstRow &* window.height.stride &- window.height.padBefore
    var target = scratch
    for y in origin..<origin &+ (count &- 1) &* window.height.stride &+ window.height.kernel {
      if y >= 0 && y < window.height.input {
        let line = image + y &* window.width.input &* channels
        target.update(repeating: 0, count: left &* depth)
        if groups == 1 {
          fill(target + left &* depth, line, inside &* depth)
        } else {
          for x in 0..<inside { fill(target + (left &+ x) &* depth, line + x &* channels, depth) }
        }
        let used = (left &+ inside) &* depth
        (target + used).update(repeating: 0, count: strip.lineStep &- used)
      } else {
        target.update(repeating: 0, count: strip.lineStep)
      }
      target += strip.lineStep
    }
  }

  /// The window of an output pixel as (kh, kw, C / groups).
  @inline(__always)
  private func fillWindow<Source, Element: Numeric>(
    _ row: UnsafeMutablePointer<Element>, pixel: Int, _ image: UnsafePointer<Source>,
    _ fill: (UnsafeMutablePointer<Element>, UnsafePointer<Source>, Int) -> Void
  ) {
    let depth = channelsPerGroup
    let rows = window.height.taps(pixel / window.width.output)
    let columns = window.width.taps(pixel % window.width.output)
    let isWhole = rows.first == 0 && rows.end == window.height.kernel
    if !isWhole || columns.first > 0 || columns.end < window.width.kernel {
      row.update(repeating: 0, count: runLength)
    }
    for ky in rows.first..<rows.end {
      let line = (rows.origin &+ ky &* window.height.dilation) &* window.width.input
      for kx in columns.first..<columns.end {
        fill(
          row + (ky &* window.width.kernel &+ kx) &* depth,
          image + (line &+ columns.origin &+ kx &* window.width.dilation) &* channels, depth)
      }
    }
  }
}
