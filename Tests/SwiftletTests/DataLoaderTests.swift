import Foundation
import PipelineTesting
import Swiftlet
import Synchronization
import TestSupport
import Testing

@Suite struct DataLoaderTests {
  static let photos = repositoryPath("models/efficientnet-lite0/val")

  /// Photos with random transforms, and a reference that was made without a loader.
  private func augmented(_ limit: Int) throws -> any Dataset {
    let transform = try Compose([
      .randomResizedCrop(24), .randomHorizontalFlip(), .toTensor, .normalize(mean: [0.4, 0.5, 0.6], std: [1, 2, 3]),
    ])
    return ImageDataset(try ImageFolder(path: Self.photos), transform: transform, seed: 3).limited(to: limit)
  }

  @Test(arguments: [0, 1, 3])
  func givesWhatASerialLoopGives(workers: Int) throws {
    let data = try augmented(22)
    for epoch in 0..<2 {
      let loader = DataLoader(data, batchSize: 3, options: .init(workerCount: workers))
      let batches = loader.batches(epoch: epoch)
      #expect(batches.workerCount == workers)
      var next = 0
      while let batch = try batches.next() {
        let expected = Array(next..<min(next + 3, 22))
        #expect(batch.indices == expected)
        #expect(batch.labels == expected.map(data.label))
        #expect(batch.inputs.shape == [expected.count, 3, 24, 24])
        let serial = try expected.flatMap { try data.atEpoch(epoch).input($0).elements(as: Float.self) }
        #expect(batch.inputs.elements(as: Float.self) == serial)
        next += 3
      }
      #expect(next == 24 && batches.position == 8 && loader.batchCount == 8)
      #expect(try batches.next() == nil)
    }
    #expect(try data.input(0).elements(as: Float.self) != data.atEpoch(1).input(0).elements(as: Float.self))
  }

  @Test func shufflesBySeedAndEpoch() throws {
    let data = NoiseDataset(shape: [1, 2], count: 50, scale: 1)
    func order(seed: UInt64, epoch: Int, workers: Int) throws -> [Int] {
      let loader = DataLoader(
        data, batchSize: 7, shuffle: true, seed: seed, dropLast: true, options: .init(workerCount: workers))
      #expect(loader.batchCount == 7)
      let batches = loader.batches(epoch: epoch)
      var order: [Int] = []
      while let batch = try batches.next() {
        #expect(batch.indices.count == 7)
        order += batch.indices
      }
      return order
    }
    let first = try order(seed: 1, epoch: 0, workers: 0)
    #expect(first.count == 49 && Set(first).count == 49 && first != first.sorted())
    #expect(try order(seed: 1, epoch: 0, workers: 3) == first)
    #expect(try order(seed: 1, epoch: 1, workers: 3) != first)
    #expect(try order(seed: 2, epoch: 0, workers: 3) != first)
  }

  @Test(arguments: [0, 1, 3])
  func errorsComeInTheirTurn(workers: Int) throws {
    let data = ProbeDataset(count: 30, failing: [11, 5])
    let batches = DataLoader(data, options: .init(workerCount: workers)).batches()
    for index in 0..<5 { #expect(try batches.next()?.indices == [index]) }
    #expect(throws: ProbeDataset.Failure(index: 5)) { try batches.next() }
    #expect(try batches.next() == nil)
  }

  @Test(arguments: [1, 3])
  func looksAheadAndNotTooFar(workers: Int) throws {
    let data = ProbeDataset(count: 60, failing: [])
    let batches = DataLoader(data, options: .init(workerCount: workers, prefetchFactor: 2)).batches()
    _ = try batches.next()
    // Nothing but the workers makes sample 2 here.
    #expect(data.probe.waits { $0.started >= 3 })
    var given = 1
    while try batches.next() != nil {
      given += 1
      Thread.sleep(forTimeInterval: 0.0005)
      #expect(data.probe.state.withLock { $0.started } <= given + 2 * workers)
    }
    #expect(given == 60 && data.probe.state.withLock { $0.started } == 60)
  }

  @Test func droppingABatchSequenceEndsItsThreads() throws {
    weak var probe: Probe?
    do {
      let data = ProbeDataset(count: 1_000_000, failing: [])
      probe = data.probe
      var batches: DataLoader.Batches? = DataLoader(data, options: .init(workerCount: 3)).batches()
      _ = try batches?.next()
      batches = nil
      let state = data.probe.state.withLock { $0 }
      #expect(state.running == 0 && state.started < 100)
    }
    // The threads were the last to know the data.
    let deadline = Date(timeIntervalSinceNow: 20)
    while probe != nil, Date() < deadline { Thread.sleep(forTimeInterval: 0.001) }
    #expect(probe == nil)
  }

  @Test func samplesOfOneBatchHaveOneShape() throws {
    let folder = try CorruptPhotos()
    let data = ImageDataset(try ImageFolder(path: folder.path), transform: try Compose([.resize(20), .toTensor]))
    let batches = DataLoader(data.limited(to: 2), batchSize: 2).batches()
    #expect {
      try batches.next()
    } throws: { error in
      "\(error)".hasPrefix("\(folder.path)/a/2-wide.png: its input is float32[1, 3, 20, 37], but ")
    }
  }
}

