import Runtime
import TensorCore

/// What one pass over all samples came to.
package struct DataPass {
  /// Samples that were read.
  package var count = 0
  var skipped: [SkippedSample] = []
  var workerCount = 0
  /// How long samples were waited for.
  var waited = Duration.zero
}

extension DataLoader.Options {
  /// Gives each sample of the data to `body`, one at a time and in order. `progress` is called with (done, all) after
  /// each; skipped samples count as done.
  ///
  /// - Parameter threads: how many threads `body` runs inference on.
  /// - Throws: what `Batches.next` and `body` throw; `UsageError` when every sample was skipped.
  @discardableResult
  package func forEachSample(
    of data: any Dataset, besideThreads threads: Int, progress: (Int, Int) -> Void = { _, _ in },
    _ body: (DataLoader.Batch) throws -> Void
  ) throws -> DataPass {
    var options = self
    options.workerCount = workerCount(besideThreads: threads)
    let batches = DataLoader(data, options: options).batches()
    var pass = DataPass(workerCount: batches.workerCount)
    while let batch = try batches.next() {
      try body(batch)
      pass.count += 1
      progress(batches.position, data.count)
    }
    pass.skipped = batches.skipped
    pass.waited = batches.waited
    if let last = pass.skipped.last {
      guard pass.count > 0 else {
        throw UsageError("all \(pass.skipped.count) samples were skipped; the last: \(last.name): \(last.reason)")
      }
      progress(data.count, data.count)
    }
    return pass
  }

  /// The first sample that can be read, for its shape; nil where there is none.
  ///
  /// - Throws: the first sample's error, unless samples that cannot be read are skipped.
  func firstSample(of data: any Dataset) throws -> Tensor? {
    for index in 0..<data.count {
      do { return try data.input(index) } catch { if !isSkipping { throw error } }
    }
    return nil
  }
}
