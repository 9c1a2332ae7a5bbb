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

  /// Adds one sample. Of equal logits the lower index ranks first. A label outside the logits, or a logit of NaN, is a
  /// miss.
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
