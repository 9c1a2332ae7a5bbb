import Swiftlet

/// The error of one layer of a quantized program against the float program's, over all samples.
public struct LayerError: Codable, Hashable, Sendable {
  /// 20·log₁₀(‖float‖ / ‖float − quantized‖) in decibels; +∞ where the two are equal.
  public var sqnr: Double
  /// The mean of (float − quantized)².
  public var meanSquaredError: Double

  init(_ sums: ErrorSums) { (sqnr, meanSquaredError) = (sums.sqnr, sums.meanSquaredError) }
}

/// How the float values at one place are distributed, and which of them integers can stand for.
public struct ValueDistribution: Codable, Hashable, Sendable {
  /// The smallest and the largest finite value.
  public var minimum: Float
  /// The largest finite value.
  public var maximum: Float
  /// Counts in equal bins over [`minimum`, `maximum`].
  public var counts: [Double]
  /// The reals that the smallest and the largest integer stand for; of the widest channel, where each has its own scale.
  /// Nil in float.
  public var range: ClosedRange<Float>?
  /// The same of the channel with the smallest scale; nil per tensor.
  public var narrowestRange: ClosedRange<Float>?
}

/// One layer of a float program beside the same layer quantized: an operator, or a unit of operators with one
/// quantization behind it.
public struct LayerComparison: Codable, Sendable {
  /// The name of the layer's result in the quantized program.
  public var name: String
  /// Its name in the float program.
  public var floatName: String
  /// Where the layer stands in the module tree.
  public var modulePath: String
  /// Its operators, joined by " + "; "input" for an input of the model.
  public var op: String
  /// The names of its operators in the float program.
  public var floatNodes: [String]
  /// Whether its result is quantized.
  public var isQuantized: Bool
  /// The quantized program against the float program: the errors of all layers up to this one.
  public var cumulative: LayerError
  /// This layer alone quantized, reading the float program's values; nil when a value that it reads has no partner in
  /// the float program.
  public var isolated: LayerError?
  /// Bytes of weights, biases and scales in the quantized program.
  public var weightBytes: Int
  /// The same in the float program.
  public var floatWeightBytes: Int
  /// The float program's result.
  public var activation: ValueDistribution?
  /// The float program's weight.
  public var weight: ValueDistribution?

  /// The operators without namespace and overload, for tables: "conv2d + relu".
  package var shortOperator: String {
    op.split(separator: " + ").map { name in
      let parts = name.split(separator: ".")
      return String(parts.count > 1 ? parts[1] : parts[0])
    }.joined(separator: " + ")
  }
}

/// A float program and a quantized one, layer by layer.
public struct ModelComparison: Codable, Sendable {
  /// The float program's name.
  public var float: String
  /// The quantized program's name.
  public var quantized: String
  /// How many samples were compared.
  public var samples: Int
  /// In execution order.
  public var layers: [LayerComparison]
  /// Operators of the quantized program for which the float program has none in the same place.
  public var unmatched: [String]

  /// What layers are ranked by.
  public enum Order: String, CaseIterable, Sendable {
    /// By the error that each layer makes itself: where the loss comes from.
    case isolated
    /// By the error that has come together at each layer.
    case cumulative
  }

  /// The layers by SQNR, the lowest first; those without one last.
  public func worstFirst(_ order: Order = .isolated) -> [LayerComparison] {
    func sqnr(_ layer: LayerComparison) -> Double {
      let value = order == .isolated ? layer.isolated?.sqnr : layer.cumulative.sqnr
      // A layer that gives NaN is the worst of all.
      return value.map { $0.isNaN ? -.infinity : $0 } ?? .infinity
    }
    return layers.enumerated().sorted { (sqnr($0.element), $0.offset) < (sqnr($1.element), $1.offset) }.map(\.element)
  }
}

extension ValueDistribution {
  static let binCount = 64

  /// The distribution that a histogram observer has seen; nil before the first finite value.
  init?(_ observer: HistogramObserver, quantized: ClosedRange<Float>?, narrowest: ClosedRange<Float>? = nil) {
    guard !observer.counts.isEmpty else { return nil }
    let step = observer.counts.count / ValueDistribution.binCount
    self.init(
      minimum: observer.minimum, maximum: observer.maximum,
      counts: (0..<ValueDistribution.binCount).map { bin in
        observer.counts[bin * step..<(bin + 1) * step].reduce(0) { $0 + Double($1) }
      }, range: quantized, narrowestRange: narrowest)
  }
}
