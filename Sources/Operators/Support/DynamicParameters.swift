import TensorCore

/// Scale and zero point chosen from the values at hand, in float32 and in the order of operations of PyTorch's
/// `quantized_decomposed.choose_qparams*`.
///
/// A NaN among the values makes the scale NaN, and a range beyond Float's makes it infinite, as in PyTorch: what is
/// dequantized with either is NaN. Where the zero point is then NaN before it is rounded, PyTorch's is undefined, and it is
/// 0 here. No values at all get scale 1.
struct DynamicParameters: Sendable {
  /// How parameters follow from a range.
  enum Rule: Sendable, Hashable {
    /// `choose_qparams.tensor`: the zero point from the lower end.
    case affine(low: Int32, high: Int32, eps: Float)
    /// `choose_qparams_symmetric.tensor`: the type's own zero point, 0 or (uint8) 128.
    case symmetric(low: Int32, high: Int32, eps: Float, zeroPoint: Int32 = 0)
    /// `choose_qparams_per_token_asymmetric`: int8, the zero point from the end with the smaller error, as XNNPACK
    /// chooses it.
    case token
  }

  var scale: Float = 1
  var zeroPoint: Int32 = 0

  @inline(__always)
  init(_ values: UnsafePointer<Float>, count: Int, _ rule: Rule) {
    var (low, high): (Float, Float) = (0, 0)
    var hasNaN = false
    for i in 0..<count {
      let value = values[i]
      low = value < low ? value : low
      high = value > high ? value : high
      hasNaN = hasNaN || value != value
    }
    guard count > 0 else { return }
    if hasNaN {
      scale = .nan
      return
    }
    switch rule {
    case .affine(let bottom, let top, let eps):
      scale = max((high - low) / Float(top - bottom), eps)
      let offset = Float(bottom) - (low / scale).rounded(.toNearestOrEven)
      zeroPoint = DynamicParameters.bounded(offset, bottom, top)
    case .symmetric(let bottom, let top, let eps, let fixed):
      scale = max(max(-low, high) / (Float(top - bottom) / 2), eps)
      zeroPoint = fixed
    case .token:
      scale = max((high - low) / 255, .ulpOfOne)
      let (bottom, top) = (low / scale, high / scale)
      let offset = (-128 + bottom) + (127 + top) > 0 ? -128 - bottom : 127 - top
      zeroPoint = DynamicParameters.bounded(offset, -128, 127)
    }
  }

  @inline(__always)
  private static func bounded(_ offset: Float, _ low: Int32, _ high: Int32) -> Int32 {
    offset == offset ? Int32(clamped(offset, Float(low), Float(high)).rounded(.toNearestOrEven)) : max(0, low)
  }

  /// int8 of one row, less the zero point: per token in double precision, as there, else as `quantize_per_tensor`.
  /// - Precondition: the rule's integers are int8.
  @inline(__always)
  func quantize(
    _ values: UnsafePointer<Float>, count: Int, _ rule: Rule, centredTo target: UnsafeMutablePointer<Int16>
  ) {
    let zero = Int16(truncatingIfNeeded: zeroPoint)
    switch rule {
    case .token:
      let (inverse, offset) = (1 / Double(scale), Double(zeroPoint))
      for i in 0..<count { target[i] = Int16(DynamicParameters.token(values[i], inverse, offset, -128, 127)) &- zero }
    case .affine(let low, let high, _), .symmetric(let low, let high, _, _):
      let (inverse, bottom, top) = (Float(1 / Double(scale)), Float(low - zeroPoint), Float(high - zeroPoint))
      let magic: Float = 12_582_912
      for i in 0..<count {
        let scaled = values[i] * inverse
        let bounded = clamped(scaled == scaled ? scaled : 0, bottom, top)
        target[i] = Int16(
          truncatingIfNeeded: Int32(bitPattern: (bounded + magic).bitPattern) &- Int32(bitPattern: magic.bitPattern))
      }
    }
  }

  /// `quantize_per_token`'s integer: the zero point is added before rounding, half to even. NaN gives the zero point.
  @inline(__always)
  static func token(_ value: Float, _ inverse: Double, _ offset: Double, _ low: Double, _ high: Double) -> Int32 {
    let real = Double(value) * inverse + offset
    let bounded = max(low, min(high, real == real ? real : offset))
    return Int32((bounded + 6_755_399_441_055_744) - 6_755_399_441_055_744)
  }
}
