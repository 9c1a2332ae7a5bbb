import Foundation
import Runtime
import TensorCore
import Vision

/// How well a model does on labelled data.
public struct Evaluation: Codable, Sendable {
  /// Percent of samples whose label scores highest; nil for data that is scored by `auc`.
  public var top1: Double?
  public var top5: Double?
  /// Area under the ROC curve of the reconstruction error, for anomaly detection.
  public var auc: Double?
  public var images: Int
  public var imagesPerSecond: Double
}

/// Runs a method over labelled data. `progress` is called with (done, all) after each sample; `logits`, if given, with
/// each sample's scores.
///
/// Throws when a sample cannot be read, has no label, or does not fit the model.
public func evaluate(
  _ method: Method, on dataset: any Dataset, progress: (Int, Int) -> Void = { _, _ in },
  logits: (Int, [Float]) -> Void = { _, _ in }
) throws -> Evaluation {
  guard dataset.count > 0 else { throw UsageError("\(method.program.name): no samples to measure on") }
  let output = method.program.outputs.first.map { method.program.values[$0].spec }
  guard output?.dataType == .float32 else {
    throw UsageError(
      "\(method.program.name): its first output is \(output.map(\.description) ?? "missing"), not float32")
  }
  if let spectrograms = dataset as? SpectrogramDataset {
    return try evaluateReconstruction(method, on: spectrograms, progress: progress)
  }
  let start = ContinuousClock.now
  var accuracy = Accuracy()
  for index in 0..<dataset.count {
    guard let label = dataset.label(index) else { throw UsageError("sample \(index) has no label") }
    let scores = try method.run([dataset.input(index)])[0].elements(as: Float.self)
    guard scores.indices.contains(label) else {
      throw UsageError("sample \(index) is of class \(label), but the model has \(scores.count) classes; see --classes")
    }
    accuracy.add(logits: scores, label: label)
    logits(index, scores)
    progress(index + 1, dataset.count)
  }
  let seconds = (ContinuousClock.now - start).seconds
  return Evaluation(
    top1: accuracy.top1, top5: accuracy.top5, images: dataset.count,
    imagesPerSecond: Double(dataset.count) / max(seconds, 1e-9))
}

private func evaluateReconstruction(
  _ method: Method, on dataset: SpectrogramDataset, progress: (Int, Int) -> Void
) throws -> Evaluation {
  let start = ContinuousClock.now
  var scores: [Double] = []
  for file in 0..<dataset.fileCount {
    var sum = 0.0
    var count = 0
    for window in dataset.windows(ofFile: file) {
      let input = dataset.input(window)
      let output = try method.run([input])[0].elements(as: Float.self)
      for (x, y) in zip(input.elements(as: Float.self), output) { sum += Double((x - y) * (x - y)) }
      count += output.count
    }
    scores.append(sum / Double(max(count, 1)))
    progress(file + 1, dataset.fileCount)
  }
  let seconds = (ContinuousClock.now - start).seconds
  return Evaluation(
    auc: areaUnderROC(scores: scores, labels: dataset.labels), images: dataset.fileCount,
    imagesPerSecond: Double(dataset.fileCount) / max(seconds, 1e-9))
}