/// Corrupt images, counted and named.
extension DataLoaderTests {
  private func data(_ folder: CorruptPhotos) throws -> ImageDataset {
    let transform = try Compose([.resize(32), .centerCrop(32), .toTensor])
    return ImageDataset(try ImageFolder(path: folder.path), transform: transform)
  }

  @Test(arguments: [0, 2])
  func theFirstCorruptImageIsAnErrorThatNamesIt(workers: Int) throws {
    let folder = try CorruptPhotos()
    let batches = DataLoader(try data(folder), batchSize: 2, options: .init(workerCount: workers)).batches()
    #expect(try batches.next()?.indices == [0, 1])
    #expect {
      try batches.next()
    } throws: { error in
      "\(error)".hasPrefix("\(folder.corrupt[0]): damaged or unsupported JPEG image: ")
    }
  }

  @Test(arguments: [0, 2])
  func corruptImagesAreSkippedOnRequest(workers: Int) throws {
    let folder = try CorruptPhotos()
    let log = SkippedSamples()
    let options = DataLoader.Options(workerCount: workers, onError: .skip(log))
    let loader = DataLoader(try data(folder), batchSize: 2, options: options)
    for _ in 0..<2 {
      let batches = loader.batches()
      var indices: [[Int]] = []
      while let batch = try batches.next() {
        indices.append(batch.indices)
        #expect(batch.inputs.shape == [batch.indices.count, 3, 32, 32])
      }
      // Samples 2, 4 and 5 are corrupt; the last two make a batch of their own.
      #expect(indices == [[0, 1], [3]])
      #expect(batches.skipped.map(\.name) == folder.corrupt && batches.position == 3)
    }
    #expect(log.samples.map(\.name) == folder.corrupt && log.count == 3)
    #expect(log.samples[1] == SkippedSample(name: folder.corrupt[1], reason: "is neither a JPEG nor a PNG image"))
    #expect(options.skipped == log.samples)
  }

  @Test func evaluateCountsAndNamesThem() throws {
    let folder = try CorruptPhotos()
    let program = try PT2Archive.read(repositoryPath("models/resnet8/resnet8.pt2"))
    let method = try Method(lower(program, partitioner: nil), threads: ThreadPool(threadCount: 1))
    #expect(throws: ImageError.self) { try evaluate(method, on: data(folder)) }
    var progress: [Int] = []
    let result = try evaluate(
      method, on: data(folder), loading: .init(workerCount: 1, onError: .skip(SkippedSamples())),
      progress: { done, _ in progress.append(done) })
    #expect(result.images == 3 && result.skipped.map(\.name) == folder.corrupt)
    #expect(result.decoding?.threads == 1 && (0...100).contains(result.decoding?.waiting ?? -1))
    #expect(progress == [1, 2, 4, 6])

    for path in folder.intact { try FileManager.default.removeItem(atPath: path) }
    #expect {
      try evaluate(method, on: data(folder), loading: .init(onError: .skip(SkippedSamples())))
    } throws: { error in
      "\(error)".hasPrefix("all 3 samples were skipped; the last: \(folder.corrupt[2]): ")
    }
  }

  @Test func commandsSkipThemOnRequest() throws {
    let folder = try CorruptPhotos()
    let recipe = folder.other("recipe.json")
    try Data(#"{"resize": 32, "crop": 32}"#.utf8).write(to: URL(fileURLWithPath: recipe))
    let resnet8 = ResNet8.path
    let evaluate = ["eval", resnet8, "--data", folder.path, "--preprocess", recipe]
    let refused = try CLI.swiftlet(evaluate)
    #expect(refused.status == 1 && refused.errors.contains(folder.corrupt[0]), "\(refused.errors)")
    let text = try CLI.swiftlet(evaluate + ["--skip-corrupt"])
    #expect(text.output.contains("skipped 3 samples") && text.output.contains(folder.corrupt[2]), "\(text.output)")
    let json = try CLI.swiftlet(evaluate + ["--skip-corrupt", "--json"])
    let evaluation = try JSONDecoder().decode(Evaluation.self, from: Data(json.output.utf8))
    #expect(evaluation.images == 3 && evaluation.skipped.map(\.name) == folder.corrupt)

    // The same bytes whatever the number of threads that decode, and as if the corrupt files were not there.
    func quantize(_ name: String, _ options: [String]) throws -> (Data, String) {
      let output = folder.other(name)
      let arguments = ["quantize", resnet8, "-o", output, "--calibrate", folder.path, "--preprocess", recipe, "--json"]
      let result = try CLI.swiftlet(arguments + options)
      #expect(result.status == 0, "\(result.errors)")
      return (try Data(contentsOf: URL(fileURLWithPath: output)), result.output)
    }
    let (first, report) = try quantize("a.pt2", ["--skip-corrupt", "--workers", "0", "--correct-bias"])
    #expect(report.contains(#""samples" : 3"#))
    for path in folder.corrupt { #expect(report.components(separatedBy: path).count == 2) }
    #expect(try quantize("b.pt2", ["--skip-corrupt", "--workers", "3", "--correct-bias"]).0 == first)
    for path in folder.corrupt { try FileManager.default.removeItem(atPath: path) }
    #expect(try quantize("c.pt2", ["--workers", "2", "--correct-bias"]).0 == first)
  }
}

/// Three pictures and three files that are none, in two classes.
private struct CorruptPhotos {
  private let folder: TemporaryFolder
  let intact: [String]
  let corrupt: [String]

  var path: String { folder.path("data") }

  init() throws {
    folder = try TemporaryFolder()
    let photo = try Data(
      contentsOf: URL(fileURLWithPath: DataLoaderTests.photos + "/n01443537/435137d9d4f4125e.jpg"))
    let wide = try Data(contentsOf: URL(fileURLWithPath: goldenPath("vision", "bilevel.png")))
    let files: [(String, Data)] = [
      ("a/1.jpg", photo), ("a/2-wide.png", wide), ("a/3-truncated.jpg", photo.prefix(photo.count / 2)),
      ("b/4.jpg", photo), ("b/5-text.png", Data("hello".utf8)), ("b/6-empty.jpeg", Data()),
    ]
    let root = folder.path("data")
    for (name, bytes) in files {
      let url = URL(fileURLWithPath: root + "/" + name)
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try bytes.write(to: url)
    }
    intact = [0, 1, 3].map { root + "/" + files[$0].0 }
    corrupt = [2, 4, 5].map { root + "/" + files[$0].0 }
  }

  /// A path beside the pictures.
  func other(_ name: String) -> String { folder.path(name) }
}

/// What samples were asked for.
private final class Probe: Sendable {
  struct State {
    var started = 0
    var running = 0
  }
  let state = Mutex(State())

  /// Waits until a condition holds; false if it does not come true in 20 s.
  func waits(for condition: (State) -> Bool) -> Bool {
    let deadline = Date(timeIntervalSinceNow: 20)
    while Date() < deadline {
      if condition(state.withLock { $0 }) { return true }
      Thread.sleep(forTimeInterval: 0.001)
    }
    return false
  }
}

/// Numbers, some of which cannot be read.
private struct ProbeDataset: Dataset {
  struct Failure: Error, Hashable { let index: Int }
  let count: Int
  let failing: Set<Int>
  let probe = Probe()

  func input(_ index: Int) throws -> Tensor {
    probe.state.withLock {
      $0.started += 1
      $0.running += 1
    }
    defer { probe.state.withLock { $0.running -= 1 } }
    if failing.contains(index) { throw Failure(index: index) }
    return Tensor([Float(index)], shape: [1, 1])
  }

  func label(_ index: Int) -> Int? { nil }
}
