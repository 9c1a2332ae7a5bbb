import Swiftlet

/// The value below which a fraction of the samples lies (nearest rank).
package func percentile(_ samples: [Double], _ fraction: Double) -> Double {
  let sorted = samples.sorted()
  guard !sorted.isEmpty else { return .nan }
  return sorted[min(sorted.count - 1, max(0, Int((fraction * Double(sorted.count)).rounded(.up)) - 1))]
}

/// How a comparison spreads inferences over rounds.
enum BenchmarkSchedule {
  /// The order of the variants in each round: every variant once, shuffled anew.
  static func order(variants: Int, rounds: Int, seed: UInt64) -> [[Int]] {
    var generator = SeededGenerator(seed: seed)
    return (0..<rounds).map { _ in (0..<variants).shuffled(using: &generator) }
  }

  /// Inferences in each round: `runs` over as many rounds, the first ones taking what does not divide.
  static func runs(_ runs: Int, rounds: Int) -> [Int] {
    let rounds = max(1, min(rounds, runs))
    return (0..<rounds).map { runs / rounds + ($0 < runs % rounds ? 1 : 0) }
  }
}

/// The ratio of two medians and where it may lie.
public struct BenchmarkRatio: Codable, Sendable, Equatable {
  /// Median of the one over median of the other, each over the samples of all rounds.
  public var value: Double
  /// Ends of the 95 % confidence interval; nil when there were fewer than three rounds.
  public var low: Double?
  /// The upper end.
  public var high: Double?

  /// The interval is a percentile bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter
  /// 13) over rounds: rounds are drawn with replacement, the same ones for both sides since those ran side by side, and
  /// the ratio is taken anew; its ends are the 2.5th and the 97.5th percentile of these ratios. Times within a round
  /// depend on each other, which is why rounds are drawn and not single times.
  ///
  /// - Parameters:
  ///   - rounds: samples of one side, by round; `base` of the other, as many rounds.
  ///   - seed: the interval is the same for the same seed.
  init(_ rounds: [[Double]], over base: [[Double]], resamples: Int = 2000, seed: UInt64) {
    let (sorted, sortedBase) = (SortedSamples(rounds), SortedSamples(base))
    let count = min(rounds.count, base.count)
    let once = [Int](repeating: 1, count: count)
    value = sorted.median(once) / sortedBase.median(once)
    guard count > 2 else { return }
    var generator = SeededGenerator(seed: seed)
    let ratios = (0..<resamples).map { _ in
      var drawn = [Int](repeating: 0, count: count)
      for _ in 0..<count { drawn[Int.random(in: 0..<count, using: &generator)] += 1 }
      return sorted.median(drawn) / sortedBase.median(drawn)
    }
    (low, high) = (percentile(ratios, 0.025), percentile(ratios, 0.975))
  }
}

/// The samples of all rounds in ascending order, so that the median over rounds drawn several times is one pass.
private struct SortedSamples {
  private let samples: [(value: Double, round: Int)]
  private let counts: [Int]

  init(_ rounds: [[Double]]) {
    samples = rounds.enumerated().flatMap { round, values in values.map { ($0, round) } }.sorted { $0.0 < $1.0 }
    counts = rounds.map(\.count)
  }

  /// The median (nearest rank) of the samples, each as often as its round was drawn.
  func median(_ drawn: [Int]) -> Double {
    let total = zip(counts, drawn).reduce(0) { $0 + $1.0 * $1.1 }
    var seen = 0
    for (value, round) in samples {
      seen += drawn[round]
      if 2 * seen >= total { return value }
    }
    return .nan
  }
}
