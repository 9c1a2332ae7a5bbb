import TensorCore

/// Keeps a histogram of all values and picks the range that its rule asks for. With `.leastError` it is torchao's
/// `HistogramObserver` (2048 bins, upsample rate 16, L2 norm): scale and zero point agree with torchao's.
///
/// The range of the histogram may only grow; when it does, the counts so far are moved to the new bins. So a value is
/// counted at most one bin (of the range at the end) from where it lies for each time that the range grew by much, and
/// never outside the range.
///
/// Infinite values are left out, as in torchao; `ignoredCount` tells how many there were.
package final class HistogramObserver: PerTensorObserver {
  /// Which part of the histogram's range is kept; what lies outside will saturate.
  package enum Rule: Hashable, Sendable {
    /// torchao's search: the range is narrowed step by step, on the side where a step leaves out fewer values, until the
    /// estimated error of rounding and clipping rises.
    case leastError
    /// All but so many percent of the values at each end, interpolated within a bin: 99.99 leaves out the largest
    /// hundredth of a percent, and the smallest.
    case percentile(Double)
    /// The range whose integers have the least mean squared distance to the values (`MeanSquaredErrorSearch`).
    case meanSquaredError
    /// The range whose integers keep most information about the values (`EntropySearch`).
    case entropy
  }

  package let target: QuantizationTarget
  package let rule: Rule
  /// How many infinite values were left out.
  package private(set) var ignoredCount = 0
  private var histogram: Histogram?

  /// - Throws: `unsupportedScheme` if the target's scheme is per channel; `invalidQuantizedRange` if its integers do
  ///   not fit in 8 bits, for which the searches are made; `invalidPercentile` unless it lies in (50, 100].
  package init(_ target: QuantizationTarget, rule: Rule = .leastError) throws(ObserverError) {
    guard !target.scheme.isPerChannel else { throw .unsupportedScheme(target.scheme, observer: "HistogramObserver") }
    guard target.quantMax - target.quantMin <= 255 else {
      throw .invalidQuantizedRange(min: target.quantMin, max: target.quantMax)
    }
    if case .percentile(let percent) = rule, !(percent > 50 && percent <= 100) { throw .invalidPercentile(percent) }
    self.target = target
    self.rule = rule
  }

  /// The smallest finite value seen, +∞ before the first.
  package var minimum: Float { histogram?.min ?? .infinity }
  /// The largest finite value seen, −∞ before the first.
  package var maximum: Float { histogram?.max ?? -.infinity }
  /// How many values lie in each of 2048 equal bins over [`minimum`, `maximum`] (a constant is in the middle bin);
  /// fractional after the range grew, empty before the first value.
  package var counts: [Float] { histogram?.counts ?? [] }

  package var hasObserved: Bool { histogram != nil }

  package func observe(_ values: UnsafeBufferPointer<Float>) throws(ObserverError) {
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

  /// The part of [`minimum`, `maximum`] that the rule keeps; what lies outside will saturate.
  /// - Throws: `notCalibrated`; `nonFiniteRange` if `maximum − minimum` overflows float32.
  package func searchedRange() throws(ObserverError) -> (min: Float, max: Float) {
    guard let histogram else { throw .notCalibrated }
    guard (histogram.max - histogram.min).isFinite else {
      throw .nonFiniteRange(min: histogram.min, max: histogram.max)
    }
    switch rule {
    case .leastError: return RangeSearch(histogram).run()
    case .percentile(let percent): return histogram.range(percentile: percent)
    case .meanSquaredError: return try MeanSquaredErrorSearch(histogram, target).run()
    case .entropy: return EntropySearch(histogram).run()
    }
  }

  package func calculateQParams() throws(ObserverError) -> QParams {
    let range = try searchedRange()
    let (scale, zeroPoint) = try target.parameters(min: range.min, max: range.max)
    return QParams(scale: scale, zeroPoint: zeroPoint)
  }

  // MARK: State

  package var state: ObserverState {
    guard let histogram else { return ObserverState(kind: "HistogramObserver") }
    return ObserverState(
      kind: "HistogramObserver", minimums: [histogram.min], maximums: [histogram.max], counts: histogram.counts,
      ignoredCount: ignoredCount)
  }

  /// Counts of the two are added over the union of their ranges. A value is then counted at most one bin of that range
  /// from where its own histogram had it.
  package func merge(_ state: ObserverState) throws(ObserverError) {
    guard let range = try state.ranges(of: "HistogramObserver", channels: 1).first else { return }
    guard let counts = state.counts, counts.count == Histogram.binCount,
      counts.allSatisfy({ $0.isFinite && $0 >= 0 }), let ignored = state.ignoredCount, ignored >= 0
    else { throw .invalidState("it does not have \(Histogram.binCount) counts") }
    let other = Histogram(counts: counts, min: range.min, max: range.max)
    if let own = histogram { histogram = own.merged(with: other) } else { histogram = other }
    ignoredCount &+= ignored
  }
}

extension Histogram {
  /// The values between which all but `100 − percent` percent at each end lie, spread evenly within a bin.
  func range(percentile percent: Double) -> (min: Float, max: Float) {
    let total = counts.reduce(0.0) { $0 + Double($1) }
    let left = total * (100 - percent) / 100
    let width = (Double(max) - Double(min)) / Double(Histogram.binCount)
    guard width > 0, total > 0 else { return (min, max) }
    func edge(_ bins: some Sequence<Int>) -> Double {
      var sum = 0.0
      for (passed, bin) in bins.enumerated() {
        let count = Double(counts[bin])
        if sum + count > left { return Double(passed) + (left - sum) / count }
        sum += count
      }
      return 0
    }
    let low = Float(Double(min) + width * edge(0..<Histogram.binCount))
    let high = Float(Double(max) - width * edge((0..<Histogram.binCount).reversed()))
    return low <= high ? (low, high) : (high, low)
  }
}
