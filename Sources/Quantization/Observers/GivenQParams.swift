import TensorCore

// Observers that look at no values: their parameters are given, computed from those of others, or chosen at run time.

/// Gives the parameters it was made with (torchao `FixedQParamsObserver`).
package final class FixedQParamsObserver: Observer {
  private let parameters: QParams

  /// - Throws: `unsupportedScheme` if the target's scheme is not per tensor; `invalidFixedQParams` unless the scale is
  ///   positive and finite and the zero point lies in the target's integers.
  package init(_ target: QuantizationTarget, scale: Float, zeroPoint: Int32) throws(ObserverError) {
    guard !target.scheme.isPerChannel else { throw .unsupportedScheme(target.scheme, observer: "FixedQParamsObserver") }
    guard scale > 0, scale.isFinite, target.quantMin <= Int(zeroPoint), Int(zeroPoint) <= target.quantMax else {
      throw .invalidFixedQParams(scale: scale, zeroPoint: zeroPoint)
    }
    parameters = QParams(scale: scale, zeroPoint: zeroPoint)
  }

  package var watchesValues: Bool { false }
  package var hasObserved: Bool { true }
  package func observe(_ tensor: Tensor) throws(ObserverError) {}
  package func calculateQParams() throws(ObserverError) -> QParams { parameters }
}

/// Stands where parameters are chosen at run time (torchao `PlaceholderObserver`); it has none to give.
package final class PlaceholderObserver: Observer {
  package init() {}

  package var watchesValues: Bool { false }
  package var hasObserved: Bool { false }
  package func observe(_ tensor: Tensor) throws(ObserverError) {}
  /// - Throws: `notCalibrated`, always.
  package func calculateQParams() throws(ObserverError) -> QParams { throw .notCalibrated }
}

/// Computes its parameters from other observers' (the observer of a `DerivedQuantizationSpec`).
package final class DerivedObserver: Observer {
  private let sources: [any Observer]
  private let derive: @Sendable ([any Observer]) throws(ObserverError) -> QParams

  package init(
    from sources: [any Observer], derive: @escaping @Sendable ([any Observer]) throws(ObserverError) -> QParams
  ) {
    self.sources = sources
    self.derive = derive
  }

  package var watchesValues: Bool { false }
  package var hasObserved: Bool { sources.allSatisfy(\.hasObserved) }
  package func observe(_ tensor: Tensor) throws(ObserverError) {}
  /// - Throws: what the sources throw when their parameters are asked for.
  package func calculateQParams() throws(ObserverError) -> QParams { try derive(sources) }
}
