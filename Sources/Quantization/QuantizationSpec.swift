import GraphIR
import TensorCore

/// How one value is to be quantized (PT2E's `QuantizationSpec`).
public struct QuantizationSpec: Hashable, Sendable {
  /// The integers' type.
  public var dataType: DataType
  /// The smallest and largest integer used; they may be narrower than the type (weights: −127...127).
  public var quantMin: Int
  /// The largest one.
  public var quantMax: Int
  /// What has parameters of its own, and whether ranges are symmetric.
  public var scheme: QuantizationScheme
  /// The dimension that a per-channel scheme has one scale per index of.
  public var channelAxis: Int
  /// Whether scale and zero point are chosen anew from each input at run time; the value is not observed then.
  public var isDynamic: Bool
  /// What finds the range.
  public var observer: ObserverConstructor
  /// The smallest scale that is ever given.
  public var eps: Float
  /// Set where the parameters are given from the start.
  private(set) var fixed: QParams?
  /// Set where the parameters are computed from those of other places.
  private(set) var derived: DerivedQuantizationSpec?

  /// An observer is needed for all but dynamic specs.
  public init(
    _ dataType: DataType = .int8, quantMin: Int = -128, quantMax: Int = 127, scheme: QuantizationScheme,
    channelAxis: Int = 0, isDynamic: Bool = false, observer: ObserverConstructor = .placeholder,
    eps: Float = .ulpOfOne
  ) {
    self.dataType = dataType
    self.quantMin = quantMin
    self.quantMax = quantMax
    self.scheme = scheme
    self.channelAxis = channelAxis
    self.isDynamic = isDynamic
    self.observer = observer
    self.eps = eps
  }

  /// What a spec of fixed parameters amounts to: an observer that knows its answer.
  init(_ spec: FixedQParamsQuantizationSpec) {
    self.init(
      spec.dataType, quantMin: spec.quantMin, quantMax: spec.quantMax, scheme: .perTensorAffine,
      observer: .fixedQParams(scale: spec.scale, zeroPoint: spec.zeroPoint))
    fixed = QParams(scale: spec.scale, zeroPoint: spec.zeroPoint)
  }

  /// The spec of derived parameters; its observer is made of those that it derives from.
  init(_ spec: DerivedQuantizationSpec) {
    self.init(
      spec.dataType, quantMin: spec.quantMin, quantMax: spec.quantMax, scheme: spec.scheme,
      channelAxis: spec.channelAxis)
    derived = spec
  }

  /// A new observer. Throws an `ObserverError` when range, eps or scheme do not suit it, or when the range does not lie
  /// in the data type.
  public func makeObserver() throws(ObserverError) -> any Observer {
    try checkRange()
    guard isDynamic || scheme != .perTokenAffine else { throw .unsupportedScheme(scheme, observer: observer.name) }
    let target = try QuantizationTarget(scheme: scheme, quantMin: quantMin, quantMax: quantMax, eps: eps)
    return try observer.make(target, channelAxis)
  }

  /// The observer of a derived spec; any other is made by `makeObserver()`.
  func makeObserver(from sources: [any Observer]) throws(ObserverError) -> any Observer {
    guard let derived else { return try makeObserver() }
    try checkRange()
    return DerivedObserver(from: sources, derive: derived.derive)
  }

  private func checkRange() throws(ObserverError) {
    guard let limits = dataType.integerLimits, limits.contains(quantMin), limits.contains(quantMax) else {
      throw .invalidQuantizedRange(min: quantMin, max: quantMax)
    }
  }

  /// Whether two uses of one tensor under these specs share an observer. What an observer does with the data is not
  /// compared, as in torchao; the first spec of a group decides.
  func matches(_ other: QuantizationSpec) -> Bool {
    dataType == other.dataType && quantMin == other.quantMin && quantMax == other.quantMax && scheme == other.scheme
      && channelAxis == other.channelAxis && isDynamic == other.isDynamic && fixed == other.fixed
      && derived == nil && other.derived == nil
  }
}

extension DataType {
  /// The integers of the types that values can be quantized to.
  fileprivate var integerLimits: ClosedRange<Int>? {
    switch self {
    case .int8: -128...127
    case .uint8: 0...255
    case .int16: -32768...32767
    case .int32: Int(Int32.min)...Int(Int32.max)
    case .int64, .float16, .bfloat16, .float32, .float64, .bool: nil
    }
  }
}

/// A place of the graph that can be quantized: one reader's view of a value, or the value as its node computes it.
///
/// Nodes are named by their first output.
public enum QuantizedPlace: Hashable, Sendable {
  /// What the node with the first output `to` reads.
  case edge(from: ValueID, to: ValueID)
  /// What a node computes.
  case output(ValueID)
}

/// "The same observer as there" (PT2E's `SharedQuantizationSpec`).
public struct SharedQuantizationSpec: Hashable, Sendable {
  /// Where the observer is taken from.
  public let place: QuantizedPlace

