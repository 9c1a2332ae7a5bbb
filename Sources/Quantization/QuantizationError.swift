import GraphIR

/// Why a program cannot be prepared, calibrated or converted.
public enum QuantizationError: Error, Hashable, Sendable {
  /// The graph breaks a rule of its dialect, before or after a step.
  case invalidGraph(GraphError)
  /// The program given to `prepare` has quantize, dequantize or observer nodes already.
  case alreadyQuantized(program: String, node: String, operatorName: String)
  /// A quantizer's annotation does not fit the graph, or contradicts another.
  case invalidAnnotation(program: String, node: String, operatorName: String, reason: String)
  /// A quantizer changed what another had annotated before it.
  case conflictingAnnotations(program: String, node: String, operatorName: String, first: String, second: String)
  /// A configuration that its quantizer cannot apply.
  case invalidConfiguration(reason: String)
  /// The observer at a value refuses the data, or cannot give parameters.
  case observer(program: String, value: String, ObserverError)
  /// A saved calibration is of another model, or of another configuration.
  case calibrationMismatch(program: String, reason: String)
  /// The number of tensors given to an observer is not the number of places it watches.
  case wrongObservationCount(program: String, observer: Int, expected: Int, actual: Int)
}

extension QuantizationError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .invalidGraph(let error): "\(error)"
    case .alreadyQuantized(let program, let node, let operatorName):
      "\(program): node '\(node)' (\(operatorName)): the program is quantized already; prepare takes the float program"
    case .invalidAnnotation(let program, let node, let operatorName, let reason):
      "\(program): node '\(node)' (\(operatorName)): the quantizer's annotation is invalid: \(reason)"
    case .conflictingAnnotations(let program, let node, let operatorName, let first, let second):
      "\(program): node '\(node)' (\(operatorName)): \(second) changes the annotation that \(first) made; "
        + "let each quantizer leave annotated nodes alone, or keep them apart with filters"
    case .invalidConfiguration(let reason): "the quantization configuration is invalid: \(reason)"
    case .observer(let program, let value, let error): "\(program): value '\(value)': \(error)"
    case .calibrationMismatch(let program, let reason):
      "\(program): the saved calibration belongs to another model or configuration: \(reason)"
    case .wrongObservationCount(let program, let observer, let expected, let actual):
      "\(program): observer \(observer) watches \(expected) values of a sample, not \(actual)"
    }
  }
}
