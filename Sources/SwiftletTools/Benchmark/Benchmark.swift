import Foundation
import Swiftlet

/// One model with one setting.
public struct BenchmarkVariant: Sendable {
  /// A `.pt2` or `.pte` file.
  public var model: String
  /// Threads of the delegate.
  public var threads: Int
  /// Whose kernels are preferred.
  public var kernels: MethodOptions.Kernels

  /// A model with its setting.
  public init(model: String, threads: Int, kernels: MethodOptions.Kernels = .auto) {
    (self.model, self.threads, self.kernels) = (model, threads, kernels)
  }
}

/// How models are measured.
public struct BenchmarkOptions: Sendable {
  /// Timed inferences of each variant, over all rounds.
  public var runs = 50
  /// Inferences of each variant before the first round.
  public var warmup = 5
  /// Turns of each variant; no more than `runs`.
  public var rounds = 10
  /// Decides the order within rounds and the confidence intervals.
  public var seed: UInt64 = 1
  /// Time operations one by one too, and measure the machine's peak.
  public var profile = false
  /// Of a program whose batch may vary; nil for the example's.
  public var batch: Int?
  /// Whether XNNPACK takes part; else all runs on portable kernels.
  public var delegate = true
  /// Where packed weights are kept; nil packs them anew.
  public var cache: WeightsCache?

  /// The options with the values above.
  public init() {}
}

/// Loads models and times them in turns: in each round every variant runs once, in an order that is shuffled anew, on
/// seeded noise. What slows the machine down for a while slows all of them down.
///
/// Every variant of a thread count shares a pool. Where there are several variants, a turn begins with untimed inferences
/// for some milliseconds, since the caches hold another's data and the other's threads may still spin.
///
/// Throws a `UsageError` when there is no variant, and what loading or running a model throws.
public func benchmark(_ variants: [BenchmarkVariant], _ options: BenchmarkOptions) throws -> BenchmarkComparison {
  guard !variants.isEmpty else { throw UsageError("no model to measure was given") }
  let load = loadAverage()
  var pools: [Int: ThreadPool] = [:]
  var subjects: [BenchmarkSubject] = []
  for variant in variants {
    let pool = try pools[variant.threads] ?? ThreadPool(threadCount: variant.threads)
    pools[variant.threads] = pool
    subjects.append(try BenchmarkSubject(variant, options, pool))
  }
  for subject in subjects { for _ in 0..<options.warmup { try subject.method.execute() } }
  let runs = BenchmarkSchedule.runs(options.runs, rounds: options.rounds)
  let order = BenchmarkSchedule.order(variants: variants.count, rounds: runs.count, seed: options.seed)
  for (round, count) in zip(order, runs) {
    for index in round {
      if variants.count > 1 { try subjects[index].settle() }
      try subjects[index].time(count, profile: options.profile)
    }
  }
  var reports = subjects.map { $0.report(options) }
  for index in reports.indices.dropFirst() {
    reports[index].ratio = BenchmarkRatio(reports[index].samples, over: reports[0].samples, seed: options.seed)
  }
  if options.profile {
    for threads in Set(reports.map(\.threads)) {
      let peak = MachinePeak(threadCount: threads)
      for index in reports.indices where reports[index].threads == threads { reports[index].peak = peak }
    }
  }
  return BenchmarkComparison(seed: options.seed, load: load, variants: reports)
}

/// Loads a model and times `runs` inferences after `warmup` others, on seeded noise.
///
/// - Parameter batch: of a program whose batch may vary; nil for the example's.
///
/// Throws when the model cannot be read, lowered or run, or not with that batch.
public func benchmark(
  _ path: String, delegate: Bool = true, threads: Int, runs: Int, warmup: Int, profile: Bool,
  kernels: MethodOptions.Kernels = .auto, cache: WeightsCache? = nil, batch: Int? = nil
) throws -> BenchmarkReport {
  var options = BenchmarkOptions()
  (options.runs, options.warmup, options.profile, options.batch) = (runs, warmup, profile, batch)
  (options.delegate, options.cache) = (delegate, cache)
  return try benchmark([BenchmarkVariant(model: path, threads: threads, kernels: kernels)], options).variants[0]
}

/// A loaded variant and what was measured of it.
private struct BenchmarkSubject {
  let method: Method
  private let variant: BenchmarkVariant
  private let load: Double
  private let first: Double
  private let peakMemory: Double
  private let memoryGrowth: Double
  private var samples: [[Double]] = []
  private var profiler: Profiler

