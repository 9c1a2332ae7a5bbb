import Foundation
import TensorCore

/// How often a classifier's best guess, and its five best, hold the true class.
public struct Accuracy: Hashable, Sendable {
  /// Samples added so far.
  public private(set) var count = 0
  private var top1Hits = 0
  private var top5Hits = 0

  public init() {}

  /// Percent of the samples whose label has the greatest logit; 0 without samples.
  public var top1: Double { percent(top1Hits) }
  /// Percent of the samples whose label is among the five greatest logits; 0 without samples.
  public var top5: Double { percent(top5Hits) }

  /// Adds one sample. Of equal logits the lower index ranks first. A label outside the logits, or a logit of NaN, is a miss.
  public mutating func add(logits: [Float], label: Int) {
    count += 1
    guard let rank = Accuracy.rank(of: label, in: logits) else { return }
    if rank < 1 { top1Hits += 1 }
    if rank < 5 { top5Hits += 1 }
  }

  /// Adds one sample whose logits are all the elements of a tensor, in the logical order ([1, classes] or [classes]).
  /// - Precondition: the tensor is float32.
  public mutating func add(logits: Tensor, label: Int) {
    add(logits: logits.elements(as: Float.self), label: label)
  }

  private func percent(_ hits: Int) -> Double { count == 0 ? 0 : 100 * Double(hits) / Double(count) }

  /// How many logits rank before the label's. NaN ranks before all numbers, so that a broken model cannot score.
  private static func rank(of label: Int, in logits: [Float]) -> Int? {
    guard logits.indices.contains(label), !logits[label].isNaN else { return nil }
    let own = logits[label]
    var rank = 0
    for index in logits.indices where !(logits[index] < own) && (logits[index] != own || index < label) { rank += 1 }
    return rank
  }
}

extension Accuracy {
  /// The `k` greatest logits with their indices, greatest first; of equal ones the lower index first, NaN before all.
  /// Fewer than `k` if there are not so many.
  public static func topK(_ logits: [Float], _ k: Int) -> [(index: Int, value: Float)] {
    let order = logits.indices.sorted { a, b in
      let (x, y) = (logits[a], logits[b])
      if x.isNaN || y.isNaN { return x.isNaN && y.isNaN ? a < b : x.isNaN }
      return x == y ? a < b : x > y
    }
    return order.prefix(max(k, 0)).map { (index: $0, value: logits[$0]) }
  }

  /// `exp(x − max) / Σ exp(x − max)`: the logits as probabilities that sum up to 1.
  public static func softmax(_ logits: [Float]) -> [Float] {
    guard let greatest = logits.max() else { return [] }
    let powers = logits.map { exp($0 - greatest) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
  }

  /// Area under the ROC curve: the chance that a random positive sample scores above a random negative one, ties counting
  /// half. From rank sums (Mann and Whitney), equal scores sharing their mean rank.
  ///
  /// - Parameters:
  ///   - scores: one per sample, greater for "more likely positive".
  ///   - labels: one per sample; 0 is negative, all else positive.
  /// - Returns: 0...1, or NaN if a class has no sample or a score is NaN.
  /// - Precondition: as many scores as labels.
  public static func areaUnderROC(scores: [Double], labels: [Int]) -> Double {
    precondition(scores.count == labels.count)
    let positives = labels.count { $0 != 0 }
    let negatives = labels.count - positives
    guard positives > 0, negatives > 0, !scores.contains(where: \.isNaN) else { return .nan }
    let order = scores.indices.sorted { scores[$0] < scores[$1] }
    var rankSum = 0.0
    var first = 0
    while first < order.count {
      var end = first + 1
      while end < order.count && scores[order[end]] == scores[order[first]] { end += 1 }
      // Ranks count from 1: the mean of first + 1 ... end.
      let meanRank = Double(first + 1 + end) / 2
      for position in first..<end where labels[order[position]] != 0 { rankSum += meanRank }
      first = end
    }
    let wins = rankSum - Double(positives) * Double(positives + 1) / 2
    return wins / (Double(positives) * Double(negatives))
  }

  /// As above, for scores in single precision.
  public static func areaUnderROC(scores: [Float], labels: [Int]) -> Double {
    areaUnderROC(scores: scores.map(Double.init), labels: labels)
  }
}
