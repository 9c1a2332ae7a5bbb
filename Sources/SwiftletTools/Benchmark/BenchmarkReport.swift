import Swiftlet

/// Latency, load time and memory of one model, as `swiftlet bench` prints them. Times in milliseconds, memory in MiB.
public struct BenchmarkReport: Codable, Sendable {
  /// How much of a program the delegate runs.
  public struct Delegated: Codable, Sendable {
    /// Operations of the delegate.
    public var nodes: Int
    /// The runs of consecutive operations that they form.
    public var subgraphs: Int

    package init(_ method: Method) { (nodes, subgraphs) = method.delegated }
  }

  /// An operation on a portable kernel.
  public struct Fallback: Codable, Sendable {
    /// Its node in the lowered graph.
    public var node: String
    /// Its operator.
    public var op: String
    /// Why it is not delegated.
    public var reason: String
  }

  /// One operation of a profile.
  public struct OperationTime: Codable, Sendable {
    /// Its node in the lowered graph.
    public var name: String
    /// What it computes, as `Method.Operation.operatorName` has it.
    public var kind: String
    /// `Method.Backend`
    public var backend: String
    /// The median time.
    public var ms: Double
    /// Multiply-adds and bytes; see `OperationCost`.
    public var cost: OperationCost
  }

  /// The file.
  public var model: String
  /// Threads of the delegate.
  public var threads: Int
  /// `MethodOptions.Kernels`
  public var kernels: String
  /// Timed inferences.
  public var runs: Int
  /// How many turns the runs were taken in.
  public var rounds: Int
  /// The batch that was asked for; nil for the example's.
  public var batch: Int?
  /// The median latency.
  public var p50: Double
  /// What nine of ten inferences do not exceed.
  public var p90: Double
  /// What 99 of 100 inferences do not exceed.
  public var p99: Double
  /// Median of each round, in order.
  public var roundMedians: [Double]
  /// From opening the file to a method that is ready.
  public var load: Double
  /// The first inference after loading.
  public var first: Double
  /// The process's resident memory at most, after the first inference.
  public var peakMemory: Double
  /// What loading and the first inference added to the process's resident memory at most.
  public var memoryGrowth: Double
  /// Bytes planned for activations, and the most of them alive at one time.
  public var arenaBytes: Int
  /// The most of these bytes alive at one time.
  public var arenaLowerBound: Int
  /// How much the delegate runs.
  public var delegated: Delegated
  /// What it does not run.
  public var fallback: [Fallback]
  /// Against the first variant of a comparison; nil for that one.
  public var ratio: BenchmarkRatio?
  /// Median time of each operation in execution order, where the options asked for it, in runs that alternate with the timed ones.
  public var ops: [OperationTime]?
  /// Where a profile was asked for.
  public var peak: MachinePeak?
  /// All times by round; not in the JSON.
  package var samples: [[Double]] = []

  enum CodingKeys: String, CodingKey {
    case model, threads, kernels, runs, rounds, batch, delegated, fallback, ratio, ops, peak
    case p50 = "p50_ms"
    case p90 = "p90_ms"
    case p99 = "p99_ms"
    case roundMedians = "round_p50_ms"
    case load = "load_ms"
    case first = "first_ms"
    case peakMemory = "peak_rss_mb"
    case memoryGrowth = "memory_growth_mb"
    case arenaBytes = "arena_bytes"
    case arenaLowerBound = "arena_lower_bound"
  }

  /// Sum of the operations' times; nil without a profile.
  package var sumOfOperations: Double? { ops.map { $0.reduce(0) { $0 + $1.ms } } }
}

/// Several variants that ran in turns, the first being what the others are compared with.
public struct BenchmarkComparison: Codable, Sendable {
  /// What the order within rounds came from.
  public var seed: UInt64
  /// One-minute load average before the first inference, for each processor; nil where the system has none.
  public var load: Double?
  /// In the order in which they were given.
  public var variants: [BenchmarkReport]

  enum CodingKeys: String, CodingKey {
    case seed, variants
    case load = "load_average_per_cpu"
  }

  /// What tells the variants apart: model, threads and kernels, as far as they differ.
  package var labels: [String] {
    func differ<T: Hashable>(_ key: (BenchmarkReport) -> T) -> Bool { Set(variants.map(key)).count > 1 }
    func name(_ path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }
    let paths = Set(variants.map(\.model))
    let isNameEnough = Set(paths.map(name)).count == paths.count
    let (showThreads, showKernels) = (differ(\.threads), differ(\.kernels))
    return variants.map { variant in
      var parts = [isNameEnough ? name(variant.model) : variant.model]
      if showThreads { parts.append("\(variant.threads) thread\(variant.threads == 1 ? "" : "s")") }
      if showKernels { parts.append(variant.kernels) }
      return parts.joined(separator: ", ")
    }
  }
}

extension Method {
  /// One line: how many operations the delegate runs, and on whose kernels.
  public var delegationSummary: String {
    let (nodes, subgraphs) = delegated
    let native = operations.count { $0.backend == .native }
    return
      "The XNNPACK delegate runs \(nodes) of \(operations.count) nodes, in \(subgraphs) subgraph\(subgraphs == 1 ? "" : "s")"
      + (native > 0 ? ", \(native) of them on kernels of its own." : ".")
  }

  /// Where each operation went, for reports.
  public var fallback: [BenchmarkReport.Fallback] {
    operations.filter { $0.backend == .portable }.map {
      .init(node: $0.node, op: $0.operatorName, reason: $0.reason ?? "")
    }
  }
}
