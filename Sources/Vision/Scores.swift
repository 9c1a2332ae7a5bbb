import Foundation

/// The `k` greatest logits with their indices, greatest first; of equal ones the lower index first, NaN before all.
/// Fewer than `k` if there are not so many.
public func topK(_ logits: [Float], _ k: Int) -> [(index: Int, value: Float)] {
  let order = logits.indices.sorted { a, b in
    let (x, y) = (logits[a], logits[b])
    if x.isNaN || y.isNaN { return x.isNaN && y.isNaN ? a < b : x.isNaN }
    return x == y ? a < b : x > y
  }
  return order.prefix(max(k, 0)).map { (index: $0, value: logits[$0]) }
}

/// `exp(x − max) / Σ exp(x − max)`: the logits as probabilities that sum up to 1.
public func softmax(_ logits: [Float]) -> [Float] {
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
package func areaUnderROC(scores: [Double], labels: [Int]) -> Double {
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
package func areaUnderROC(scores: [Float], labels: [Int]) -> Double {
  areaUnderROC(scores: scores.map(Double.init), labels: labels)
}
