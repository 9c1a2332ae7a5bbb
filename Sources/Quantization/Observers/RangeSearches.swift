#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The search for the range with the least mean squared quantization error: each bin's count at its centre, quantized
/// with the very parameters that the range gives (zero point rounded, 0 included).
///
/// From the whole range on, upper and lower end are moved in turn to the best of 128 places between 0 and the extreme,
/// until neither moves. That finds a minimum in each direction, not the global one; the error never exceeds that of the
/// whole range, with which it begins. (Choukroun et al., "Low-bit quantization of neural networks for efficient
/// inference", 2019, minimize the same error.)
struct MeanSquaredErrorSearch {
  private static let steps = 128
  private static let rounds = 4

  private let histogram: Histogram
  private let target: QuantizationTarget
  private let centres: [Float]

  init(_ histogram: Histogram, _ target: QuantizationTarget) {
    self.histogram = histogram
    self.target = target
    let width = (Double(histogram.max) - Double(histogram.min)) / Double(Histogram.binCount)
    centres = (0..<Histogram.binCount).map { Float(Double(histogram.min) + (Double($0) + 0.5) * width) }
  }

  func run() throws(ObserverError) -> (min: Float, max: Float) {
    var (low, high) = (min(histogram.min, 0), max(histogram.max, 0))
    var best = try error(low, high)
    for _ in 0..<MeanSquaredErrorSearch.rounds {
      let before = (low, high)
      for step in 1..<MeanSquaredErrorSearch.steps {
        let candidate = max(histogram.max, 0) * Float(step) / Float(MeanSquaredErrorSearch.steps)
        guard candidate > 0 || low < 0 else { continue }
        let error = try error(low, candidate)
        if error < best { (best, high) = (error, candidate) }
      }
      for step in 1..<MeanSquaredErrorSearch.steps {
        let candidate = min(histogram.min, 0) * Float(step) / Float(MeanSquaredErrorSearch.steps)
        guard candidate < 0 || high > 0 else { continue }
        let error = try error(candidate, high)
        if error < best { (best, low) = (error, candidate) }
      }
      if before == (low, high) { break }
    }
    return (low, high)
  }

  /// Σ count · (centre − quantized centre)².
  private func error(_ low: Float, _ high: Float) throws(ObserverError) -> Double {
    let (scale, zeroPoint) = try target.parameters(min: low, max: high)
    let inverse = 1 / scale
    let (bottom, top) = (Float(target.quantMin) - Float(zeroPoint), Float(target.quantMax) - Float(zeroPoint))
    let magic: Float = 12_582_912
    var sum = 0.0
    for bin in 0..<Histogram.binCount where histogram.counts[bin] > 0 {
      // Clamped to a few hundred, where adding 1.5 · 2²³ rounds to the nearest integer.
      let quantum = (max(bottom, min(top, centres[bin] * inverse)) + magic) - magic
      let distance = Double(centres[bin] - quantum * scale)
      sum += Double(histogram.counts[bin]) * distance * distance
    }
    return sum
  }
}

/// The search for the threshold whose quantized distribution diverges least (Kullback–Leibler) from that of the values
/// (S. Migacz, "8-bit inference with TensorRT", 2017).
///
/// Magnitudes are counted in 2048 bins over [0, largest magnitude], the first no higher than the second. For each threshold of at least as many bins as there
/// are levels, the values beyond it are added to its last bin, and compared with the same bins merged to levels and spread
/// again over the bins that were not empty. Values of one sign have 256 levels, of both signs 128 on each side.
struct EntropySearch {
  /// Thresholds tried are this many bins apart.
  private static let stride = 8

  private let histogram: Histogram
  private let magnitudes: [Double]
  private let largest: Double
  private let levels: Int

  init(_ histogram: Histogram) {
    self.histogram = histogram
    let (low, high) = (Double(histogram.min), Double(histogram.max))
    let largest = max(abs(low), abs(high))
    let width = (high - low) / Double(Histogram.binCount)
    var magnitudes = [Double](repeating: 0, count: Histogram.binCount)
    for bin in 0..<Histogram.binCount where largest > 0 {
      let centre = abs(low + (Double(bin) + 0.5) * width)
      let index = min(Histogram.binCount - 1, Int(centre / largest * Double(Histogram.binCount)))
      magnitudes[index] += Double(histogram.counts[bin])
    }
    // The zeros of a ReLU are exact under any scale; as a peak they would only speak for finer levels around 0.
    magnitudes[0] = min(magnitudes[0], magnitudes[1])
    self.magnitudes = magnitudes
    self.largest = largest
    levels = low >= 0 || high <= 0 ? 256 : 128
  }

  func run() -> (min: Float, max: Float) {
    guard largest > 0 else { return (histogram.min, histogram.max) }
    var best = (divergence: Double.infinity, bins: Histogram.binCount)
    for bins in Swift.stride(from: levels, through: Histogram.binCount, by: EntropySearch.stride) {
      let divergence = divergence(bins)
      // Of equals the wider one: nothing is clipped without need.
      if divergence <= best.divergence { best = (divergence, bins) }
    }
    let threshold = Float(largest * Double(best.bins) / Double(Histogram.binCount))
    return (max(histogram.min, -threshold), min(histogram.max, threshold))
  }

  private func divergence(_ bins: Int) -> Double {
    let beyond = magnitudes[bins...].reduce(0, +)
    let kept = magnitudes[..<bins].reduce(0, +)
    let total = kept + beyond
    guard kept > 0 else { return .infinity }
    var result = 0.0
    for level in 0..<levels {
      let members = (level * bins / levels)..<((level + 1) * bins / levels)
      let filled = members.count { magnitudes[$0] > 0 || ($0 == bins - 1 && beyond > 0) }
      guard filled > 0 else { continue }
      let spread = members.reduce(0) { $0 + magnitudes[$1] } / Double(filled) / kept
      for bin in members {
        let share = (magnitudes[bin] + (bin == bins - 1 ? beyond : 0)) / total
        guard share > 0 else { continue }
        // A bin that only holds what lies beyond would have no counterpart; Laplace's half count stands for it.
        result += share * log(share / max(spread, 0.5 / total))
      }
    }
    return result
  }
}
