import Swiftlet

/// One tensor of a file.
public struct TensorSummary: Codable, Hashable, Sendable {
  /// The tensor's name.
  public var name: String
  /// The element type.
  public var dataType: DataType
  /// The sizes.
  public var shape: [Int]
  /// Bytes of all elements.
  public var bytes: Int
  /// The smallest finite element of a float tensor; nil for other tensors, and where there is none.
  public var minimum: Double?
  /// The largest finite element.
  public var maximum: Double?
  /// The mean of the finite elements.
  public var mean: Double?
  /// Elements that are NaN or infinite; nil for none.
  public var nonFinite: Int?

  /// Reads all elements of a float tensor, none of another.
  package init(name: String, _ tensor: Tensor) {
    self.name = name
    (dataType, shape, bytes) = (tensor.dataType, tensor.shape.dimensions, tensor.spec.byteCount)
    guard let statistics = FiniteStatistics(tensor) else { return }
    nonFinite = statistics.nonFinite > 0 ? statistics.nonFinite : nil
    guard statistics.count > 0 else { return }
    (minimum, maximum) = (statistics.minimum, statistics.maximum)
    mean = statistics.sum / Double(statistics.count)
  }
}

/// What is in a file of tensors.
public struct TensorFileInspection: Codable, Sendable {
  /// All tensors of one data type.
  public struct Total: Codable, Hashable, Sendable {
    /// The element type.
    public var dataType: DataType
    /// How many they are.
    public var tensors: Int
    /// All their elements.
    public var elements: Int
    /// All their bytes.
    public var bytes: Int
  }

  /// The file's path.
  public var file: String
  /// What kind of file it is.
  public var format: FileFormat
  /// Bytes of the file.
  public var fileBytes: Int
  /// In the order of the file.
  public var tensors: [TensorSummary]
  /// By data type, the most bytes first.
  public var totals: [Total]

  /// Where in a checkpoint the tensors lie; nil when they are at the file's top.
  public var container: String?
  /// What else a checkpoint holds.
  public var others: [StateDict.OtherValue]
  /// The `__metadata__` of a safetensors file.
  public var metadata: [String: String]

  init(
    path: String, format: FileFormat, tensors: [TensorSummary], container: String? = nil,
    others: [StateDict.OtherValue] = [], metadata: [String: String] = [:]
  ) {
    (file, self.format, fileBytes) = (path, format, fileSize(path))
    (self.tensors, self.container, self.others, self.metadata) = (tensors, container, others, metadata)
    var totals: [DataType: Total] = [:]
    for tensor in tensors {
      var total = totals[tensor.dataType] ?? Total(dataType: tensor.dataType, tensors: 0, elements: 0, bytes: 0)
      total.tensors += 1
      total.elements += tensor.bytes / tensor.dataType.size
      total.bytes += tensor.bytes
      totals[tensor.dataType] = total
    }
    self.totals = totals.values.sorted { ($1.bytes, $0.dataType.rawValue) < ($0.bytes, $1.dataType.rawValue) }
  }
}

/// Minimum, maximum and sum over the finite elements of a float tensor.
private struct FiniteStatistics {
  var count = 0
  var nonFinite = 0
  var minimum = Double.infinity
  var maximum = -Double.infinity
  var sum = 0.0

  /// Nil for a tensor of integers or booleans.
  init?(_ tensor: Tensor) {
    switch tensor.dataType {
    case .float32: add(tensor, UInt32.self) { Double(Float(bitPattern: $0)) }
    case .float64: add(tensor, UInt64.self) { Double(bitPattern: $0) }
    case .float16: add(tensor, UInt16.self) { Double(Float16(bitPattern: $0)) }
    case .bfloat16: add(tensor, UInt16.self) { Double(Float(bitPattern: UInt32($0) << 16)) }
    case .uint8, .int8, .int16, .int32, .int64, .bool: return nil
    }
  }

  private mutating func add<Bits: FixedWidthInteger & BitwiseCopyable>(
    _ tensor: Tensor, _ type: Bits.Type, _ real: (Bits) -> Double
  ) {
    tensor.withUnsafeBytes { bytes in
      for offset in stride(from: 0, to: bytes.count, by: MemoryLayout<Bits>.size) {
        let value = real(bytes.loadUnaligned(fromByteOffset: offset, as: Bits.self))
        guard value.isFinite else {
          nonFinite += 1
          continue
        }
        count += 1
        minimum = min(minimum, value)
        maximum = max(maximum, value)
        sum += value
      }
    }
  }
}
