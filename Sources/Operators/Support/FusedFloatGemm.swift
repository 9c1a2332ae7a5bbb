import TensorCore

/// The f32 matrix product of convolution and linear: `bias + Σ x · w`, the products added one by one in the order of
/// the depth, multiplied and added separately, then clamped. NaN passes the clamp.
struct FloatGemm: Sendable {
  let groups: Int
  let outputsPerGroup: Int
  /// Products per sum.
  let depth: Int
  let lower: Float
  let upper: Float

  private var blocks: Int { (outputsPerGroup + 7) / 8 }
  /// Bytes of one block: 8 biases, then 8 weights per step of the depth.
  private var blockByteCount: Int { 32 + depth * 32 }

  /// Fails when the packed size overflows; shapes are untrusted.
  func packedByteCount(_ call: OperatorCall) throws(OperatorError) -> Int {
    let (count, overflow) = (groups * blocks).multipliedReportingOverflow(by: blockByteCount)
    try call.check(!overflow, "the weights are too large")
    return count
  }

  /// Packs weights `[groups · outputsPerGroup][depth]`. `bias` may be absent (0).
  func pack(_ weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?, into packed: UnsafeMutableRawPointer) {
    pack(weights, steps: (output: depth, product: 1), bias: bias, into: packed)
  }

  /// As above, of weights whose outputs, and the products of each, are so many elements apart.
  func pack(
    _ weights: UnsafePointer<Float>, steps: (output: Int, product: Int), bias: UnsafePointer<Float>?,
    into packed: UnsafeMutableRawPointer
  ) {
    for group in 0..<groups {
      for block in 0..<blocks {
        let base = packed + (group &* blocks &+ block) &* blockByteCount
        var target = base.assumingMemoryBound(to: Float.self)
        let count = min(8, outputsPerGroup &- block &* 8)
        let first = group &* outputsPerGroup &+ block &* 8
        for lane in 0..<8 { target[lane] = lane < count ? bias?[first &+ lane] ?? 0 : 0 }
        target += 8
        var source = weights + first &* steps.output
        for _ in 0..<depth {
          for lane in 0..<count { target[lane] = source[lane &* steps.output] }
          for lane in count..<8 { target[lane] = 0 }
          target += 8
          source += steps.product
        }
      }
    }
  }

  /// Rows against the channels of one group. `output` is the first row's first channel of the group; its rows are
  /// `outputStride` elements apart.
  func multiply(
    _ rows: GemmRows<Float>, packed: UnsafeRawPointer, group: Int, output: UnsafeMutablePointer<Float>,
    outputStride: Int
  ) {
    for block in 0..<blocks {
      let base = packed + (group &* blocks &+ block) &* blockByteCount
      let valid = min(8, outputsPerGroup &- block &* 8)
      var target = output + block &* 8
      var cursor = GemmRows<Float>.Cursor(rows)
      var left = rows.count
      while left > 0 {
        // Rows that are not there repeat the first one.
        let r0 = cursor.advance()
        let r1 = left > 1 ? cursor.advance() : r0
        let r2 = left > 2 ? cursor.advance() : r0
        let r3 = left > 3 ? cursor.advance() : r0
        let sums = FloatGemm.tile(
          r0, r1, r2, r3, base, runs: rows.runs, length: rows.runLength, runStep: rows.runStep)
        store(sums.0, at: target, count: valid)
        if left > 1 { store(sums.1, at: target + outputStride, count: valid) }
        if left > 2 { store(sums.2, at: target + 2 &* outputStride, count: valid) }
        if left > 3 { store(sums.3, at: target + 3 &* outputStride, count: valid) }
        target += 4 &* outputStride
        left &-= 4
      }
    }
  }

  /// Four rows times eight channels.
  @inline(__always)
  private static func tile(
    _ r0: UnsafePointer<Float>, _ r1: UnsafePointer<Float>, _ r2: UnsafePointer<Float>, _ r3: UnsafePointer<Float>,
    _ packed: UnsafeRawPointer, runs: Int, length: Int, runStep: Int
  ) -> (SIMD8<Float>, SIMD8<Float>, SIMD8<Float>, SIMD8<Float>) {
    var weights = packed.assumingMemoryBound(to: SIMD8<Float>.self)
    var (s0, s1, s2, s3) = (weights[0], weights[0], weights[0], weights[0])
    weights += 1
    var start = 0
    for _ in 0..<runs {
      for k in start..<start &+ length {
        let w = weights[0]
        s0 += w * r0[k]
        s1 += w * r1[k]
        s2 += w * r2[k]
        s3 += w * r3[k]
        weights += 1
      }
      start &+= runStep
    }
    return (s0, s1, s2, s3)
  }

  @inline(__always)
  private func store(_ sums: SIMD8<Float>, at target: UnsafeMutablePointer<Float>, count: Int) {
    let sums = SIMD8(
      lowHalf: clamped(sums.lowHalf, lower, upper), highHalf: clamped(sums.highHalf, lower, upper))
    if count == 8 {
      UnsafeMutableRawPointer(target).storeBytes(of: sums, as: SIMD8<Float>.self)
    } else {
      for lane in 0..<count { target[lane] = sums[lane] }
    }
  }
}
