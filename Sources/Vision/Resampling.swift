/// How `Image.resized` weighs pixels. The names are those of Pillow and of preprocessing files.
public enum ResizeFilter: String, Hashable, Sendable, Codable, CaseIterable {
  /// The pixel whose area holds the centre of the new one; no averaging.
  case nearest
  /// A triangle of radius 1.
  case bilinear
  /// Keys's cubic convolution of radius 2 with a = −0.5.
  case bicubic

  /// Radius in pixels of the larger grid; 0 for `nearest`, which has no weights.
  var support: Double {
    switch self {
    case .nearest: 0
    case .bilinear: 1
    case .bicubic: 2
    }
  }

  func weight(at position: Double) -> Double {
    let x = abs(position)
    switch self {
    case .nearest: return 1
    case .bilinear: return x < 1 ? 1 - x : 0
    case .bicubic:
      let a = -0.5
      if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
    }
  }
}

/// Which source pixels make each target pixel along one axis, and how much of each.
///
/// The arithmetic is that of Pillow's `Image.resize` on 8-bit images: weights in double, normalized to sum 1, then
/// rounded to fixed point. When shrinking, the filter is stretched by the factor (antialiasing).
struct ResamplingTaps {
  /// Fraction bits of a weight: 32 less 8 for the pixel and 2 for the overshoot of a filter with negative lobes.
  static let precisionBits: Int32 = 32 - 8 - 2

  /// The source pixels that any tap reads.
  private(set) var sourceRange = 0..<0
  /// First source pixel of each target pixel, counted from the start of `sourceRange`.
  private(set) var starts: [Int] = []
  /// How many source pixels each target pixel has.
  private(set) var counts: [Int] = []
  /// `capacity` fixed-point weights per target pixel, `counts` of them used.
  private(set) var weights: [Int32] = []
  let capacity: Int

  /// Taps of the target pixels `window` when `source` pixels become `target`.
  init(source: Int, target: Int, window: Range<Int>, filter: ResizeFilter) {
    let scale = Double(source) / Double(target)
    guard filter != .nearest else {
      self.capacity = 1
      // The position is summed up, not multiplied, for the same rounding as Pillow's.
      var position = scale * 0.5
      for index in 0..<window.upperBound {
        if index >= window.lowerBound { starts.append(min(Int(position), source - 1)) }
        position += scale
      }
      self.counts = [Int](repeating: 1, count: window.count)
      self.weights = [Int32](repeating: 1 << Self.precisionBits, count: window.count)
      rebase()
      return
    }
    let stretch = max(scale, 1)
    let support = filter.support * stretch
    self.capacity = min(Int(support.rounded(.up)) * 2 + 1, source)
    self.weights = [Int32](repeating: 0, count: window.count * capacity)
    var exact = [Double](repeating: 0, count: capacity)
    for (row, index) in window.enumerated() {
      let center = (Double(index) + 0.5) * scale
      let start = max(Int(center - support + 0.5), 0)
      let count = min(Int(center + support + 0.5), source) - start
      var sum = 0.0
      for tap in 0..<count {
        exact[tap] = filter.weight(at: (Double(tap + start) - center + 0.5) * (1 / stretch))
        sum += exact[tap]
      }
      for tap in 0..<count {
        let value = (sum == 0 ? exact[tap] : exact[tap] / sum) * Double(1 << Self.precisionBits)
        weights[row * capacity + tap] = Int32(value < 0 ? value - 0.5 : value + 0.5)
      }
      starts.append(start)
      counts.append(count)
    }
    rebase()
  }

  /// Starts and ends never decrease along the axis, so that the first and last target pixels bound the range.
  private mutating func rebase() {
    guard let first = starts.first, let last = starts.last, let count = counts.last else { return }
    sourceRange = first..<last + count
    for index in starts.indices { starts[index] -= first }
  }
}

/// A fixed-point sum back to a byte: floor (the half was added at the start), then cut to 0...255.
@inline(__always)
func clip8(_ sum: Int32) -> UInt8 {
  UInt8(truncatingIfNeeded: max(0, min(255, sum &>> ResamplingTaps.precisionBits)))
}
