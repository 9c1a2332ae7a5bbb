/// The element type of a tensor, by PyTorch's names.
public enum DataType: String, Hashable, Sendable, CaseIterable, Codable {
  /// Integers, IEEE 754 floats, bfloat16, and truth values of one byte.
  case uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, bool

  /// Bytes of one element.
  public var size: Int {
    switch self {
    case .uint8, .int8, .bool: 1
    case .int16, .float16, .bfloat16: 2
    case .int32, .float32: 4
    case .int64, .float64: 8
    }
  }

  /// Whether quantization can apply to values of this type.
  public var isFloatingPoint: Bool {
    switch self {
    case .float16, .bfloat16, .float32, .float64: true
    case .uint8, .int8, .int16, .int32, .int64, .bool: false
    }
  }
}

/// A Swift type that is the element type of a tensor.
public protocol TensorElement: BitwiseCopyable, Sendable {
  /// The element type that it stands for.
  static var dataType: DataType { get }
}

extension UInt8: TensorElement { public static var dataType: DataType { .uint8 } }
extension Int8: TensorElement { public static var dataType: DataType { .int8 } }
extension Int16: TensorElement { public static var dataType: DataType { .int16 } }
extension Int32: TensorElement { public static var dataType: DataType { .int32 } }
extension Int64: TensorElement { public static var dataType: DataType { .int64 } }
extension Float: TensorElement { public static var dataType: DataType { .float32 } }
extension Double: TensorElement { public static var dataType: DataType { .float64 } }