  private static let settling = Duration.milliseconds(3)

  init(_ variant: BenchmarkVariant, _ options: BenchmarkOptions, _ pool: ThreadPool) throws {
    // The mark that what was before has left, an earlier model perhaps, would hide this one's growth.
    resetPeakResidentMemory()
    let residentBefore = memoryStatus("VmRSS")
    let clock = ContinuousClock()
    let start = clock.now
    method = try loadMethod(
      readProgram(variant.model), from: variant.model, delegate: options.delegate, pool: pool,
      kernels: variant.kernels, cache: options.cache)
    load = (clock.now - start).seconds
    if let batch = options.batch { try method.resize(batch: batch) }
    for (index, input) in method.program.inputs.enumerated() {
      let spec = method.program.values[input].spec
      // Made in its place: another copy would count as memory that loading takes.
      _ = try method.withInput(index) { fillWithNoise($0, spec.dataType) }
    }
    let beforeFirst = clock.now
    try method.execute()
    first = (clock.now - beforeFirst).seconds
    peakMemory = peakResidentMegabytes()
    memoryGrowth = peakMemory - residentBefore
    profiler = Profiler(method)
    self.variant = variant
  }

  /// Runs for some milliseconds, untimed.
  func settle() throws {
    let clock = ContinuousClock()
    let end = clock.now + BenchmarkSubject.settling
    repeat { try method.execute() } while clock.now < end
  }

  mutating func time(_ runs: Int, profile: Bool) throws {
    let clock = ContinuousClock()
    var times: [Double] = []
    times.reserveCapacity(runs)
    for _ in 0..<runs {
      if profile { try profiler.execute() }
      let begin = clock.now
      try method.execute()
      times.append((clock.now - begin).seconds * 1e3)
    }
    samples.append(times)
  }

  func report(_ options: BenchmarkOptions) -> BenchmarkReport {
    let times = samples.flatMap { $0 }
    var report = BenchmarkReport(
      model: variant.model, threads: variant.threads, kernels: variant.kernels.rawValue, runs: times.count,
      rounds: samples.count, batch: options.batch, p50: percentile(times, 0.5), p90: percentile(times, 0.9),
      p99: percentile(times, 0.99), roundMedians: samples.map { percentile($0, 0.5) }, load: load * 1e3,
      first: first * 1e3, peakMemory: peakMemory, memoryGrowth: memoryGrowth,
      arenaBytes: method.program.arenaByteCount, arenaLowerBound: method.program.arenaLowerBound,
      delegated: .init(method), fallback: method.fallback, samples: samples)
    guard options.profile else { return report }
    let program = method.program
    report.ops = zip(zip(method.operations, program.instructions), profiler.seconds).map { operation, seconds in
      .init(
        name: operation.0.node, kind: operation.0.operatorName, backend: operation.0.backend.rawValue,
        ms: percentile(seconds, 0.5) * 1e3, cost: OperationCost(operation.1, in: program))
    }
    return report
  }
}

extension Method {
  /// Resizes the method to a batch: what varies in the first dimension of its first input.
  ///
  /// Throws a `UsageError` where that dimension is fixed, a `ProgramError` for a batch outside its
  /// range.
  package func resize(batch: Int) throws {
    guard let input = program.inputs.first, let batchSize = program.dynamicSizes?.sizes[input]?.first,
      !batchSize.isConstant
    else {
      throw UsageError(
        "\(program.name): its batch size is fixed; export the model with a dynamic first dimension to change it")
    }
    let rest = program.values[input].spec.shape.dimensions.dropFirst()
    guard let shape = Shape(validating: [batch] + rest) else {
      throw UsageError("\(program.name): a batch of \(batch) is too large or not positive")
    }
    let resized = try program.resized(program.symbols(forInputs: [0: shape]))
    try resize(inputShapes: resized.inputs.map { resized.values[$0].spec.shape })
  }
}

/// Uniform values in [-1, 1) from a fixed seed; zeros where they are no float32.
private func fillWithNoise(_ bytes: UnsafeMutableRawBufferPointer, _ dataType: DataType) {
  guard dataType == .float32 else {
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
    return
  }
  var state: UInt32 = 2_463_534_242
  for offset in stride(from: 0, to: bytes.count, by: 4) {
    state ^= state << 13
    state ^= state >> 17
    state ^= state << 5
    bytes.storeBytes(of: Float(Int32(bitPattern: state)) / Float(1 << 31), toByteOffset: offset, as: Float.self)
  }
}
