import Foundation
import TensorCore

/// Percent of the samples whose target is among the k greatest logits, for each k: `accuracy(output, target, topk)` of
/// PyTorch's tutorials. 0 without samples.
///
/// Of equal logits the lower index ranks first. A target outside the logits, or a logit of NaN, is a miss.
///
/// - Parameters:
///   - output: float32 [N, C], or any shape whose first dimension is N; [C] for one sample.
///   - target: N class indices.
/// - Precondition: the tensor is float32, and has equally many elements for each target.
public func accuracy(_ output: Tensor, _ target: [Int], topK: [Int] = [1]) -> [Double] {
  guard !target.isEmpty else { return topK.map { _ in 0 } }
  let logits = output.elements(as: Float.self)
  precondition(logits.count % target.count == 0, "\(target.count) targets for \(output.spec)")
  let classes = logits.count / target.count
  let ranks = target.enumerated().map { sample, label in
    rank(of: label, in: Array(logits[sample * classes..<(sample + 1) * classes]))
  }
  return topK.map { k in 100 * Double(ranks.count { $0 < k }) / Double(target.count) }
}

/// How many logits rank before the label's; `Int.max` for a miss. NaN ranks before all numbers, so that a broken model
/// cannot score.
private func rank(of label: Int, in logits: [Float]) -> Int {
  guard logits.indices.contains(label), !logits[label].isNaN else { return .max }
  let own = logits[label]
  var rank = 0
  for index in logits.indices where !(logits[index] < own) && (logits[index] != own || index < label) { rank += 1 }
  return rank
}

/// The latest value of a quantity and its mean so far: `AverageMeter` of PyTorch's tutorials.
public struct AverageMeter: Hashable, Sendable, CustomStringConvertible {
  /// What is measured, for `description`.
  public let name: String
  /// The latest value.
  public private(set) var val = 0.0
  /// The sum of all values, each as often as it counted.
  public private(set) var sum = 0.0
  /// How many samples counted.
  public private(set) var count = 0
  /// `sum / count`; 0 before the first value.
  public var avg: Double { count == 0 ? 0 : sum / Double(count) }

  /// A meter that has seen nothing.
  public init(_ name: String = "") { self.name = name }

  /// Adds a value that is the mean of `n` samples.
  public mutating func update(_ value: Double, n: Int = 1) {
    val = value
    sum += value * Double(n)
    count += n
  }

  /// Forgets all values.
  public mutating func reset() { self = AverageMeter(name) }

  /// `name val (avg)`, with two decimals.
  public var description: String { String(format: "%@ %.2f (%.2f)", name, val, avg) }
}
