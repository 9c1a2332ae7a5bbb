import TensorCore

/// A depthwise convolution of multiplier 1 (one filter per channel), computed without im2col: per output pixel, blocks
/// of channels are summed over the taps that lie in the image. Arithmetic as in `Int8Gemm` and `FloatGemm`.
///
/// Packed parameters are in blocks of 8 (int8) or 4 (f32) channels: the biases, for int8 the scales, then one vector of
/// weights per tap. Filters come as (C, kh, kw, 1).
struct FusedDepthwise: Sendable {
  let window: FusedWindow
  let batch: Int
  let channels: Int

  private var taps: Int { window.kernelHeight * window.kernelWidth }
  private var int8BlockByteCount: Int { 64 + taps * 16 }
  private var floatBlockByteCount: Int { 16 + taps * 16 }

  /// Fails when the packed size overflows; shapes are untrusted.
  func packedByteCount(_ dataType: DataType, _ call: OperatorCall) throws(OperatorError) -> Int {
    let (blocks, size) =
      dataType == .int8 ? ((channels + 7) / 8, int8BlockByteCount) : ((channels + 3) / 4, floatBlockByteCount)
    let (count, overflow) = blocks.multipliedReportingOverflow(by: size)
    try call.check(!overflow, "the weights are too large")
    return count
  }

  // MARK: int8

  func packInt8(
    _ weights: UnsafePointer<Int8>, bias: UnsafePointer<Int32>?, scales: [Float], into packed: UnsafeMutableRawPointer
  ) {
    for block in 0..<(channels + 7) / 8 {
      let base = packed + block &* int8BlockByteCount
      for lane in 0..<8 {
        let channel = block &* 8 &+ lane
        let isReal = channel < channels
        base.assumingMemoryBound(to: Int32.self)[lane] = isReal ? bias?[channel] ?? 0 : 0
        (base + 32).assumingMemoryBound(to: Float.self)[lane] = isReal ? scales[channel] : 0
        let target = (base + 64).assumingMemoryBound(to: Int16.self)
        for tap in 0..<taps { target[tap &* 8 &+ lane] = isReal ? Int16(weights[channel &* taps &+ tap]) : 0 }
      }
    }
  }

  /// `input` is readable 7 bytes past its end.
  func runInt8(
    input: UnsafePointer<Int8>, zeroPoint: Int16, packed: UnsafeRawPointer, requantizer: Requantizer,
    output: UnsafeMutablePointer<Int8>
  ) {
    let (window, channels, blockSize) = (window, channels, int8BlockByteCount)
    let (rowStep, columnStep) = (
      window.dilationHeight &* window.inputWidth &* channels, window.dilationWidth &* channels
    )
    window.forEachOutput(batch: batch) { image, rows, columns, pixel in
      let start = (image &+ rows.origin) &* window.inputWidth &+ columns.origin
      let first = start &* channels &+ rows.first &* rowStep &+ columns.first &* columnStep
      let firstTap = rows.first &* window.kernelWidth &+ columns.first
      let target = output + pixel &* channels
      var channel = 0
      var base = packed
      while channel < channels {
        let sums = FusedDepthwise.sumInt8(
          UnsafeRawPointer(input + (first &+ channel)), rowStep: rowStep, columnStep: columnStep,
          weights: (base + 64).assumingMemoryBound(to: SIMD8<Int16>.self) + firstTap, weightStep: window.kernelWidth,
          rows: rows.end &- rows.first, columns: columns.end &- columns.first, zeroPoint: zeroPoint,
          bias: base.load(as: SIMD8<Int32>.self))
        let scales = (base + 32).load(as: SIMD8<Float>.self)
        let real = SIMD8<Float>(sums) * scales
        let quanta = requantizer.round(real.lowHalf, real.highHalf)
        let count = channels &- channel
        Int8Gemm.store(quanta.lowHalf, at: target + channel, count: min(4, count))
        if count > 4 { Int8Gemm.store(quanta.highHalf, at: target + (channel &+ 4), count: min(4, count &- 4)) }
        channel &+= 8
        base += blockSize
      }
    }
  }

  /// The sums of 8 channels over `rows` × `columns` taps. A function of its own, so that they stay in registers.
  @inline(never)
  private static func sumInt8(
    _ values: UnsafeRawPointer, rowStep: Int, columnStep: Int, weights: UnsafePointer<SIMD8<Int16>>, weightStep: Int,
    rows: Int, columns: Int, zeroPoint: Int16, bias: SIMD8<Int32>
  ) -> SIMD8<Int32> {
    var sums = bias
    var (line, filter) = (values, weights)
    for _ in 0..<rows {
      var (value, weight) = (line, filter)
      for _ in 0..<columns {
        let x = SIMD8<Int16>(truncatingIfNeeded: value.loadUnaligned(as: SIMD8<Int8>.self)) &- zeroPoint
        sums &+= SIMD8<Int32>(truncatingIfNeeded: x) &* SIMD8<Int32>(truncatingIfNeeded: weight[0])
        value += columnStep
        weight += 1
      }
      line += rowStep
      filter += weightStep
    }
    return sums
  }

  // MARK: f32

  func packFloat(_ weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?, into packed: UnsafeMutableRawPointer) {
    for block in 0..<(channels + 3) / 4 {
      let target = (packed + block &* floatBlockByteCount).assumingMemoryBound(to: Float.self)
      for lane in 0..<4 {
        let channel = block &* 4 &+ lane
        let isReal = channel < channels
        target[lane] = isReal ? bias?[channel] ?? 0 : 0
        for tap in 0..<taps { target[4 &+ tap &* 4 &+ lane] = isReal ? weights[channel &* taps &+ tap] : 0 }
      }
    }
  }

  /// `input` is readable 12 bytes past its end.
  func runFloat(
    input: UnsafePointer<Float>, packed: UnsafeRawPointer, lower: Float, upper: Float,
    output: UnsafeMutablePointer<Float>
  ) {
    let (window, channels, blockSize) = (window, channels, floatBlockByteCount)
    let columnStep = window.dilationWidth &* channels
    window.forEachOutput(batch: batch) { image, rows, columns, pixel in
      var channel = 0
      var base = packed
      while channel < channels {
        let weights = base.assumingMemoryBound(to: SIMD4<Float>.self)
        var sums = weights[0]
        for ky in rows.first..<rows.end {
          let line = (image &+ rows.origin &+ ky &* window.dilationHeight) &* window.inputWidth
          let start = (line &+ columns.origin) &* channels &+ columns.first &* columnStep
          var values = input + (start &+ channel)
          for kx in columns.first..<columns.end {
            let x = UnsafeRawPointer(values).loadUnaligned(as: SIMD4<Float>.self)
            sums += weights[1 &+ ky &* window.kernelWidth &+ kx] * x
            values += columnStep
          }
        }
        sums = clamped(sums, lower, upper)
        let target = output + (pixel &* channels &+ channel)
        for lane in 0..<min(4, channels &- channel) { target[lane] = sums[lane] }
        channel &+= 4
        base += blockSize
      }
    }
  }
}
