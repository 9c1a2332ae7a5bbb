import TensorCore

// Observers that look at no values: their parameters are given, computed from those of others, or chosen at run time.

/// Gives the parameters it was made with (torchao `FixedQParamsObserver`).
public final class FixedQParamsObserver: Observer {
  private let parameters: QParams

  /// - Throws: `unsupportedScheme` if the target's scheme is not per tensor; `invalidFixedQParams` unless the scale is
  ///   positive and finite and the zero point lies in the target's integers.
  public init(_ target: QuantizationTarget, scale: Float, zeroPoint: Int32) throws(ObserverError) {
    guard !target.scheme.isPerChannel else { throw .unsupportedScheme(target.scheme, observer: "FixedQParamsObserver") }
    guard scale > 0, scale.isFinite, target.quantMin <= Int(zeroPoint), Int(zeroPoint) <= target.quantMax else {
      throw .invalidFixedQParams(scale: scale, zeroPoint: zeroPoint)
    }
    parameters = QParams(scale: scale, zeroPoint: zeroPoint)
  }

  public var watchesValues: Bool { false }
  public var hasObserved: Bool { true }
  public func observe(_ tensor: Tensor) throws(ObserverError) {}
  public func calculateQParams() throws(ObserverError) -> QParams { parameters }
}

/// Stands where parameters are chosen at run time (torchao `PlaceholderObserver`); it has none to give.
public final class PlaceholderObserver: Observer {
  public init() {}

  public var watchesValues: Bool { false }
  public var hasObserved: Bool { false }
  public func observe(_ tensor: Tensor) throws(ObserverError) {}
  /// - Throws: `notCalibrated`, always.
  public func calculateQParams() throws(ObserverError) -> QParams { throw .notCalibrated }
}

/// Computes its parameters from other observers' (the observer of a `DerivedQuantizationSpec`).
public final class DerivedObserver: Observer {
  private let sources: [any Observer]
  private let derive: @Sendable ([any Observer]) throws(ObserverError) -> QParams

  public init(
    from sources: [any Observer], derive: @escaping @Sendable ([any Observer]) throws(ObserverError) -> QParams
  ) {
    self.sources = sources
    self.derive = derive
  }

  public var watchesValues: Bool { false }
  public var hasObserved: Bool { sources.allSatisfy(\.hasObserved) }
  public func observe(_ tensor: Tensor) throws(ObserverError) {}
  /// - Throws: what the sources throw when their parameters are asked for.
  public func calculateQParams() throws(ObserverError) -> QParams { try derive(sources) }
}
