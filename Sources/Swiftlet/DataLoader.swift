import Foundation
import Runtime
import TensorCore
import Vision

/// Batches of a dataset's samples, made ahead on other threads and given in order: PyTorch's `DataLoader`.
///
///     let loader = DataLoader(photos, batchSize: 32, shuffle: true, seed: 7)
///     let batches = loader.batches(epoch: 0)
///     while let batch = try batches.next() { … }
///
/// What comes out does not depend on the number of workers.
public struct DataLoader: Sendable {
  /// How samples are read, whatever they are read for.
  public struct Options: Sendable {
    /// Threads that make batches; 0 makes them on the caller's thread. Nil: as many as there are cores that the threads
    /// of inference leave free, since those spin while they wait.
    public var workerCount: Int?
    /// Batches that are made ahead, for each worker.
    public var prefetchFactor: Int
    /// What is done with a sample that cannot be read.
    public var onError: OnError

    /// - Precondition: `workerCount` is not negative, `prefetchFactor` is positive.
    public init(workerCount: Int? = nil, prefetchFactor: Int = 2, onError: OnError = .fail) {
      precondition(workerCount ?? 0 >= 0 && prefetchFactor > 0)
      self.workerCount = workerCount
      self.prefetchFactor = prefetchFactor
      self.onError = onError
    }

    /// The number of workers beside inference on so many threads.
    func workerCount(besideThreads threads: Int) -> Int {
      workerCount ?? max(0, ThreadPool.physicalCoreCount - threads)
    }
  }

  /// What is done with a sample that cannot be read.
  public enum OnError: Sendable {
    /// `next` throws its error, which names it, in its turn.
    case fail
    /// It is left out of its batch, and named here.
    case skip(SkippedSamples)
  }

  /// Samples of a dataset, as one input.
  public struct Batch: Sendable {
    /// Where the samples stand in the dataset.
    public let indices: [Int]
    /// The samples' inputs along the first dimension.
    public let inputs: Tensor
    /// Nil for data without labels.
    public let labels: [Int?]
  }

  /// What is read.
  public let dataset: any Dataset
  /// Samples in a batch; of a small dataset all of them.
  public let batchSize: Int
  /// Whether each epoch has another order.
  public let shuffle: Bool
  /// Of the order of samples. Random transforms have their dataset's own.
  public let seed: UInt64
  /// Whether the last batch is left out if it is not full.
  public let dropLast: Bool
  /// How samples are read.
  public let options: Options

  /// - Precondition: `batchSize` is positive.
  public init(
    _ dataset: any Dataset, batchSize: Int = 1, shuffle: Bool = false, seed: UInt64 = 0, dropLast: Bool = false,
    options: Options = Options()
  ) {
    precondition(batchSize > 0)
    self.dataset = dataset
    self.batchSize = min(batchSize, max(1, dataset.count))
    self.shuffle = shuffle
    self.seed = seed
    self.dropLast = dropLast
    self.options = options
  }

  /// The number of batches in an epoch.
  public var batchCount: Int { (dataset.count + (dropLast ? 0 : batchSize - 1)) / batchSize }

  private static let workerLimit = 256
  private static let prefetchLimit = 1024

  /// One pass over the data. The workers start at once; they end with the pass, or when the result is dropped.
  ///
  /// - Parameter epoch: gives another order, if shuffled, and other random transforms.
  public func batches(epoch: Int = 0) -> Batches {
    let workers = max(0, min(options.workerCount(besideThreads: 1), batchCount, DataLoader.workerLimit))
    let (order, dataset) = (order(epoch: epoch), dataset.atEpoch(epoch))
    let (batchSize, isSkipping) = (batchSize, options.isSkipping)
    let queue = OrderedPrefetch(
      count: batchCount, workerCount: workers,
      capacity: workers * max(1, min(options.prefetchFactor, DataLoader.prefetchLimit))
    ) { index in
      let start = index * batchSize
      return try MadeBatch(order[start..<min(start + batchSize, order.count)], of: dataset, isSkipping: isSkipping)
    }
    return Batches(queue, onError: options.onError)
  }

