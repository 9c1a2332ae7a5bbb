/// Which observer stands behind the scale and zero point of a value (torchao's `observer_or_fake_quant_ctr`): one of
/// those below, or one of your own.
///
///     let spec = QuantizationSpec(scheme: .perTensorAffine, observer: .histogram)
///
/// Two constructors are equal when their names are: a name must tell the observer and its parameters.
public struct ObserverConstructor: Hashable, Sendable, CustomStringConvertible {
  /// torchao's class name, with parameters that are not the default: `HistogramObserver`.
  public let name: String
  /// Makes an observer for a target; `axis` is the channel dimension of per-channel schemes.
  public let make: @Sendable (_ target: QuantizationTarget, _ axis: Int) throws(ObserverError) -> any Observer

  /// A constructor of that name, which tells apart what `make` makes.
  public init(
    _ name: String,
    make: @escaping @Sendable (_ target: QuantizationTarget, _ axis: Int) throws(ObserverError) -> any Observer
  ) {
    self.name = name
    self.make = make
  }

  /// The range that loses least to rounding and clipping. Activations.
  public static let histogram = ObserverConstructor("HistogramObserver") { target, _ throws(ObserverError) in
    try HistogramObserver(target)
  }
  /// All but the extreme values: `percent` of them at each end, above 50.
  public static func percentile(_ percent: Double) -> ObserverConstructor {
    histogram("PercentileObserver(\(percent))", .percentile(percent))
  }
  /// The range with the least mean squared quantization error.
  public static let mse = histogram("MSEObserver", .meanSquaredError)
  /// The range that keeps most information (Kullback–Leibler divergence).
  public static let entropy = histogram("EntropyObserver", .entropy)

  private static func histogram(_ name: String, _ rule: HistogramObserver.Rule) -> ObserverConstructor {
    ObserverConstructor(name) { target, _ throws(ObserverError) in try HistogramObserver(target, rule: rule) }
  }

  /// The whole range, averaged over samples; the order of samples matters.
  public static func movingAverageMinMax(averagingConstant: Float = 0.01) -> ObserverConstructor {
    ObserverConstructor("MovingAverageMinMaxObserver(\(averagingConstant))") { target, _ throws(ObserverError) in
      try MovingAverageMinMaxObserver(target, averagingConstant: averagingConstant)
    }
  }
  /// The whole range of each channel, averaged over tensors.
  public static func movingAveragePerChannelMinMax(averagingConstant: Float = 0.01) -> ObserverConstructor {
    ObserverConstructor("MovingAveragePerChannelMinMaxObserver(\(averagingConstant))") {
      target, axis throws(ObserverError) in
      try MovingAveragePerChannelMinMaxObserver(target, axis: axis, averagingConstant: averagingConstant)
    }
  }
  /// The whole range.
  public static let minMax = ObserverConstructor("MinMaxObserver") { target, _ throws(ObserverError) in
    try MinMaxObserver(target)
  }
  /// The whole range of each channel. Weights.
  public static let perChannelMinMax = ObserverConstructor("PerChannelMinMaxObserver") {
    target, axis throws(ObserverError) in try PerChannelMinMaxObserver(target, axis: axis)
  }

  /// Nothing: the parameters of a dynamic spec are chosen at run time.
  public static let placeholder = ObserverConstructor("PlaceholderObserver") { _, _ throws(ObserverError) in
    PlaceholderObserver()
  }
  /// Parameters given from the start.
  public static func fixedQParams(scale: Float, zeroPoint: Int32) -> ObserverConstructor {
    ObserverConstructor("FixedQParamsObserver(\(scale), \(zeroPoint))") { target, _ throws(ObserverError) in
      try FixedQParamsObserver(target, scale: scale, zeroPoint: zeroPoint)
    }
  }

  public static func == (a: ObserverConstructor, b: ObserverConstructor) -> Bool { a.name == b.name }
  public func hash(into hasher: inout Hasher) { hasher.combine(name) }
  public var description: String { name }
}
