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
    for group in 0..<groups {
      for block in 0..<blocks {
        let base = packed + (group &* blocks &+ block) &* blockByteCount
        let target = base.assumingMemoryBound(to: Float.self)
        for lane in 0..<8 {
          let channel = block &* 8 &+ lane
          let isReal = channel < outputsPerGroup
          let output = group &* outputsPerGroup &+ channel
          target[lane] = isReal ? bias?[output] ?? 0 : 0
          for k in 0..<depth { target[8 &+ k &* 8 &+ lane] = isReal ? weights[output &* depth &+ k] : 0 }
        }
      }
    }
  }

  /// `rowCount` rows, `rowStride` elements apart, against the channels of one group. `output` is the first row's first
  /// channel of the group; its rows are `outputStride` elements apart.
  func multiply(
    _ rows: UnsafePointer<Float>, rowCount: Int, rowStride: Int, packed: UnsafeRawPointer, group: Int,
    output: UnsafeMutablePointer<Float>, outputStride: Int
  ) {
    let depth = depth
    for block in 0..<blocks {
      let base = packed + (group &* blocks &+ block) &* blockByteCount
      let weights = base.assumingMemoryBound(to: SIMD8<Float>.self)
      let valid = min(8, outputsPerGroup &- block &* 8)
      var row = 0
      while row < rowCount {
        let count = min(4, rowCount &- row)
        let last = rows + (row &+ count &- 1) &* rowStride
        let r0 = rows + row &* rowStride
        let r1 = count > 1 ? r0 + rowStride : last
        let r2 = count > 2 ? r1 + rowStride : last
        var (s0, s1, s2, s3) = (weights[0], weights[0], weights[0], weights[0])
        for k in 0..<depth {
          let w = weights[1 &+ k]
          s0 += w * r0[k]
          s1 += w * r1[k]
          s2 += w * r2[k]
          s3 += w * last[k]
        }
        let target = output + (row &* outputStride &+ block &* 8)
        store(s0, at: target, count: valid)
        if count > 1 { store(s1, at: target + outputStride, count: valid) }
        if count > 2 { store(s2, at: target + 2 &* outputStride, count: valid) }
        if count > 3 { store(s3, at: target + 3 &* outputStride, count: valid) }
        row &+= 4
      }
    }
  }

  @inline(__always)
  private func store(_ sums: SIMD8<Float>, at target: UnsafeMutablePointer<Float>, count: Int) {
    var clamped = sums
    clamped.replace(with: lower, where: clamped .< lower)
    clamped.replace(with: upper, where: clamped .> upper)
    if count == 8 {
      UnsafeMutableRawPointer(target).storeBytes(of: clamped, as: SIMD8<Float>.self)
    } else {
      for lane in 0..<count { target[lane] = clamped[lane] }
    }
  }
}
