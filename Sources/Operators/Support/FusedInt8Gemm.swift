import TensorCore

/// The int8 matrix product that defines convolution and linear: for each row of activations and each output channel,
///
///     sum = bias + Σ (x − x_zp) · w                    in Int32, wrapping
///     q   = RNE(clamp(Float(sum) · scale, min − zp, max − zp)) + zp
///     scale = x_scale · w_scale / y_scale              in Float, left to right
///
/// for any positive finite scale; XNNPACK, which gives the same bytes, takes scales below 256 only.
///
/// Rows are Int16 with the zero point already taken off. Each of their runs is multiplied in steps of 8, so up to 7
/// elements behind it must be readable; the weights are packed alike, with zeros there. Eight products and four sums are
/// one multiply-add instruction.
struct Int8Gemm: Sendable {
  let groups: Int
  let outputsPerGroup: Int
  /// Products per sum: so many runs of so many.
  let runs, runLength: Int
  /// Requantization scale per output channel of all groups, or one for all.
  let scales: [Float]
  let requantizer: Requantizer

  /// Steps of 8 along a run.
  private var runSteps: Int { (runLength + 7) / 8 }
  private var blocks: Int { (outputsPerGroup + 3) / 4 }
  /// Bytes of one block: 4 biases, 4 scales, then for each step of each run 4 channels × 8 weights.
  private var blockByteCount: Int { 32 + runs * runSteps * 64 }

  /// Elements of a row that is written for this product.
  var rowStride: Int { runs * runSteps * 8 }

  /// Fails when the packed size overflows; shapes are untrusted.
  func packedByteCount(_ call: OperatorCall) throws(OperatorError) -> Int {
    let (count, overflow) = (groups * blocks).multipliedReportingOverflow(by: blockByteCount)
    try call.check(!overflow, "the weights are too large")
    return count
  }

  /// Packs weights `[groups · outputsPerGroup][runs][runLength]`. `bias` may be absent (0).
  func pack(_ weights: UnsafePointer<Int8>, bias: UnsafePointer<Int32>?, into packed: UnsafeMutableRawPointer) {
    pack(weights, steps: (output: runs * runLength, product: 1), zeroPoint: 0, bias: bias, into: packed)
  }

  /// As above, of weights with a zero point whose outputs, and the products of each, are so many elements apart.
  func pack(
    _ weights: UnsafePointer<Int8>, steps distance: (output: Int, product: Int), zeroPoint: Int16,
    bias: UnsafePointer<Int32>?, into packed: UnsafeMutableRawPointer
  ) {
    let (runs, length, steps) = (runs, runLength, runSteps)
    for group in 0..<groups {
      for block in 0..<blocks {
        let base = packed + (group &* blocks &+ block) &* blockByteCount
        let biases = base.assumingMemoryBound(to: Int32.self)
        let blockScales = (base + 16).assumingMemoryBound(to: Float.self)
        let target = (base + 32).assumingMemoryBound(to: Int16.self)
        for lane in 0..<4 {
          let channel = block &* 4 &+ lane
          let isReal = channel < outputsPerGroup
          let output = group &* outputsPerGroup &+ channel
          biases[lane] = isReal ? bias?[output] ?? 0 : 0
          blockScales[lane] = isReal ? scales[scales.count == 1 ? 0 : output] : 0
          for run in 0..<runs {
            let start = run &* steps &* 32 &+ lane &* 8
            let source = output &* distance.output &+ run &* length &* distance.product
            for k in 0..<steps &* 8 {
              target[start &+ (k / 8) &* 32 &+ k % 8] =
                isReal && k < length ? Int16(weights[source &+ k &* distance.product]) &- zeroPoint : 0
            }
          }
        }
      }
    }
  }

  /// Rows against the channels of one group. `output` is the first row's first channel of the group; its rows are
  /// `outputStride` elements apart.
  func multiply(
    _ rows: GemmRows<Int16>, packed: UnsafeRawPointer, group: Int, output: UnsafeMutablePointer<Int8>,
    outputStride: Int
  ) {
    let requantizer = requantizer
    forEachPair(rows, packed, group) { row, isPair, channel, count, sums, base in
      let biases = base.load(as: SIMD4<Int32>.self)
      let scales = (base + 16).load(as: SIMD4<Float>.self)
      let quanta = requantizer.round(SIMD4<Float>(sums.0 &+ biases) * scales, SIMD4<Float>(sums.1 &+ biases) * scales)
      let target = output + (row &* outputStride &+ channel)
      Int8Gemm.store(quanta.lowHalf, at: target, count: count)
      if isPair { Int8Gemm.store(quanta.highHalf, at: target + outputStride, count: count) }
    }
  }

  /// As `multiply`, for rows quantized at run time: `Float(sum) · (row scale · channel scale) + bias`, clamped, in Float.
  /// The packed biases are Floats, by their bits, and `scales` the weights'. Row i has the scale at i · `scaleStep`.
  func multiplyReal(
    _ rows: GemmRows<Int16>, scales rowScales: UnsafePointer<Float>, scaleStep: Int, packed: UnsafeRawPointer,
    group: Int, bounds: (lower: Float, upper: Float), output: UnsafeMutablePointer<Float>, outputStride: Int
  ) {
    forEachPair(rows, packed, group) { row, isPair, channel, count, sums, base in
      let biases = base.load(as: SIMD4<Float>.self)
      let scales = (base + 16).load(as: SIMD4<Float>.self)
      func store(_ sums: SIMD4<Int32>, _ row: Int) {
        let real = SIMD4<Float>(sums) * (scales * rowScales[row &* scaleStep]) + biases
        let bounded = clamped(real, bounds.lower, bounds.upper)
        let target = output + (row &* outputStride &+ channel)
        for lane in 0..<count { target[lane] = bounded[lane] }
      }
      store(sums.0, row)
      if isPair { store(sums.1, row &+ 1) }
    }
  }

