import TensorCore
import Testing

@testable import Vision

@Suite struct AccuracyTests {
  @Test func percentAmongTheFirstK() {
    let row: [Float] = [0, 5, 3, 3, 9, -1, 2, 4]  // order 4 1 7 2 3 6 0 5
    let output = Tensor(row + row + row + row, shape: [4, 8])
    #expect(accuracy(output, [4, 3, 6, 2], topK: [1, 5]) == [25, 75])
    #expect(accuracy(output, [4, 3, 6, 2]) == [25])
    #expect(accuracy(Tensor(row, shape: [8]), [7], topK: [3, 2, 100, 0]) == [100, 0, 100, 0])
    #expect(accuracy(Tensor([] as [Float], shape: [0, 8]), [], topK: [1, 5]) == [0, 0])
  }

  @Test func ofEqualLogitsTheLowerIndexRanksFirst() {
    let output = Tensor([Float](repeating: 1, count: 64), shape: [8, 8])
    #expect(accuracy(output, Array(0..<8), topK: [1, 5]) == [12.5, 62.5])
  }

  @Test func brokenSamplesAreMisses() {
    func percent(_ logits: [Float], _ label: Int) -> [Double] {
      accuracy(Tensor(logits, shape: [1, logits.count]), [label], topK: [1, 5])
    }
    #expect(percent([.nan, .nan], 0) == [0, 0])
    #expect(percent([1, .nan, .nan, .nan, .nan, .nan], 0) == [0, 0])
    #expect(percent([1, 2], 2) == [0, 0])
    #expect(percent([1, 2], -1) == [0, 0])
    #expect(percent([], 0) == [0, 0])
  }

  @Test func averageMeterWeighsBatchesBySize() {
    var meter = AverageMeter("Acc@1")
    #expect(meter.avg == 0 && meter.count == 0)
    meter.update(50, n: 4)
    meter.update(100)
    #expect(meter.val == 100 && meter.sum == 300 && meter.count == 5 && meter.avg == 60)
    #expect("\(meter)" == "Acc@1 100.00 (60.00)")
    meter.reset()
    #expect(meter == AverageMeter("Acc@1"))
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