  /// The observer of that place.
  public init(_ place: QuantizedPlace) { self.place = place }
}

/// Scale and zero point that are known ahead of calibration (PT2E's `FixedQParamsQuantizationSpec`): a sigmoid's result
/// lies in [0, 1), whatever the data.
public struct FixedQParamsQuantizationSpec: Hashable, Sendable {
  /// The integers' type.
  public var dataType: DataType
  /// Finite and greater than 0.
  public var scale: Float
  /// In `quantMin...quantMax`.
  public var zeroPoint: Int32
  /// The smallest integer used.
  public var quantMin: Int
  /// The largest integer used.
  public var quantMax: Int

  /// Parameters for the whole tensor.
  public init(
    _ dataType: DataType = .int8, scale: Float, zeroPoint: Int32, quantMin: Int = -128, quantMax: Int = 127
  ) {
    self.dataType = dataType
    self.scale = scale
    self.zeroPoint = zeroPoint
    self.quantMin = quantMin
    self.quantMax = quantMax
  }
}

/// Parameters computed from those of other places (PT2E's `DerivedQuantizationSpec`): a bias whose scale is that of the
/// input times that of the weight.
///
/// Two such specs are equal when all but the function is, and its name.
public struct DerivedQuantizationSpec: Hashable, Sendable {
  /// The places whose observers `derive` is given, in this order. Each must be annotated.
  public let derivedFrom: [QuantizedPlace]
  /// The integers' type.
  public var dataType: DataType
  /// The smallest integer used.
  public var quantMin: Int
  /// The largest integer used.
  public var quantMax: Int
  /// What has parameters of its own.
  public var scheme: QuantizationScheme
  /// The dimension that a per-channel scheme has one scale per index of.
  public var channelAxis: Int
  /// What `derive` does, for messages: "input scale · weight scale".
  public let name: String
  /// The parameters, from the places' observers; throws what asking those throws.
  public let derive: @Sendable ([any Observer]) throws(ObserverError) -> QParams

  /// A spec with a function of your own; `bias` is the common one.
  public init(
    from derivedFrom: [QuantizedPlace], _ dataType: DataType = .int32, quantMin: Int = Int(Int32.min),
    quantMax: Int = Int(Int32.max), scheme: QuantizationScheme = .perTensorSymmetric, channelAxis: Int = 0,
    name: String, derive: @escaping @Sendable ([any Observer]) throws(ObserverError) -> QParams
  ) {
    self.derivedFrom = derivedFrom
    self.dataType = dataType
    self.quantMin = quantMin
    self.quantMax = quantMax
    self.scheme = scheme
    self.channelAxis = channelAxis
    self.name = name
    self.derive = derive
  }

  /// An int32 bias: its scale is input scale · weight scale, per channel where the weight's is; its zero point is 0.
  public static func bias(input: QuantizedPlace, weight: QuantizedPlace, isPerChannel: Bool) -> DerivedQuantizationSpec
  {
    DerivedQuantizationSpec(
      from: [input, weight], scheme: isPerChannel ? .perChannelSymmetric : .perTensorSymmetric,
      name: "input scale · weight scale"
    ) { observers throws(ObserverError) in
      let (input, weight) = (try observers[0].calculateQParams(), try observers[1].calculateQParams())
      let scales = weight.scales.map { $0 * input.scales[0] }
      guard isPerChannel else { return QParams(scale: scales[0], zeroPoint: 0) }
      return QParams(perChannel: scales, zeroPoints: .integers(scales.map { _ in 0 }), axis: 0)
    }
  }

  public static func == (a: DerivedQuantizationSpec, b: DerivedQuantizationSpec) -> Bool {
    a.derivedFrom == b.derivedFrom && a.dataType == b.dataType && a.quantMin == b.quantMin && a.quantMax == b.quantMax
      && a.scheme == b.scheme && a.channelAxis == b.channelAxis && a.name == b.name
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(derivedFrom)
    hasher.combine(name)
  }
}

/// The specs of an operator's tensors; nil leaves a tensor in float (PT2E's `QuantizationConfig`).
public struct QuantizationConfig: Hashable, Sendable {
  /// Per tensor, or dynamic.
  public var inputActivation: QuantizationSpec?
  /// Per tensor; nil for dynamic quantization.
  public var outputActivation: QuantizationSpec?
  /// Symmetric, per tensor or per channel.
  public var weight: QuantizationSpec?
  /// Nil: biases stay float in a Q/DQ graph and become int32 when it is lowered.
  public var bias: QuantizationSpec?

  /// The specs of an operator's tensors.
  public init(
    inputActivation: QuantizationSpec?, outputActivation: QuantizationSpec?, weight: QuantizationSpec?,
    bias: QuantizationSpec? = nil
  ) {
    self.inputActivation = inputActivation
    self.outputActivation = outputActivation
    self.weight = weight
    self.bias = bias
  }

  /// Whether activations are quantized with parameters chosen at run time.
  public var isDynamic: Bool { inputActivation?.isDynamic ?? false }
}
