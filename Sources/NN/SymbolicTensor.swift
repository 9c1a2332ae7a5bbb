import GraphIR
import Operators
import SymbolicSizes
import TensorCore

/// A tensor of a model that is being captured: it has a type and sizes, and no elements. A value: operators make new ones.
///
/// Sizes that were declared dynamic are expressions; `size(_:)` gives them for arithmetic.
public struct SymbolicTensor {
  let id: ValueID
  /// With the sizes of the example. Not public: a decision by them would leave no guard.
  let spec: TensorSpec
  let sizes: [SymbolicSize]
  let tracer: Tracer

  /// The number of dimensions.
  public var rank: Int { sizes.count }
  /// The element type.
  public var dataType: DataType { spec.dataType }

  /// The sizes of all dimensions.
  public var shape: [SymInt] { sizes.map { SymInt($0, tracer) } }

  /// The size of a dimension; negative ones count from the end.
  /// - Precondition: the tensor has that dimension.
  public func size(_ dim: Int) -> SymInt {
    let index = dim < 0 ? dim + rank : dim
    precondition(sizes.indices.contains(index), "a tensor of \(spec) has no dimension \(dim)")
    return SymInt(sizes[index], tracer)
  }

  /// A parameter of a module as a tensor of this tensor's graph.
  public func parameter(_ parameter: Parameter) throws(ExportError) -> SymbolicTensor {
    try tracer.moduleTensor(.parameter(parameter))
  }

  /// A buffer of a module as a tensor of this tensor's graph.
  public func buffer(_ buffer: Buffer) throws(ExportError) -> SymbolicTensor {
    try tracer.moduleTensor(.buffer(buffer))
  }

  /// A tensor with data that becomes a constant of this tensor's graph (`c_lifted_tensor_0`).
  public func constant(_ tensor: Tensor) -> SymbolicTensor { tracer.lift(tensor) }

  /// Refuses: a tensor that is being captured has no elements. The error names this line.
  public func item(fileID: StaticString = #fileID, line: UInt = #line) throws(ExportError) -> Double {
    throw tracer.error(
      "control flow that depends on a tensor's elements cannot be captured; use operators (clamp, minimum, maximum), "
        + "or compute the value outside the model", at: "\(fileID):\(line)")
  }
}

extension Bool {
  /// Refuses, as `SymbolicTensor.item` does.
  public init(_ tensor: SymbolicTensor, fileID: StaticString = #fileID, line: UInt = #line) throws(ExportError) {
    self = try tensor.item(fileID: fileID, line: line) != 0
  }
}

/// An argument of a captured operator.
public enum CaptureArgument {
  /// A tensor.
  case tensor(SymbolicTensor)
  /// A list of tensors.
  case tensors([SymbolicTensor])
  /// An integer.
  case int(Int)
  /// A real number.
  case float(Double)
  /// True or False.
  case bool(Bool)
  /// A text.
  case string(String)
  /// A list of integers.
  case ints([Int])
  /// A list of real numbers.
  case floats([Double])
  /// An integer that may depend on the inputs' sizes.
  case size(SymInt)
  /// A list of such.
  case sizes([SymInt])
  /// An element type.
  case dataType(DataType)
  /// `None`
  case none
}

extension SymbolicTensor {
  /// Calls any operator, of this library or of your own, with the arguments of its schema. Arguments that are left out have
  /// their defaults.
  ///
  /// Throws an `ExportError` with the shapes when the operator refuses the call.
  public static func call(
    _ op: Operator, _ arguments: KeyValuePairs<String, CaptureArgument>
  ) throws(ExportError) -> [SymbolicTensor] {
    let tracer = arguments.lazy.compactMap { _, argument in
      switch argument {
      case .tensor(let tensor): tensor.tracer
      case .tensors(let tensors): tensors.first?.tracer
      default: nil
      }
    }.first
    guard let tracer else {
      throw ExportError(model: "", operatorName: op.name, reason: "is called without any tensor")
    }
    return try tracer.call(op, arguments.map { ($0.key, $0.value) })
  }

  /// Calls an operator with one result on this tensor, its first argument.
  func call(
    _ op: Operator, _ first: String = "self", _ others: KeyValuePairs<String, CaptureArgument> = [:]
  ) throws(ExportError) -> SymbolicTensor {
    try tracer.call(op, [(first, .tensor(self))] + others.map { ($0.key, $0.value) })[0]
  }
}
