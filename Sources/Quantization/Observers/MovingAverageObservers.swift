import TensorCore

/// The minimum and maximum of a batch, averaged over batches (torchao `MovingAverageMinMaxObserver`): the first batch
/// sets them, each later one moves them by `averagingConstant` of the way. The order of batches matters.
package final class MovingAverageMinMaxObserver: PerTensorObserver {
  package let target: QuantizationTarget
  package let averagingConstant: Float
  private var range = ValueRange()

  /// - Throws: `unsupportedScheme` if the target's scheme is per channel; `invalidAveragingConstant` outside (0, 1].
  package init(_ target: QuantizationTarget, averagingConstant: Float = 0.01) throws(ObserverError) {
    guard !target.scheme.isPerChannel else {
      throw .unsupportedScheme(target.scheme, observer: "MovingAverageMinMaxObserver")
    }
    guard averagingConstant > 0, averagingConstant <= 1 else { throw .invalidAveragingConstant(averagingConstant) }
    self.target = target
    self.averagingConstant = averagingConstant
  }

  package var minimum: Float { range.min }
  package var maximum: Float { range.max }
  package var hasObserved: Bool { range.min <= range.max }

  package func observe(_ values: UnsafeBufferPointer<Float>) throws(ObserverError) {
    let batch = ValueRange(values)
    guard !batch.hasNaN else { throw .notANumber }
    if batch.min <= batch.max { range.move(towards: batch, by: averagingConstant) }
  }

  package func calculateQParams() throws(ObserverError) -> QParams {
    guard hasObserved else { throw .notCalibrated }
    let (scale, zeroPoint) = try target.parameters(min: range.min, max: range.max)
    return QParams(scale: scale, zeroPoint: zeroPoint)
  }

  package var state: ObserverState {
    ObserverState(kind: "MovingAverageMinMaxObserver", ranges: hasObserved ? [range] : [])
  }

  /// An average depends on the order of batches, so that two of them have no sum: only an observer that has seen nothing
  /// takes a state over, and goes on from it.
  package func merge(_ state: ObserverState) throws(ObserverError) {
    guard let other = try state.ranges(of: "MovingAverageMinMaxObserver", channels: 1).first else { return }
    guard !hasObserved else { throw .cannotMerge(observer: "MovingAverageMinMaxObserver") }
    range = other
  }
}

/// As `MovingAverageMinMaxObserver`, for each channel (torchao `MovingAveragePerChannelMinMaxObserver`).
package final class MovingAveragePerChannelMinMaxObserver: Observer {
  package let averagingConstant: Float
  /// Takes the ranges of one batch.
  private let batch: PerChannelMinMaxObserver
  private let average: PerChannelMinMaxObserver

  /// - Throws: `unsupportedScheme` if the target's scheme is per tensor; `invalidAveragingConstant` outside (0, 1].
  package init(
    _ target: QuantizationTarget, axis: Int = 0, averagingConstant: Float = 0.01
  ) throws(ObserverError) {
    guard averagingConstant > 0, averagingConstant <= 1 else { throw .invalidAveragingConstant(averagingConstant) }
    self.averagingConstant = averagingConstant
    batch = try PerChannelMinMaxObserver(target, axis: axis)
    average = try PerChannelMinMaxObserver(target, axis: axis)
  }

  package var hasObserved: Bool { average.hasObserved }
  package var minimums: [Float] { average.minimums }
  package var maximums: [Float] { average.maximums }

  package func observe(_ tensor: Tensor) throws(ObserverError) {
    batch.reset()
    try batch.observe(tensor)
    try average.move(towards: batch, by: averagingConstant)
  }

  package func calculateQParams() throws(ObserverError) -> QParams { try average.calculateQParams() }

  package var state: ObserverState { average.state.renamed("MovingAveragePerChannelMinMaxObserver") }

  /// See `MovingAverageMinMaxObserver.merge`.
  package func merge(_ state: ObserverState) throws(ObserverError) {
    guard !hasObserved || state.isEmpty else { throw .cannotMerge(observer: "MovingAveragePerChannelMinMaxObserver") }
    _ = try state.ranges(of: "MovingAveragePerChannelMinMaxObserver", channels: nil)
    try average.merge(state.renamed("PerChannelMinMaxObserver"))
  }
}

extension ValueRange {
  /// Sets the range, or moves both ends by a part of the way, in float32 as torchao does.
  mutating func move(towards batch: ValueRange, by constant: Float) {
    guard min <= max else {
      self = batch
      return
    }
    min += constant * (batch.min - min)
    max += constant * (batch.max - max)
  }
}
