import Swiftlet

/// One point of the trade-off between accuracy and size.
public struct TradeOffPoint: Codable, Hashable, Sendable {
  /// Layers that stay in float, by the name of their result, the worst first.
  public var floatLayers: [String]
  /// Top-1 in percent, or 100 · AUC.
  public var accuracy: Double
  /// Points below the float model's accuracy; negative when above.
  public var drop: Double
  /// Bytes of the program's state dict.
  public var weightBytes: Int
}

/// The outcome of `quantize(_:_:keeping:on:)`.
public struct TradeOff: Sendable {
  /// The float model's accuracy, as `TradeOffPoint.accuracy` has it.
  public let floatAccuracy: Double
  /// Bytes of the float program's state dict.
  public let floatWeightBytes: Int
  /// What was tried, by the number of layers in float.
  public let points: [TradeOffPoint]
  /// The point with the fewest layers in float that holds the target.
  public let chosen: TradeOffPoint
  /// The program of the chosen point.
  public let result: QuantizationResult
}

/// Quantizes so that accuracy on labelled data stays within `maximumDrop` points of the float model's, with as few
/// layers in float as that needs.
///
/// Layers are ranked by isolated SQNR (`compareLayers`) on up to 200 of the labelled samples, whose labels play no part
/// in it: values that calibration did not see, and that saturate, count. The worst k layers stay in float. k = 0, 1, 2, 4, …
/// are tried until the target is held, then the gap to the last k that did not is bisected. Accuracy is not strictly
/// monotonic in k; the smallest k found to hold the target is chosen.
///
/// - Parameter labelled: data with labels, or recordings; best not the data that the result is judged by later.
/// - Throws: as `quantize` and `evaluate`; `UsageError` when even with all layers in float the target is missed.
public func quantize(
  _ program: ExportedProgram, _ data: any Dataset, keeping maximumDrop: Double, on labelled: any Dataset,
  recipe: Preprocess? = nil, options: QuantizationOptions = .init(), loading: DataLoader.Options = .init(),
  threads: Int = ThreadPool.physicalCoreCount, delegate: Bool = true,
  progress: @escaping (String, Int, Int) -> Void = { _, _, _ in }
) throws -> TradeOff {
  var search = TargetDropSearch(
    program: program, data: data, labelled: labelled, recipe: recipe, options: options, loading: loading,
    threads: threads, delegate: delegate, progress: progress)
  return try search.run(maximumDrop)
}

private struct TargetDropSearch {
  let program: ExportedProgram
  let data: any Dataset
  let labelled: any Dataset
  let recipe: Preprocess?
  let options: QuantizationOptions
  let loading: DataLoader.Options
  let threads: Int
  let delegate: Bool
  let progress: (String, Int, Int) -> Void
  private var ranked: [LayerComparison] = []
  private var tried: [Int: (point: TradeOffPoint, result: QuantizationResult)] = [:]
  private var floatAccuracy = 0.0

  init(
    program: ExportedProgram, data: any Dataset, labelled: any Dataset, recipe: Preprocess?,
    options: QuantizationOptions, loading: DataLoader.Options, threads: Int, delegate: Bool,
    progress: @escaping (String, Int, Int) -> Void
  ) {
    self.progress = progress
    self.program = program
    self.data = data
    self.labelled = labelled
    self.recipe = recipe
    self.options = options
    self.loading = loading
    self.threads = threads
    self.delegate = delegate
  }

  mutating func run(_ maximumDrop: Double) throws -> TradeOff {
    floatAccuracy = try accuracy(of: program, "float")
    try attempt(0)
    if !holds(0, maximumDrop) { try rank() }
    var (low, high) = (0, 0)
    while !holds(high, maximumDrop) {
      guard high < ranked.count else {
        throw UsageError(
          "\(program.name): accuracy falls by more than \(maximumDrop) points even with every layer in float")
      }
      low = high
      high = min(ranked.count, max(1, high * 2))
      try attempt(high)
    }
    while high - low > 1 {
      let middle = (low + high) / 2
      try attempt(middle)
      if holds(middle, maximumDrop) { high = middle } else { low = middle }
    }
    guard let chosen = tried[high] else {
      throw UsageError("\(program.name): the search for a target drop ended without a result")
    }
    return TradeOff(
      floatAccuracy: floatAccuracy, floatWeightBytes: bytes(program),
      points: tried.sorted { $0.key < $1.key }.map(\.value.point), chosen: chosen.point, result: chosen.result)
  }

  private func holds(_ count: Int, _ maximumDrop: Double) -> Bool {
    // 1e-9: accuracies are quotients, and a target may be meant to be met exactly.
    tried[count].map { $0.point.drop <= maximumDrop + 1e-9 } ?? false
  }

  private mutating func rank() throws {
    guard let full = tried[0]?.result.program else { return }
    let progress = progress
    let comparison = try compareLayers(
      float: program, quantized: full, data: SpacedDataset(labelled, count: 200), loading: loading, threads: threads,
      delegate: delegate
    ) { progress("ranking layers", $0, $1) }
    ranked = comparison.worstFirst().filter { $0.isQuantized && !$0.floatNodes.isEmpty }
  }

  private mutating func attempt(_ count: Int) throws {
    guard tried[count] == nil else { return }
    let layers = ranked.prefix(count)
    var options = options
    options.floatNodes.formUnion(layers.flatMap(\.floatNodes))
    let title = "\(count) layers in float"
    let progress = progress
    let result = try quantize(
      program, data, recipe: recipe, options: options, loading: loading, threads: threads, delegate: delegate
    ) { progress(title + ": calibrating", $0, $1) }
    let accuracy = try accuracy(of: result.program, title)
    tried[count] = (
      TradeOffPoint(
        floatLayers: layers.map(\.name), accuracy: accuracy, drop: floatAccuracy - accuracy,
        weightBytes: bytes(result.program)), result
    )
  }

  private func accuracy(of program: ExportedProgram, _ title: String) throws -> Double {
    let method = try Method(
      lower(program, partitioner: delegate ? XNNPACKPartitioner() : nil), threads: ThreadPool(threadCount: threads))
    let evaluation = try evaluate(method, on: labelled, loading: loading) { progress(title + ": evaluating", $0, $1) }
    return evaluation.accuracy
  }

  private func bytes(_ program: ExportedProgram) -> Int {
    program.stateDict.values.reduce(0) { $0 + $1.spec.byteCount }
  }
}

/// Samples of another dataset at equal distances, the first among them.
private struct SpacedDataset: Dataset {
  private let base: any Dataset
  let count: Int

  init(_ base: any Dataset, count: Int) {
    self.base = base
    self.count = min(max(0, count), base.count)
  }

  private func place(_ index: Int) -> Int { index * base.count / count }
  func input(_ index: Int) throws -> Tensor { try base.input(place(index)) }
  func label(_ index: Int) -> Int? { base.label(place(index)) }
  func name(_ index: Int) -> String { base.name(place(index)) }
  func atEpoch(_ epoch: Int) -> any Dataset { SpacedDataset(base.atEpoch(epoch), count: count) }
}

extension Evaluation {
  /// Top-1 in percent, or 100 · AUC where data is scored by that.
  package var accuracy: Double { top1 ?? (auc ?? .nan) * 100 }
}
