import Foundation
import Lowering
import Runtime
import TensorCore
import XNNPACKBackend

/// Latency, load time and memory of one model, as `swiftlet bench` prints them. Times in milliseconds, memory in MiB.
public struct BenchmarkReport: Codable, Sendable {
  public struct Delegated: Codable, Sendable {
    public var nodes: Int
    public var subgraphs: Int

    public init(_ method: Method) { (nodes, subgraphs) = method.delegated }
  }

  public struct Fallback: Codable, Sendable {
    public var node: String
    public var op: String
    public var reason: String
  }

  public struct OperationTime: Codable, Sendable {
    public var name: String
    public var kind: String
    public var backend: String
    public var ms: Double
  }

  public var model: String
  public var threads: Int
  public var runs: Int
  /// The batch that was asked for; nil for the example's.
  public var batch: Int?
  public var p50: Double
  public var p90: Double
  /// From opening the file to a method that is ready.
  public var load: Double
  public var first: Double
  public var peakMemory: Double
  /// What loading and the first inference added to the process's resident memory at most.
  public var memoryGrowth: Double
  /// Bytes planned for activations, and the most of them alive at one time.
  public var arenaBytes: Int
  public var arenaLowerBound: Int
  public var delegated: Delegated
  public var fallback: [Fallback]
  /// Median time of each operation, with `--profile`, in runs that alternate with the timed ones.
  public var ops: [OperationTime]?

  enum CodingKeys: String, CodingKey {
    case model, threads, runs, batch, delegated, fallback, ops
    case p50 = "p50_ms"
    case p90 = "p90_ms"
    case load = "load_ms"
    case first = "first_ms"
    case peakMemory = "peak_rss_mb"
    case memoryGrowth = "memory_growth_mb"
    case arenaBytes = "arena_bytes"
    case arenaLowerBound = "arena_lower_bound"
  }
}

/// The value below which a fraction of the samples lies (nearest rank).
public func percentile(_ samples: [Double], _ fraction: Double) -> Double {
  let sorted = samples.sorted()
  guard !sorted.isEmpty else { return .nan }
  return sorted[min(sorted.count - 1, max(0, Int((fraction * Double(sorted.count)).rounded(.up)) - 1))]
}

/// The process's largest resident memory so far, in MiB (the kernel's `VmHWM`; `getrusage` would count the parent too).
public func peakResidentMegabytes() -> Double { memoryStatus("VmHWM") }

/// A figure of the kernel's status file, in MiB.
private func memoryStatus(_ key: String) -> Double {
  guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
    let line = status.split(separator: "\n").first(where: { $0.hasPrefix(key + ":") }),
    let kilobytes = Double(line.filter(\.isNumber))
  else { return .nan }
  return kilobytes / 1024
}

extension Method {
  /// One line: how many operations the delegate runs, and on whose kernels.
  public var delegationSummary: String {
    let (nodes, subgraphs) = delegated
    let native = operations.count { $0.backend == .native }
    return
      "The XNNPACK delegate runs \(nodes) of \(operations.count) nodes, in \(subgraphs) subgraph\(subgraphs == 1 ? "" : "s")"
      + (native > 0 ? ", \(native) of them on int8 kernels of its own." : ".")
  }

  /// Where each operation went, for reports.
  public var fallback: [BenchmarkReport.Fallback] {
    operations.filter { $0.backend == .portable }.map {
      .init(node: $0.node, op: $0.operatorName, reason: $0.reason ?? "")
    }
  }
}

extension Method {
  /// Resizes the method to a batch: what varies in the first dimension of its first input.
  ///
  /// Throws a `UsageError` where that dimension is fixed, a `ProgramError` or `RuntimeError` for a batch outside its
  /// range.
  public func resize(batch: Int) throws {
    guard let input = program.inputs.first, let batchSize = program.dynamicSizes?.sizes[input]?.first,
      !batchSize.isConstant
    else { throw UsageError("\(program.name): its batch is fixed; it was exported without a dynamic one") }
    let rest = program.values[input].spec.shape.dimensions.dropFirst()
    guard let shape = Shape(validating: [batch] + rest) else {
      throw UsageError("\(program.name): a batch of \(batch) is impossible")
    }
    let resized = try program.resized(program.symbols(forInputs: [0: shape]))
    try resize(inputShapes: resized.inputs.map { resized.values[$0].spec.shape })
  }
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
  let residentBefore = memoryStatus("VmRSS")
  let clock = ContinuousClock()
  let start = clock.now
  let method = try loadMethod(path, delegate: delegate, threads: threads, kernels: kernels, cache: cache)
  let load = (clock.now - start).seconds
  if let batch { try method.resize(batch: batch) }
  for (index, input) in method.program.inputs.enumerated() {
    try method.setInput(index, to: noise(method.program.values[input].spec))
  }
  let beforeFirst = clock.now
  try method.execute()
  let first = (clock.now - beforeFirst).seconds
  let growth = peakResidentMegabytes() - residentBefore
  for _ in 0..<warmup { try method.execute() }
  var times: [Double] = []
  var profiler = Profiler(method)
  for _ in 0..<runs {
    if profile { try profiler.execute() }
    let begin = clock.now
    try method.execute()
    times.append((clock.now - begin).seconds * 1e3)
  }
  var report = BenchmarkReport(
    model: path, threads: threads, runs: runs, batch: batch, p50: percentile(times, 0.5), p90: percentile(times, 0.9),
    load: load * 1e3, first: first * 1e3, peakMemory: peakResidentMegabytes(),
    memoryGrowth: growth, arenaBytes: method.program.arenaByteCount, arenaLowerBound: method.program.arenaLowerBound,
    delegated: .init(method), fallback: method.fallback)
  if profile {
    report.ops = zip(method.operations, profiler.seconds).map { operation, seconds in
      .init(
        name: operation.node, kind: operation.operatorName, backend: operation.backend.rawValue,
        ms: percentile(seconds, 0.5) * 1e3)
    }
  }
  return report
}

/// Uniform values in [-1, 1) from a fixed seed.
func noise(_ spec: TensorSpec) -> Tensor {
  guard spec.dataType == .float32 else { return Tensor(zeros: spec) }
  var state: UInt32 = 2_463_534_242
  let values = (0..<spec.shape.elementCount).map { _ in
    state ^= state << 13
    state ^= state >> 17
    state ^= state << 5
    return Float(Int32(bitPattern: state)) / Float(1 << 31)
  }
  return Tensor(values, shape: spec.shape)
}
