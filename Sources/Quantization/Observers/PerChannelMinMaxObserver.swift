import TensorCore

/// The running minimum and maximum of each channel (torchao `PerChannelMinMaxObserver`).
package final class PerChannelMinMaxObserver: Observer {
  package let target: QuantizationTarget
  /// The channel dimension in the tensor's logical order; negative counts from the end.
  package let axis: Int
  /// One range per channel; empty before the first observation.
  private var ranges: [ValueRange] = []
  /// `axis` as an index from the front, known once a tensor was observed.
  private var normalizedAxis = 0

  /// - Throws: `unsupportedScheme` if the target's scheme is per tensor.
  package init(_ target: QuantizationTarget, axis: Int = 0) throws(ObserverError) {
    guard target.scheme.isPerChannel else {
      throw .unsupportedScheme(target.scheme, observer: "PerChannelMinMaxObserver")
    }
    self.target = target
    self.axis = axis
  }

  package var hasObserved: Bool { !ranges.isEmpty }
  /// The smallest value of each channel; empty before the first observation.
  package var minimums: [Float] { ranges.map(\.min) }
  /// The largest value of each channel; empty before the first observation.
  package var maximums: [Float] { ranges.map(\.max) }

  package func observe(_ tensor: Tensor) throws(ObserverError) {
    guard tensor.dataType == .float32 else { throw .notFloat32(tensor.dataType) }
    let shape = tensor.shape
    guard shape.rank > 0, let dimension = shape.normalizedDimension(axis) else {
      throw .axisOutOfRange(axis: axis, shape: shape)
    }
    guard shape.elementCount > 0 else { return }
    let channels = shape[dimension]
    guard ranges.isEmpty || ranges.count == channels else {
      throw .channelCountChanged(expected: ranges.count, actual: channels, shape: shape)
    }
    let inner = innerCount(of: tensor.spec, dimension: dimension)
    let outer = shape.elementCount / (channels * inner)
    let batch = try withFloats(of: tensor) { values throws(ObserverError) in
      channelRanges(of: values, outer: outer, channels: channels, inner: inner)
    }
    guard !batch.contains(where: \.hasNaN) else { throw .notANumber }
    if ranges.isEmpty { ranges = [ValueRange](repeating: ValueRange(), count: channels) }
    for channel in 0..<channels { ranges[channel].formUnion(batch[channel]) }
    normalizedAxis = dimension
  }

  package var state: ObserverState {
    ObserverState(kind: "PerChannelMinMaxObserver", ranges: ranges, axis: hasObserved ? normalizedAxis : nil)
  }

  package func merge(_ state: ObserverState) throws(ObserverError) {
    let others = try state.ranges(of: "PerChannelMinMaxObserver", channels: hasObserved ? ranges.count : nil)
    guard !others.isEmpty else { return }
    guard let other = state.axis, (0..<64).contains(other), !hasObserved || other == normalizedAxis else {
      throw .invalidState("its number of channels is not the size of dimension \(normalizedAxis)")
    }
    if ranges.isEmpty { ranges = [ValueRange](repeating: ValueRange(), count: others.count) }
    for channel in ranges.indices { ranges[channel].formUnion(others[channel]) }
    normalizedAxis = other
  }

  /// Forgets all that was seen.
  func reset() { ranges = [] }

  /// Moves each channel's range by a part of the way to another observer's; takes it over if there is none yet.
  func move(towards batch: PerChannelMinMaxObserver, by constant: Float) throws(ObserverError) {
    guard batch.hasObserved else { return }
    if ranges.isEmpty { ranges = [ValueRange](repeating: ValueRange(), count: batch.ranges.count) }
    guard ranges.count == batch.ranges.count else {
      throw .channelCountChanged(
        expected: ranges.count, actual: batch.ranges.count, shape: Shape([batch.ranges.count]))
    }
    for channel in ranges.indices { ranges[channel].move(towards: batch.ranges[channel], by: constant) }
    normalizedAxis = batch.normalizedAxis
  }

  /// - Throws: `notCalibrated`; `nonFiniteRange` of the first channel that has no usable scale.
  package func calculateQParams() throws(ObserverError) -> QParams {
    guard hasObserved else { throw .notCalibrated }
    var scales: [Float] = []
    guard target.scheme != .perChannelAffineFloatQParams else {
      var zeroPoints: [Float] = []
      for range in ranges {
        let (scale, zeroPoint) = try target.floatParameters(min: range.min, max: range.max)
        scales.append(scale)
        zeroPoints.append(zeroPoint)
      }
      return QParams(perChannel: scales, zeroPoints: .floats(zeroPoints), axis: normalizedAxis)
    }
    var zeroPoints: [Int32] = []
    for range in ranges {
      let (scale, zeroPoint) = try target.parameters(min: range.min, max: range.max)
      scales.append(scale)
      zeroPoints.append(zeroPoint)
    }
    return QParams(perChannel: scales, zeroPoints: .integers(zeroPoints), axis: normalizedAxis)
  }

  /// How many elements lie in memory inside one step of `dimension`.
  private func innerCount(of spec: TensorSpec, dimension: Int) -> Int {
    let dimensions = spec.shape.dimensions
    guard spec.dimOrder == .channelsLast, dimensions.count == 4 else {
      return dimensions[(dimension + 1)...].reduce(1, *)
    }
    let memoryOrder = [0, 2, 3, 1]
    let position = memoryOrder.firstIndex(of: dimension) ?? 0
    return memoryOrder[(position + 1)...].reduce(1) { $0 * dimensions[$1] }
  }

  /// `values` is [outer, channels, inner], row-major.
  private func channelRanges(
    of values: UnsafeBufferPointer<Float>, outer: Int, channels: Int, inner: Int
  ) -> [ValueRange] {
    var ranges = [ValueRange](repeating: ValueRange(), count: channels)
    for row in 0..<(outer * channels) {
      let run = UnsafeBufferPointer(rebasing: values[(row * inner)..<((row + 1) * inner)])
      ranges[row % channels].formUnion(ValueRange(run))
    }
    return ranges
  }
}