  /// Calls `body` for each two rows (a last one may be alone) and each block of up to four channels: the first row, the
  /// block's first channel and how many it has, the sums of both rows without bias, and the packed block.
  @inline(__always)
  private func forEachPair(
    _ rows: GemmRows<Int16>, _ packed: UnsafeRawPointer, _ group: Int,
    _ body: (
      _ row: Int, _ isPair: Bool, _ channel: Int, _ count: Int, _ sums: (SIMD4<Int32>, SIMD4<Int32>),
      _ base: UnsafeRawPointer
    ) -> Void
  ) {
    let (runs, steps, runStep, rowCount) = (runs, runSteps, rows.runStep, rows.count)
    for block in 0..<blocks {
      let base = packed + (group &* blocks &+ block) &* blockByteCount
      let valid = min(4, outputsPerGroup &- block &* 4)
      var cursor = GemmRows<Int16>.Cursor(rows)
      var row = 0
      while row < rowCount {
        let isPair = row &+ 1 < rowCount
        let first = cursor.advance()
        let sums = Int8Gemm.tile(
          first, isPair ? cursor.advance() : first, base + 32, runs: runs, steps: steps, runStep: runStep)
        body(row, isPair, block &* 4, valid, sums, base)
        row &+= 2
      }
    }
  }

  @inline(__always)
  static func store(_ quanta: SIMD4<Int8>, at target: UnsafeMutablePointer<Int8>, count: Int) {
    if count == 4 {
      UnsafeMutableRawPointer(target).storeBytes(of: quanta, as: SIMD4<Int8>.self)
    } else {
      for lane in 0..<count { target[lane] = quanta[lane] }
    }
  }

  /// Two rows times four channels. Products are added in pairs of neighbours, which is one instruction (pmaddwd).
  @inline(__always)
  private static func tile(
    _ a: UnsafePointer<Int16>, _ b: UnsafePointer<Int16>, _ weights: UnsafeRawPointer, runs: Int, steps: Int,
    runStep: Int
  ) -> (SIMD4<Int32>, SIMD4<Int32>) {
    var a0 = SIMD4<Int32>()
    var a1 = a0
    var a2 = a0
    var a3 = a0
    var b0 = a0
    var b1 = a0
    var b2 = a0
    var b3 = a0
    var (runA, runB) = (UnsafeRawPointer(a), UnsafeRawPointer(b))
    var weights = weights.assumingMemoryBound(to: SIMD8<Int16>.self)
    for _ in 0..<runs {
      for step in 0..<steps {
        let x = (runA + step &* 16).loadUnaligned(as: SIMD8<Int16>.self)
        let y = (runB + step &* 16).loadUnaligned(as: SIMD8<Int16>.self)
        let (w0, w1, w2, w3) = (weights[0], weights[1], weights[2], weights[3])
        a0 &+= productSums(x, w0)
        b0 &+= productSums(y, w0)
        a1 &+= productSums(x, w1)
        b1 &+= productSums(y, w1)
        a2 &+= productSums(x, w2)
        b2 &+= productSums(y, w2)
        a3 &+= productSums(x, w3)
        b3 &+= productSums(y, w3)
        weights += 4
      }
      runA += runStep &* 2
      runB += runStep &* 2
    }
    return (totals(a0, a1, a2, a3), totals(b0, b1, b2, b3))
  }

  /// The sum over the lanes of each argument.
  @inline(__always)
  private static func totals(
    _ a: SIMD4<Int32>, _ b: SIMD4<Int32>, _ c: SIMD4<Int32>, _ d: SIMD4<Int32>
  ) -> SIMD4<Int32> {
    let ab = SIMD8(lowHalf: a, highHalf: b)
    let cd = SIMD8(lowHalf: c, highHalf: d)
    let halves = SIMD8(lowHalf: ab.evenHalf &+ ab.oddHalf, highHalf: cd.evenHalf &+ cd.oddHalf)
    return halves.evenHalf &+ halves.oddHalf
  }
}

/// The sums of the products of neighbours, 0 and 1, 2 and 3, …: one instruction (pmaddwd).
@inline(__always)
func productSums(_ a: SIMD8<Int16>, _ b: SIMD8<Int16>) -> SIMD4<Int32> {
  let products = widened(a) &* widened(b)
  return products.evenHalf &+ products.oddHalf
}

/// Lane by lane: the generic conversion is a call wherever the optimizer does not happen to inline it.
@inline(__always)
func widened(_ a: SIMD8<Int16>) -> SIMD8<Int32> {
  SIMD8<Int32>(
    Int32(a[0]), Int32(a[1]), Int32(a[2]), Int32(a[3]), Int32(a[4]), Int32(a[5]), Int32(a[6]), Int32(a[7]))
}

/// Int8 operands, given by their bits, less a zero point. By way of unsigned numbers: the compiler extends signs from
/// registers of any content, and each step of a loop then waits for the one before.
@inline(__always)
func centred(_ bits: SIMD8<UInt8>, _ zeroPoint: Int16) -> SIMD8<Int16> {
  SIMD8<Int16>(truncatingIfNeeded: bits ^ SIMD8(repeating: 128)) &- (zeroPoint &+ 128)
}
