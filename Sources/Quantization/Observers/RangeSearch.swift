/// The search for the bins to keep (torchao `_non_linear_param_search`, after Caffe2's norm minimization).
///
/// Scalars that are Python numbers there are `Double` here; what becomes a tensor is `Float`, also the right-hand
/// side of its comparisons.
struct RangeSearch {
  /// Integers of the quantized type, whatever part of them the target uses.
  private static let levels: Float = 256
  /// The share of the values that one step may leave out.
  private static let stepSize = 1e-5

  private let histogram: Histogram
  /// Counts per unit of the real axis.
  private let density: [Float]
  private let binWidth: Double

  /// - Precondition: the histogram's range is finite.
  init(_ histogram: Histogram) {
    let width = (Double(histogram.max) - Double(histogram.min)) / Double(Histogram.binCount)
    self.histogram = histogram
    self.binWidth = width
    self.density = histogram.counts.map { $0 / Float(width) }
  }

  /// The range of the bins that are kept.
  func run() -> (min: Float, max: Float) {
    let (start, end) = keptBins()
    let width = (histogram.max - histogram.min) / Float(Histogram.binCount)
    return (histogram.min + width * Float(start), histogram.min + width * Float(end + 1))
  }

  /// Narrows from both ends while the error does not rise. The end that could skip more bins moves; a tie moves the
  /// upper one. A step that skips no bin only advances the upper quantile.
  private func keptBins() -> (start: Int, end: Int) {
    let total = Double(cascadeSum(histogram.counts))
    let cumulative = cumulativeCounts()
    var (alpha, beta) = (0.0, 1.0)
    var (start, end) = (0, Histogram.binCount - 1)
    var leastError = Double.infinity
    while alpha < beta {
      let nextAlpha = alpha + RangeSearch.stepSize
      let nextBeta = beta - RangeSearch.stepSize
      let (below, above) = (Float(nextAlpha * total), Float(nextBeta * total))
      var (left, right) = (start, end)
      while left < end && cumulative[left] < below { left += 1 }
      while right > start && cumulative[right] > above { right -= 1 }
      var (nextStart, nextEnd) = (start, end)
      if left - start > end - right {
        nextStart = left
        alpha = nextAlpha
      } else {
        nextEnd = right
        beta = nextBeta
      }
      if nextStart == start && nextEnd == end { continue }
      let error = quantizationError(start: nextStart, end: nextEnd)
      if error > leastError { break }
      leastError = error
      (start, end) = (nextStart, nextEnd)
    }
    return (start, end)
  }

  /// Running sums, added in double and stored in float as `torch.cumsum` does.
  private func cumulativeCounts() -> [Float] {
    var sum = 0.0
    return histogram.counts.map { count in
      sum += Double(count)
      return Float(sum)
    }
  }

  /// The estimated sum of squared errors if bins `start...end` were quantized to 256 levels, values being spread
  /// evenly within each of the 2048 bins. Bins outside are charged with the distance to the nearest level.
  private func quantizationError(start: Int, end: Int) -> Double {
    let levelWidth = binWidth * Double(end - start + 1) / Double(RangeSearch.levels)
    if levelWidth == 0 { return 0 }
    let level = LevelGrid(width: levelWidth)
    let width = SIMD8<Float>(repeating: Float(binWidth))
    let fullLevel = SIMD8<Float>(repeating: level.fullNorm)
    var bin = SIMD8<Float>(0, 1, 2, 3, 4, 5, 6, 7) - SIMD8(repeating: Float(start))
    var errors = [Float](repeating: 0, count: Histogram.binCount)
    density.withUnsafeBytes { source in
      errors.withUnsafeMutableBytes { result in
        for offset in stride(from: 0, to: source.count, by: 32) {
          let density = source.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
          let lower = bin * width
          let upper = lower + width
          let first = level.index(of: lower)
          let last = level.index(of: upper)
          let head = density * level.norm(from: lower - (first + 0.5) * level.width)
          let body = (last - first - 1) * (density * fullLevel)
          let tail = density * level.norm(to: upper - (last * level.width + level.halfWidth))
          result.storeBytes(of: head + body + tail, toByteOffset: offset, as: SIMD8<Float>.self)
          bin += 8
        }
      }
    }
    return Double(cascadeSum(errors))
  }
}

/// 256 quantization levels of equal width from 0 on, and the integral of the squared distance to a level's centre.
private struct LevelGrid {
  let width: SIMD8<Float>
  let halfWidth: SIMD8<Float>
  /// The integral over one whole level.
  let fullNorm: Float
  /// `width` with the low 12 bits of the significand cleared, and the rest: their products with a level's index are
  /// exact.
  private let widthHigh: SIMD8<Float>
  private let widthLow: SIMD8<Float>
  private let halfCubed: SIMD8<Float>

  init(width: Double) {
    let single = Float(width)
    let half = Float(width / 2)
    let high = Float(bitPattern: single.bitPattern & 0xffff_f000)
    let cube = half * half * half
    self.width = SIMD8(repeating: single)
    self.halfWidth = SIMD8(repeating: half)
    self.widthHigh = SIMD8(repeating: high)
    self.widthLow = SIMD8(repeating: single - high)
    self.halfCubed = SIMD8(repeating: cube)
    self.fullNorm = (cube - -cube) / 3
  }

  /// The integral from `delta` to the upper edge.
  @inline(__always)
  func norm(from delta: SIMD8<Float>) -> SIMD8<Float> { (halfCubed - delta * delta * delta) / 3 }

  /// The integral from the lower edge to `delta`.
  @inline(__always)
  func norm(to delta: SIMD8<Float>) -> SIMD8<Float> { (delta * delta * delta + halfCubed) / 3 }

  /// floor(x / width) within 0...255, of the exact quotient as Python's floor division has it.
  ///
  /// The float quotient may have been rounded up to an integer k; then k · width > x, which is decided exactly with
  /// the split width: where the two nearly agree the subtraction is exact, elsewhere its sign is right.
  @inline(__always)
  func index(of x: SIMD8<Float>) -> SIMD8<Float> {
    let magic = SIMD8<Float>(repeating: 8_388_608)
    let quotient = clamped(x / width)
    var floor = (quotient + magic) - magic
    floor.replace(with: floor - 1, where: floor .> quotient)
    let isAbove = (floor * widthHigh - x) .> -(floor * widthLow)
    floor.replace(with: floor - 1, where: isAbove)
    return clamped(floor)
  }

  /// NaN stays NaN.
  @inline(__always)
  private func clamped(_ x: SIMD8<Float>) -> SIMD8<Float> {
    let top = SIMD8<Float>(repeating: 255)
    let raised = x.replacing(with: 0, where: x .< 0)
    return raised.replacing(with: top, where: raised .> top)
  }
}
