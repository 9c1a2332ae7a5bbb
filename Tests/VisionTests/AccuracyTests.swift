import TensorCore
import Testing

@testable import Vision

@Suite struct AccuracyTests {
  @Test func countsTop1AndTop5() {
    var accuracy = Accuracy()
    #expect(accuracy.top1 == 0 && accuracy.top5 == 0)
    let logits: [Float] = [0, 5, 3, 3, 9, -1, 2, 4]  // order 4 1 7 2 3 6 0 5
    accuracy.add(logits: logits, label: 4)
    accuracy.add(logits: logits, label: 3)
    accuracy.add(logits: Tensor(logits, shape: [1, 8]), label: 6)
    accuracy.add(logits: Tensor(logits, shape: [8]), label: 2)
    #expect(accuracy.count == 4)
    #expect(accuracy.top1 == 25)
    #expect(accuracy.top5 == 75)
  }

  @Test func ofEqualLogitsTheLowerIndexRanksFirst() {
    var accuracy = Accuracy()
    for label in 0..<8 { accuracy.add(logits: [Float](repeating: 1, count: 8), label: label) }
    #expect(accuracy.top1 == 12.5)
    #expect(accuracy.top5 == 62.5)
  }

  @Test func brokenSamplesAreMisses() {
    var accuracy = Accuracy()
    accuracy.add(logits: [.nan, .nan], label: 0)
    accuracy.add(logits: [1, .nan, .nan, .nan, .nan, .nan], label: 0)
    accuracy.add(logits: [1, 2], label: 2)
    accuracy.add(logits: [1, 2], label: -1)
    accuracy.add(logits: [], label: 0)
    #expect(accuracy.count == 5 && accuracy.top1 == 0 && accuracy.top5 == 0)
  }

  @Test func topKIsSorted() {
    let top = topK([1, 4, 4, -.infinity, 7], 3)
    #expect(top.map(\.index) == [4, 1, 2])
    #expect(top.map(\.value) == [7, 4, 4])
    #expect(topK([1, .nan, 2], 9).map(\.index) == [1, 2, 0])
    #expect(topK([1], 0).isEmpty && topK([1], -1).isEmpty && topK([], 2).isEmpty)
  }

  @Test func softmaxOfLargeLogits() {
    let probabilities = softmax([1000, 1001, 1002])
    let expected: [Float] = [0.0900305732, 0.2447284711, 0.6652409558]
    #expect(zip(probabilities, expected).allSatisfy { abs($0 - $1) < 1e-6 })
    #expect(softmax([]).isEmpty)
    #expect(softmax([-3]) == [1])
  }

  @Test func areaUnderROCOfKnownScores() {
    // The example of scikit-learn's roc_auc_score, then ties, then one class only.
    #expect(areaUnderROC(scores: [0.1, 0.4, 0.35, 0.8] as [Double], labels: [0, 0, 1, 1]) == 0.75)
    #expect(areaUnderROC(scores: [1, 1, 1, 1] as [Float], labels: [0, 1, 0, 1]) == 0.5)
    // Pairs: 3 > 2, 3 > 1, 2 = 2, 2 > 1 of four.
    #expect(areaUnderROC(scores: [3, 2, 2, 1] as [Double], labels: [1, 1, 0, 0]) == 0.875)
    #expect(areaUnderROC(scores: [1, 2, 3] as [Double], labels: [1, 0, 0]) == 0)
    #expect(areaUnderROC(scores: [1, 2] as [Double], labels: [1, 1]).isNaN)
    #expect(areaUnderROC(scores: [1, .nan] as [Double], labels: [0, 1]).isNaN)
  }
}
