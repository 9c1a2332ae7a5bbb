import TensorCore

/// Collects statistics of the values at one place of a graph and derives quantization parameters from them.
///
/// Observers have identity: places that must share parameters share the observer. They are not `Sendable`; calls on
/// one observer must not overlap.
public protocol Observer: AnyObject {
  /// Whether its parameters come from values it is shown. If not, calibration leaves it out.
  var watchesValues: Bool { get }

  /// Whether a number has been observed, so that parameters exist.
  var hasObserved: Bool { get }

  /// Records a float32 tensor of any dim order. An empty tensor changes nothing.
  /// - Throws: `notFloat32`; `notANumber`, after which the observer is as before the call; for per-channel observers
  ///   also `axisOutOfRange` and `channelCountChanged`.
  func observe(_ tensor: Tensor) throws(ObserverError)

  /// - Throws: `notCalibrated` before anything was observed; `nonFiniteRange` if the values have no usable scale.
  func calculateQParams() throws(ObserverError) -> QParams

  /// What it has seen so far.
  var state: ObserverState { get }

  /// Adds what another observer of the same kind has seen: as if this one had seen it, exactly for minimum and maximum.
  /// - Throws: `invalidState` for the state of another kind of observer, or one that makes no sense; `cannotMerge` where
  ///   the order of what was seen matters.
  func merge(_ state: ObserverState) throws(ObserverError)
}

extension Observer {
  /// It does.
  public var watchesValues: Bool { true }

  /// Nothing: for observers that see nothing.
  public var state: ObserverState { ObserverState(kind: "\(type(of: self))") }

  /// Takes the state of one that has seen nothing.
  public func merge(_ state: ObserverState) throws(ObserverError) {
    guard try state.ranges(of: "\(type(of: self))", channels: nil).isEmpty else {
      throw .cannotMerge(observer: "\(type(of: self))")
    }
  }
}

/// An observer to which all elements are alike, so that their layout does not matter.
public protocol PerTensorObserver: Observer {
  /// Records values in any order.
  /// - Throws: `notANumber`, after which the observer is as before the call.
  func observe(_ values: UnsafeBufferPointer<Float>) throws(ObserverError)
}

extension PerTensorObserver {
  /// Records the tensor's elements in memory order.
  public func observe(_ tensor: Tensor) throws(ObserverError) {
    try withFloats(of: tensor) { values throws(ObserverError) in try observe(values) }
  }
}

/// The tensor's elements in memory order. A tensor whose data is misaligned (a window on a file) is copied.
func withFloats<R>(
  of tensor: Tensor, _ body: (UnsafeBufferPointer<Float>) throws(ObserverError) -> R
) throws(ObserverError) -> R {
  guard tensor.dataType == .float32 else { throw .notFloat32(tensor.dataType) }
  let isAligned = (UInt(bitPattern: tensor.storage.base) &+ UInt(tensor.byteOffset)) % 4 == 0
  let source = isAligned ? tensor : tensor.aligned()
  return try source.withUnsafeBytes { bytes throws(ObserverError) in
    try body(bytes.bindMemory(to: Float.self))
  }
}
