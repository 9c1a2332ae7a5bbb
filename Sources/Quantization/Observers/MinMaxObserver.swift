import TensorCore

/// The running minimum and maximum of all values (torchao `MinMaxObserver`).
///
/// An infinity among the values is recorded like any value, and `calculateQParams()` then throws.
package final class MinMaxObserver: PerTensorObserver {
  package let target: QuantizationTarget
  private var range = ValueRange()

  /// - Throws: `unsupportedScheme` if the target's scheme is per channel.
  package init(_ target: QuantizationTarget) throws(ObserverError) {
    guard !target.scheme.isPerChannel else { throw .unsupportedScheme(target.scheme, observer: "MinMaxObserver") }
    self.target = target
  }

  /// The smallest value seen, +∞ before the first.
  package var minimum: Float { range.min }
  /// The largest value seen, −∞ before the first.
  package var maximum: Float { range.max }

  package var hasObserved: Bool { range.min <= range.max }

  package func observe(_ values: UnsafeBufferPointer<Float>) throws(ObserverError) {
    let batch = ValueRange(values)
    guard !batch.hasNaN else { throw .notANumber }
    range.formUnion(batch)
  }

  package var state: ObserverState { ObserverState(kind: "MinMaxObserver", ranges: hasObserved ? [range] : []) }

  package func merge(_ state: ObserverState) throws(ObserverError) {
    for other in try state.ranges(of: "MinMaxObserver", channels: 1) { range.formUnion(other) }
  }

  package func calculateQParams() throws(ObserverError) -> QParams {
    guard hasObserved else { throw .notCalibrated }
    let (scale, zeroPoint) = try target.parameters(min: range.min, max: range.max)
    return QParams(scale: scale, zeroPoint: zeroPoint)
  }
}
