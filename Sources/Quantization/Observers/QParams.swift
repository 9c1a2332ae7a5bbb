/// What an observed range is quantized with: torchao's `scale` and `zero_point`.
public struct QParams: Hashable, Sendable {
  /// Parallel to `scales`.
  public enum ZeroPoints: Hashable, Sendable {
    /// The integers that stand for 0.
    case integers([Int32])
    /// Of `perChannelAffineFloatQParams`: `real = (q − zeroPoint) · scale` with a real zero point.
    case floats([Float])
  }

  /// One scale, or one per index of `axis`; finite and greater than 0.
  public let scales: [Float]
  /// One for each scale.
  public let zeroPoints: ZeroPoints
  /// The dimension that `scales` runs along, counted from the front; nil for per tensor.
  public let axis: Int?

  /// Parameters of a whole tensor.
  public init(scale: Float, zeroPoint: Int32) {
    self.scales = [scale]
    self.zeroPoints = .integers([zeroPoint])
    self.axis = nil
  }

  /// - Precondition: as many zero points as scales.
  public init(perChannel scales: [Float], zeroPoints: ZeroPoints, axis: Int) {
    self.scales = scales
    self.zeroPoints = zeroPoints
    self.axis = axis
  }

  /// Whether each index of `axis` has its own.
  public var isPerChannel: Bool { axis != nil }
}

/// The integers and the scheme that an observed range is mapped to.
public struct QuantizationTarget: Hashable, Sendable {
  /// What the parameters belong to, and whether the range is symmetric.
  public let scheme: QuantizationScheme
  /// The smallest integer, −128 for int8.
  public let quantMin: Int
  /// The largest integer, 127 for int8.
  public let quantMax: Int
  /// The smallest scale that is ever given.
  public let eps: Float

  /// - Throws: `invalidQuantizedRange` unless `quantMin ≤ 0 ≤ quantMax`, `quantMin < quantMax` and both fit in
  ///   `Int32`; `invalidEpsilon` unless `eps` is positive and finite.
  public init(
    scheme: QuantizationScheme, quantMin: Int = -128, quantMax: Int = 127, eps: Float = .ulpOfOne
  ) throws(ObserverError) {
    guard quantMin <= 0, quantMax >= 0, quantMin < quantMax, quantMin >= Int32.min, quantMax <= Int32.max else {
      throw .invalidQuantizedRange(min: quantMin, max: quantMax)
    }
    guard eps > 0, eps.isFinite else { throw .invalidEpsilon(eps) }
    self.scheme = scheme
    self.quantMin = quantMin
    self.quantMax = quantMax
    self.eps = eps
  }

  /// Scale and zero point of one range, in float32 arithmetic and in the order of operations of torchao's
  /// `UniformQuantizationObserverBase._calculate_qparams`, for signed and unsigned integers.
  ///
  /// - Affine: `scale = max((max⁺ − min⁻) / (quantMax − quantMin), eps)` where `min⁻ = min(min, 0)` and
  ///   `max⁺ = max(max, 0)`; `zeroPoint = quantMin − roundHalfEven(min⁻ / scale)`, clamped to the integer range.
  /// - Symmetric: `scale = max(max(−min⁻, max⁺) / ((quantMax − quantMin) / 2), eps)`; the zero point is 0 for a
  ///   signed range, 128 for 0...255 and the midpoint, rounded down, for any other unsigned range.
  /// - Throws: `notANumber`, `reversedRange`, or `nonFiniteRange`; `unsupportedScheme` for real zero points.
  public func parameters(min: Float, max: Float) throws(ObserverError) -> (scale: Float, zeroPoint: Int32) {
    guard scheme != .perChannelAffineFloatQParams else {
      throw .unsupportedScheme(scheme, observer: "an integer zero point")
    }
    guard !min.isNaN, !max.isNaN else { throw .notANumber }
    guard min <= max else { throw .reversedRange(min: min, max: max) }
    let negative = Swift.min(min, 0)
    let positive = Swift.max(max, 0)
    let steps = Float(quantMax - quantMin)
    let width = scheme.isSymmetric ? Swift.max(-negative, positive) : positive - negative
    let scale = Swift.max(width / (scheme.isSymmetric ? steps / 2 : steps), eps)
    guard scale.isFinite else { throw .nonFiniteRange(min: min, max: max) }
    if scheme.isSymmetric { return (scale, symmetricZeroPoint) }
    let offset = Double(quantMin) - Double((negative / scale).rounded(.toNearestOrEven))
    return (scale, Int32(Swift.min(Swift.max(offset, Double(quantMin)), Double(quantMax))))
  }

  /// Scale and real zero point of one range, as `_calculate_qparams` has them for `per_channel_affine_float_qparams`:
  /// `scale = (max − min) / (quantMax − quantMin)`, or 1 where that is not above eps; `zeroPoint = −min / scale`.
  /// - Throws: `notANumber`, `reversedRange`, or `nonFiniteRange`.
  package func floatParameters(min: Float, max: Float) throws(ObserverError) -> (scale: Float, zeroPoint: Float) {
    guard !min.isNaN, !max.isNaN else { throw .notANumber }
    guard min <= max else { throw .reversedRange(min: min, max: max) }
    let width = (max - min) / Float(quantMax - quantMin)
    let scale = width > eps ? width : 1
    let zeroPoint = -min / scale
    guard scale.isFinite, zeroPoint.isFinite else { throw .nonFiniteRange(min: min, max: max) }
    return (scale, zeroPoint)
  }

  private var symmetricZeroPoint: Int32 {
    if quantMin < 0 { return 0 }
    return quantMax == 255 ? 128 : Int32(quantMax / 2)
  }
}

/// Scale and zero point of one range; see `QuantizationTarget.parameters(min:max:)`.
///
/// - Throws: what that method and `QuantizationTarget`'s initializer throw.
package func calculateQParams(
  min: Float, max: Float, quantMin: Int, quantMax: Int, scheme: QuantizationScheme, eps: Float
) throws(ObserverError) -> (scale: Float, zeroPoint: Int32) {
  try QuantizationTarget(scheme: scheme, quantMin: quantMin, quantMax: quantMax, eps: eps).parameters(
    min: min, max: max)
}