  /// The indices of the samples in the order of an epoch (Fisher and Yates).
  private func order(epoch: Int) -> [Int] {
    var order = Array(0..<dataset.count)
    guard shuffle else { return order }
    var generator = SeededGenerator(seed: seed, epoch: epoch, sample: -1)
    for last in order.indices.reversed() { order.swapAt(last, generator.integer(below: last + 1)) }
    return order
  }

  /// The batches of one pass.
  public final class Batches {
    /// Samples that were left out so far.
    public private(set) var skipped: [SkippedSample] = []
    /// How long `next` has waited for a batch, or made it, altogether.
    package private(set) var waited = Duration.zero
    private let queue: OrderedPrefetch<MadeBatch>
    private let onError: OnError

    fileprivate init(_ queue: OrderedPrefetch<MadeBatch>, onError: OnError) {
      self.queue = queue
      self.onError = onError
    }

    deinit { queue.stop() }

    /// The threads that make batches.
    package var workerCount: Int { queue.workerCount }
    /// How many batches were given, those that lost all their samples included.
    package var position: Int { queue.position }

    /// The next batch that has a sample; nil after the last one, and after an error.
    ///
    /// - Throws: the dataset's error for a sample that cannot be read, unless it is skipped; `UsageError` for samples of
    ///   different shapes in one batch.
    public func next() throws -> Batch? {
      let start = ContinuousClock.now
      defer { waited += ContinuousClock.now - start }
      while let made = try queue.next() {
        skipped += made.skipped
        if case .skip(let log) = onError { log.add(made.skipped) }
        if let batch = made.batch { return batch }
      }
      return nil
    }
  }
}

extension DataLoader.Options {
  var isSkipping: Bool {
    if case .skip = onError { true } else { false }
  }

  /// The samples skipped so far, in all passes that these options were given to.
  public var skipped: [SkippedSample] {
    if case .skip(let log) = onError { log.samples } else { [] }
  }
}

/// A batch as a worker leaves it; nil when all its samples were skipped.
private struct MadeBatch: Sendable {
  let batch: DataLoader.Batch?
  let skipped: [SkippedSample]

  init(_ indices: ArraySlice<Int>, of dataset: any Dataset, isSkipping: Bool) throws {
    var samples: [(index: Int, input: Tensor)] = []
    var skipped: [SkippedSample] = []
    for index in indices {
      do { samples.append((index, try dataset.input(index))) } catch {
        guard isSkipping else { throw error }
        skipped.append(SkippedSample(dataset.name(index), error))
      }
    }
    self.skipped = skipped
    guard !samples.isEmpty else {
      batch = nil
      return
    }
    let first = samples[0].input.spec
    for sample in samples where samples.count > 1 && (sample.input.spec != first || first.shape.rank == 0) {
      throw UsageError(
        "\(dataset.name(sample.index)): its input is \(sample.input.spec), but \(dataset.name(samples[0].index))'s in the"
          + " same batch \(first); a batch needs one shape with a first dimension")
    }
    batch = DataLoader.Batch(
      indices: samples.map(\.index), inputs: Tensor(stacking: samples.map(\.input)),
      labels: samples.map { dataset.label($0.index) })
  }
}

extension Tensor {
  /// Tensors of one spec, put together along the first dimension, which is the outermost in every dim order.
  fileprivate init(stacking tensors: [Tensor]) {
    guard tensors.count > 1 else {
      self = tensors[0]
      return
    }
    var spec = tensors[0].spec
    let byteCount = spec.byteCount
    spec.shape = Shape([spec.shape[0] * tensors.count] + spec.shape.dimensions.dropFirst())
    self.init(unsafeUninitialized: spec) { target in
      for (position, tensor) in tensors.enumerated() {
        tensor.withUnsafeBytes { source in
          UnsafeMutableRawBufferPointer(rebasing: target[position * byteCount..<(position + 1) * byteCount])
            .copyMemory(from: source)
        }
      }
    }
  }
}
