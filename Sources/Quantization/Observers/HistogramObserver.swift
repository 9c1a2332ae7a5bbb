import TensorCore

/// Keeps a histogram of all values and picks the range that loses least to quantization and clipping together
/// (torchao `HistogramObserver`: 2048 bins, upsample rate 16, L2 norm).
///
/// The range may only grow; when it does, the counts so far are moved to the new bins. `calculateQParams()`
/// then narrows the range step by step, on the side where a step leaves out fewer values, until the estimated error
/// rises. Every step uses the types and the order of operations of torchao, so that scale and zero point agree.
///
/// Infinite values are left out, as in torchao; `ignoredCount` tells how many there were.
public final class HistogramObserver: PerTensorObserver {
  public let target: QuantizationTarget
  /// How many infinite values were left out.
  public private(set) var ignoredCount = 0
  private var histogram: Histogram?

  /// - Throws: `unsupportedScheme` if the target's scheme is per channel; `invalidQuantizedRange` if its integers do
  ///   not fit in 8 bits, for which the search is made.
  public init(_ target: QuantizationTarget) throws(ObserverError) {
    guard !target.scheme.isPerChannel else { throw .unsupportedScheme(target.scheme, observer: "HistogramObserver") }
    guard target.quantMax - target.quantMin <= 255 else {
      throw .invalidQuantizedRange(min: target.quantMin, max: target.quantMax)
    }
    self.target = target
  }

  /// The smallest finite value seen, +∞ before the first.
  public var minimum: Float { histogram?.min ?? .infinity }
  /// The largest finite value seen, −∞ before the first.
  public var maximum: Float { histogram?.max ?? -.infinity }
  /// How many values lie in each of 2048 equal bins over [`minimum`, `maximum`] (a constant is in the middle bin);
  /// fractional after the range grew, empty before the first value.
  public var counts: [Float] { histogram?.counts ?? [] }

  public var hasObserved: Bool { histogram != nil }

  public func observe(_ values: UnsafeBufferPointer<Float>) throws(ObserverError) {
    let range = ValueRange(values)
    guard !range.hasNaN else { throw .notANumber }
    guard range.hasInfinity else { return record(values, range) }
    let finite = values.filter(\.isFinite)
    ignoredCount += values.count - finite.count
    finite.withUnsafeBufferPointer { record($0, ValueRange($0)) }
  }

  private func record(_ values: UnsafeBufferPointer<Float>, _ range: ValueRange) {
    guard !values.isEmpty else { return }
    if histogram == nil {
      histogram = Histogram(values, min: range.min, max: range.max)
    } else {
      histogram?.add(values, low: range.min, high: range.max)
    }
  }

  /// The part of [`minimum`, `maximum`] that the search keeps; what lies outside will saturate.
  /// - Throws: `notCalibrated`; `nonFiniteRange` if `maximum − minimum` overflows float32.
  public func searchedRange() throws(ObserverError) -> (min: Float, max: Float) {
    guard let histogram else { throw .notCalibrated }
    guard (histogram.max - histogram.min).isFinite else {
      throw .nonFiniteRange(min: histogram.min, max: histogram.max)
    }
    return RangeSearch(histogram).run()
  }

  public func calculateQParams() throws(ObserverError) -> QParams {
    let range = try searchedRange()
    let (scale, zeroPoint) = try target.parameters(min: range.min, max: range.max)
    return QParams(scale: scale, zeroPoint: zeroPoint)
  }
}
