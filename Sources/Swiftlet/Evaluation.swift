import Foundation
import Runtime
import TensorCore
import Vision

/// How well a model does on labelled data.
public struct Evaluation: Codable, Sendable {
  /// Percent of samples whose label scores highest; nil for data that is scored by `auc`.
  public var top1: Double?
  /// The same for the five highest scores.
  public var top5: Double?
  /// Area under the ROC curve of the reconstruction error, for anomaly detection.
  public var auc: Double?
  /// Samples that were measured.
  public var images: Int
  /// Reading, decoding, preprocessing and inference together.
  public var imagesPerSecond: Double
  /// Nil for recordings, which are in memory.
  public var decoding: Decoding?
  /// Samples that could not be read and were left out.
  public var skipped: [SkippedSample] = []

  /// How samples were read while others were measured.
  public struct Decoding: Codable, Sendable {
    /// Threads that read and decoded ahead; 0 when that and inference took turns.
    public var threads: Int
    /// Percent of the time that inference waited for samples: near 0 unless decoding is the bottleneck.
    public var waiting: Double
  }
}

/// Runs a method over labelled data. `progress` is called with (done, all) after each sample; `logits`, if given, with
/// each sample's index and scores.
///
/// Throws when a sample cannot be read and is not to be skipped, has no label, or does not fit the model.
public func evaluate(
  _ method: Method, on dataset: any Dataset, loading: DataLoader.Options = .init(),
  progress: (Int, Int) -> Void = { _, _ in },
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
  var (top1, top5) = (AverageMeter("Acc@1"), AverageMeter("Acc@5"))
  let pass = try loading.forEachSample(of: dataset, besideThreads: method.threadCount, progress: progress) { sample in
    let index = sample.indices[0]
    guard let label = sample.labels[0] else { throw UsageError("\(dataset.name(index)): has no label") }
    let output = try method.run([sample.inputs])[0]
    let classes = output.shape.elementCount
    guard (0..<classes).contains(label) else {
      throw UsageError(
        "\(dataset.name(index)) is of class \(label), but the model has \(classes) classes; check the order of the classes"
      )
    }
    let percent = accuracy(output, [label], topK: [1, 5])
    top1.update(percent[0])
    top5.update(percent[1])
    logits(index, output.elements(as: Float.self))
  }
  let seconds = max((ContinuousClock.now - start).seconds, 1e-9)
  return Evaluation(
    top1: top1.avg, top5: top5.avg, images: pass.count, imagesPerSecond: Double(pass.count) / seconds,
    decoding: .init(threads: pass.workerCount, waiting: 100 * pass.waited.seconds / seconds), skipped: pass.skipped)
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
