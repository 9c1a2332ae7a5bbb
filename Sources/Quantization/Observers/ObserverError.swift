import TensorCore

/// Why an observer cannot take a tensor or give parameters. It knows no node; the caller adds that.
public enum ObserverError: Error, Hashable, Sendable {
  /// Parameters were asked for before any finite value was observed.
  case notCalibrated
  /// A NaN was among the values; nothing of that tensor was recorded.
  case notANumber
  /// The range is infinite, or so wide that its scale is no finite float32.
  case nonFiniteRange(min: Float, max: Float)
  /// The lower bound lies above the upper one.
  case reversedRange(min: Float, max: Float)
  /// The integer range does not contain 0, holds fewer than two values, or exceeds `Int32`.
  case invalidQuantizedRange(min: Int, max: Int)
  /// The smallest allowed scale is not a positive finite number.
  case invalidEpsilon(Float)
  /// The scheme's granularity (per tensor or per channel) is not the observer's.
  case unsupportedScheme(QuantizationScheme, observer: String)
  /// Fixed parameters whose scale is no positive number, or whose zero point lies outside the quantized range.
  case invalidFixedQParams(scale: Float, zeroPoint: Int32)
  /// A percentile that does not lie in (50, 100].
  case invalidPercentile(Double)
  /// An averaging constant that does not lie in (0, 1].
  case invalidAveragingConstant(Float)
  /// A saved state that is of another observer, or makes no sense.
  case invalidState(String)
  /// Two states whose order matters cannot be made one.
  case cannotMerge(observer: String)
  /// The tensor has another element type.
  case notFloat32(DataType)
  /// The tensor has no such channel dimension.
  case axisOutOfRange(axis: Int, shape: Shape)
  /// The tensor has more or fewer channels than those before it.
  case channelCountChanged(expected: Int, actual: Int, shape: Shape)
}

extension ObserverError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notCalibrated:
      "no value was observed; run the prepared model on calibration data before converting it"
    case .notANumber:
      "the values contain NaN; no range can be derived from them"
    case .nonFiniteRange(let min, let max):
      "the range [\(min), \(max)] has no finite float32 scale"
    case .reversedRange(let min, let max):
      "the range [\(min), \(max)] is reversed: min must not exceed max"
    case .invalidQuantizedRange(let min, let max):
      "the quantized range [\(min), \(max)] is invalid: it must contain 0 and at least two values, within 32 bits"
    case .invalidEpsilon(let value):
      "eps \(value) is invalid: it must be positive and finite"
    case .unsupportedScheme(let scheme, let observer):
      "\(observer) does not support the scheme \(scheme)"
    case .invalidFixedQParams(let scale, let zeroPoint):
      "fixed scale \(scale) and zero point \(zeroPoint): the scale must be positive, the zero point in the range"
    case .invalidPercentile(let percent): "the percentile \(percent) does not lie in (50, 100]"
    case .invalidAveragingConstant(let value): "the averaging constant \(value) does not lie in (0, 1]"
    case .invalidState(let reason): "the saved state cannot be used: \(reason)"
    case .cannotMerge(let observer):
      "a \(observer) depends on the order of what it sees; resume one calibration, or use MinMaxObserver"
    case .notFloat32(let dataType):
      "observers take float32 tensors, not \(dataType)"
    case .axisOutOfRange(let axis, let shape):
      "channel axis \(axis) is out of range for shape \(shape)"
    case .channelCountChanged(let expected, let actual, let shape):
      "shape \(shape) has \(actual) channels where \(expected) were observed before"
    }
  }
}
