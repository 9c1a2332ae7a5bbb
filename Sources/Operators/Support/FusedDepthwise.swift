import TensorCore

/// A depthwise convolution of multiplier 1 (one filter per channel), computed without im2col: per output pixel, blocks
/// of channels are summed over the taps that lie in the image. Arithmetic as in `Int8Gemm` and `FloatGemm`.
///
/// Packed parameters are in blocks of 8 channels: the biases, for int8 the scales, then one vector of weights per tap.
/// Filters come as (C, kh, kw, 1).
struct FusedDepthwise: Sendable {
  let window: Window2d
  let batch: Int
  let channels: Int

  private var taps: Int { window.area }
  private var int8BlockByteCount: Int { 64 + taps * 16 }
  private var floatBlockByteCount: Int { 32 + taps * 32 }

  /// Fails when the packed size overflows; shapes are untrusted.
  func packedByteCount(_ dataType: DataType, _ call: OperatorCall) throws(OperatorError) -> Int {
    let size = dataType == .int8 ? int8BlockByteCount : floatBlockByteCount
    let (count, overflow) = ((channels + 7) / 8).multipliedReportingOverflow(by: size)
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
      window.height.dilation &* window.width.input &* channels, window.width.dilation &* channels
    )
    window.forEachOutput(batch: batch) { image, rows, columns, pixel in
      let start = (image &+ rows.origin) &* window.width.input &+ columns.origin
      let first = start &* channels &+ rows.first &* rowStep &+ columns.first &* columnStep
      let firstTap = rows.first &* window.width.kernel &+ columns.first
      let target = output + pixel &* channels
      var channel = 0
      var base = packed
      while channel < channels {
        let sums = FusedDepthwise.sumInt8(
          UnsafeRawPointer(input + (first &+ channel)), rowStep: rowStep, columnStep: columnStep,
          weights: (base + 64).assumingMemoryBound(to: SIMD8<Int16>.self) + firstTap, weightStep: window.width.kernel,
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
    for block in 0..<(channels + 7) / 8 {
      let target = (packed + block &* floatBlockByteCount).assumingMemoryBound(to: Float.self)
      for lane in 0..<8 {
        let channel = block &* 8 &+ lane
        let isReal = channel < channels
        target[lane] = isReal ? bias?[channel] ?? 0 : 0
        for tap in 0..<taps { target[8 &+ tap &* 8 &+ lane] = isReal ? weights[channel &* taps &+ tap] : 0 }
      }
    }
  }

  /// `input` is readable 12 bytes past its end.
  func runFloat(
    input: UnsafePointer<Float>, packed: UnsafeRawPointer, lower: Float, upper: Float,
    output: UnsafeMutablePointer<Float>
  ) {
    let (window, channels, blockSize) = (window, channels, floatBlockByteCount)
    let (rowStep, columnStep) = (
      window.height.dilation &* window.width.input &* channels, window.width.dilation &* channels
    )
    window.forEachOutput(batch: batch) { image, rows, columns, pixel in
      let start = (image &+ rows.origin) &* window.width.input &+ columns.origin
      let first = start &* channels &+ rows.first &* rowStep &+ columns.first &* columnStep
      let firstTap = rows.first &* window.width.kernel &+ columns.first
      let target = output + pixel &* channels
      var channel = 0
      var base = packed
      while channel < channels {
        let count = channels &- channel
        let sums = FusedDepthwise.sumFloat(
          input + (first &+ channel), rowStep: rowStep, columnStep: columnStep,
          weights: (base + 32).assumingMemoryBound(to: SIMD8<Float>.self) + firstTap, weightStep: window.width.kernel,
          rows: rows.end &- rows.first, columns: columns.end &- columns.first,
          bias: base.load(as: SIMD8<Float>.self), isHalf: count <= 4)
        FloatGemm.store(sums, at: target + channel, count: min(8, count), lower, upper)
        channel &+= 8
        base += blockSize
      }
    }
  }

  /// The sums of 8 channels over `rows` × `columns` taps, or of the first 4. A function of its own, so that they stay in
  /// registers.
  @inline(never)
  private static func sumFloat(
    _ values: UnsafePointer<Float>, rowStep: Int, columnStep: Int, weights: UnsafePointer<SIMD8<Float>>,
    weightStep: Int, rows: Int, columns: Int, bias: SIMD8<Float>, isHalf: Bool
  ) -> SIMD8<Float> {
    var (low, high) = (bias.lowHalf, bias.highHalf)
    var (line, filter) = (values, weights)
    for _ in 0..<rows {
      var (value, weight) = (line, filter)
      for _ in 0..<columns {
        low += weight[0].lowHalf * UnsafeRawPointer(value).loadUnaligned(as: SIMD4<Float>.self)
        if !isHalf { high += weight[0].highHalf * UnsafeRawPointer(value + 4).loadUnaligned(as: SIMD4<Float>.self) }
        value += columnStep
        weight += 1
      }
      line += rowStep
      filter += weightStep
    }
    return SIMD8(lowHalf: low, highHalf: high)
  }
}
