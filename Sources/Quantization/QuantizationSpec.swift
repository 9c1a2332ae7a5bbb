import GraphIR
import TensorCore

/// Which statistics stand behind the scale and zero point of a value, by torchao's class names.
public enum ObserverKind: String, Hashable, Sendable, Codable {
  /// `HistogramObserver`: the range that loses least to rounding and clipping. Activations.
  case histogram
  /// `MinMaxObserver`: the whole range.
  case minMax
  /// `PerChannelMinMaxObserver`: the whole range of each channel. Weights.
  case perChannelMinMax
}

/// How one value is to be quantized (PT2E's `QuantizationSpec`).
public struct QuantizationSpec: Hashable, Sendable {
  public var dataType: DataType
  /// The smallest and largest integer used; they may be narrower than the type (weights: −127...127).
  public var quantMin: Int
  public var quantMax: Int
  public var scheme: QuantizationScheme
  /// The dimension that a per-channel scheme has one scale per index of.
  public var channelAxis: Int
  public var observer: ObserverKind
  /// The smallest scale that is ever given.
  public var eps: Float

  public init(
    _ dataType: DataType = .int8, quantMin: Int = -128, quantMax: Int = 127, scheme: QuantizationScheme,
    channelAxis: Int = 0, observer: ObserverKind, eps: Float = .ulpOfOne
  ) {
    self.dataType = dataType
    self.quantMin = quantMin
    self.quantMax = quantMax
    self.scheme = scheme
    self.channelAxis = channelAxis
    self.observer = observer
    self.eps = eps
  }

  /// A new observer. Throws an `ObserverError` when range, eps or scheme do not suit it, or when the range does not lie
  /// in the data type.
  public func makeObserver() throws(ObserverError) -> any Observer {
    guard let limits = dataType.integerLimits, limits.contains(quantMin), limits.contains(quantMax) else {
      throw .invalidQuantizedRange(min: quantMin, max: quantMax)
    }
    let target = try QuantizationTarget(scheme: scheme, quantMin: quantMin, quantMax: quantMax, eps: eps)
    switch observer {
    case .histogram: return try HistogramObserver(target)
    case .minMax: return try MinMaxObserver(target)
    case .perChannelMinMax: return try PerChannelMinMaxObserver(target, axis: channelAxis)
    }
  }

  /// Whether two uses of one tensor under these specs share an observer. What an observer does with the data is not
  /// compared, as in torchao; the first spec of a group decides.
  func matches(_ other: QuantizationSpec) -> Bool {
    dataType == other.dataType && quantMin == other.quantMin && quantMax == other.quantMax && scheme == other.scheme
      && channelAxis == other.channelAxis
  }
}

extension DataType {
  /// The integers of the types that values can be quantized to.
  fileprivate var integerLimits: ClosedRange<Int>? {
    switch self {
    case .int8: -128...127
    case .uint8: 0...255
    case .int16: -32768...32767
    case .int32, .int64, .float16, .bfloat16, .float32, .float64, .bool: nil
    }
  }
}

/// A place of the graph that can be quantized: one reader's view of a value, or the value as its node computes it.
///
/// Nodes are named by their first output.
public enum QuantizedPlace: Hashable, Sendable {
  case edge(from: ValueID, to: ValueID)
  case output(ValueID)
}

/// "The same observer as there" (PT2E's `SharedQuantizationSpec`).
public struct SharedQuantizationSpec: Hashable, Sendable {
  public let place: QuantizedPlace

  public init(_ place: QuantizedPlace) { self.place = place }
}

/// The specs of an operator's tensors; nil leaves a tensor in float (PT2E's `QuantizationConfig`).
public struct QuantizationConfig: Hashable, Sendable {
  /// Per tensor.
  public var inputActivation: QuantizationSpec?
  /// Per tensor.
  public var outputActivation: QuantizationSpec?
  /// Symmetric, per tensor or per channel.
  public var weight: QuantizationSpec?
  /// Nil: biases stay float in a Q/DQ graph and become int32 when it is lowered.
  public var bias: QuantizationSpec?

  public init(
    inputActivation: QuantizationSpec?, outputActivation: QuantizationSpec?, weight: QuantizationSpec?,
    bias: QuantizationSpec? = nil
  ) {
    self.inputActivation = inputActivation
    self.outputActivation = outputActivation
    self.weight = weight
    self.bias = bias
  }
}
