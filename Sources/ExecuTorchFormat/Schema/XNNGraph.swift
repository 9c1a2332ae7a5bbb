import TensorCore
import TorchFormats

/// The kinds of nodes of ExecuTorch's XNNPACK delegate, by the numbers of its schema's union.
enum XNNNodeKind: UInt8, CaseIterable {
  case add = 1
  case fullyConnected, softmax, sigmoid, staticTranspose, clamp, conv2d, div, staticResizeBilinear2D, staticConstantPad
  case avgPooling2d, minimum, depthwiseConv2d, maxPooling2d, multiply, subtract, floor, convert, globalAvgPooling2d
  case staticReshape, argMaxPooling2d, squareRoot, ceiling, hardswish, leakyReLU, maximum, negate, square, elu, abs
  case prelu, concatenate2, concatenate3, concatenate4, staticSlice, scaledDotProductAttention, batchMatrixMultiply
  case concatenate5, convTranspose2d, reciprocalSquareRoot, log, gelu, tanh, exp, sin, copy, cos

  /// The schema's name, `XNNConv2d`.
  var schemaName: String {
    switch self {
    case .elu: return "XNNELU"
    case .prelu: return "XNNPReLU"
    default:
      let name = "\(self)"
      return "XNN" + name.prefix(1).uppercased() + name.dropFirst()
    }
  }
}

/// Element types of the delegate's values, by the numbers of its schema.
enum XNNDatatype: Int16 {
  case fp32 = 1
  case fp16 = 2
  case qint8 = 3
  case quint8 = 4
  case qint32 = 5
  case qcint8 = 6
  case qcint32 = 7
  case qcint4 = 8
  case qdint8 = 9
  case qbint4 = 10
  case qpint8 = 11
  case int32 = 12
  case pfp32 = 13
  case bf16 = 14

  /// What the elements are in memory; nil where they share bytes or are not stored.
  var dataType: DataType? {
    switch self {
    case .fp32: .float32
    case .fp16: .float16
    case .bf16: .bfloat16
    case .qint8, .qcint8, .qdint8: .int8
    case .quint8: .uint8
    case .qint32, .qcint32, .int32: .int32
    case .qcint4, .qbint4, .qpint8, .pfp32: nil
    }
  }
}

/// Flags of nodes, as `xnnpack.h` numbers them.
enum XNNFlag {
  static let transposeWeights = 0x0000_0001
  static let transposeB = 0x0000_0001
  static let alignCorners = 0x0000_0008
  static let keepDims = 0x0000_0040
}

/// A subgraph that ExecuTorch's XNNPACK delegate takes: its schema's `XNNGraph`, read.
struct XNNGraph {
  struct Value {
    let datatype: XNNDatatype
    let dimensions: [Int]
    /// Into the constants; 0 for a computed value.
    let constant: Int
    /// Position among the delegate's arguments; nil for a value of its own.
    let external: Int?
    let quantization: Quantization
  }

  enum Quantization {
    case none
    case perTensor(scale: Float, zeroPoint: Int)
    /// Scales in the file, or (empty) in a constant.
    case perChannel(scales: [Float], axis: Int, constant: Int, count: Int)
    /// Chosen at run time for each index of the dimensions before the last `nonBatch`.
    case dynamic(nonBatch: Int)
    case perGroup
  }

  struct Node {
    let kind: XNNNodeKind
    let table: FlatTable
    let bounds: (low: Float, high: Float)

    /// Two fields that are ids of values.
    func ids(_ a: Int, _ b: Int) throws(FormatError) -> (Int, Int) { (try table.uint(a), try table.uint(b)) }
    func ids(_ a: Int, _ b: Int, _ c: Int) throws(FormatError) -> (Int, Int, Int) {
      (try table.uint(a), try table.uint(b), try table.uint(c))
    }
  }

  struct Constant {
    /// Nil for data under `key` in the program.
    let offset: Int?
    let size: Int
    let key: String
  }

  let nodes: [Node]
  let values: [Int: Value]
  /// Ids of values.
  let inputs: [Int]
  let outputs: [Int]
  let constants: [Constant]
  /// Constants that lie in the FlatBuffer itself, of older files: ranges of it.
  let inlineConstants: [Range<Int>]

  static let identifiers = ["XN01", "XN00"]
  /// XNNPACK's own bound.
  static let maximumRank = 6
  static let noValue = 0xFFFF_FFFF

  init(_ root: FlatTable) throws(FormatError) {
    let buffer = root.buffer
    var nodes: [Node] = []
    for entry in try root.tables(1) {
      let code = try entry.integer(0, as: UInt8.self)
      guard let kind = XNNNodeKind(rawValue: code) else {
        throw buffer.error("has a node of kind \(code), which the schema does not know")
      }
      var bounds: (Float, Float) = (-.infinity, .infinity)
      if let limits = try entry.table(3) { bounds = (try limits.float(0), try limits.float(1)) }
      nodes.append(Node(kind: kind, table: try entry.requiredTable(1, "xnode_union"), bounds: bounds))
    }
    self.nodes = nodes
    var values: [Int: Value] = [:]
    for entry in try root.tables(2) {
      let (id, value) = try XNNGraph.value(entry)
      guard values.updateValue(value, forKey: id) == nil else { throw buffer.error("value \(id) is defined twice") }
    }
    self.values = values
    inputs = try root.uints(4)
    outputs = try root.uints(5)
    var inline: [Range<Int>] = []
    for entry in try root.tables(6) { inline.append(try entry.byteRange(0)) }
    inlineConstants = inline
    var constants: [Constant] = []
    for entry in try root.tables(8) {
      let key = try entry.string(2)
      constants.append(
        Constant(offset: key.isEmpty ? try entry.length(0) : nil, size: try entry.length(1), key: key))
    }
    self.constants = constants
  }

  private static func value(_ entry: FlatTable) throws(FormatError) -> (id: Int, Value) {
    let kind = try entry.integer(0, as: UInt8.self)
    let outer = try entry.requiredTable(1, "xvalue_union")
    let tensor = kind == 2 ? try outer.requiredTable(0, "tensor_value") : outer
    guard kind == 1 || kind == 2 else { throw entry.buffer.error("has a value of kind \(kind)") }
    let code = try tensor.integer(0, as: Int16.self)
    guard let datatype = XNNDatatype(rawValue: code) else {
      throw entry.buffer.error("has a value of datatype \(code), which the schema does not know")
    }
    let dimensions = try tensor.uints(2)
    guard dimensions.count <= maximumRank, Shape(validating: dimensions) != nil else {
      throw entry.buffer.error("has a value with impossible sizes \(dimensions.prefix(8))")
    }
    let external = try tensor.integer(4, as: UInt32.self)
    let value = Value(
      datatype: datatype, dimensions: dimensions, constant: try tensor.uint(3),
      external: Int(external) == noValue ? nil : Int(external),
      quantization: kind == 2 ? try quantization(outer) : .none)
    return (try tensor.uint(6), value)
  }

  private static func quantization(_ outer: FlatTable) throws(FormatError) -> Quantization {
    let kind = try outer.integer(1, as: UInt8.self)
    guard let table = try outer.table(2) else { return .none }
    switch kind {
    case 1:
      return .perChannel(
        scales: try table.floats(0), axis: try table.int(1), constant: try table.uint(2), count: try table.uint(3))
    case 2: return .perTensor(scale: try table.float(0), zeroPoint: try table.int(1))
    case 3: return .dynamic(nonBatch: try table.int(0))
    case 4: return .perGroup
    default: throw outer.buffer.error("has quantization parameters of kind \(kind)")
    }
  }
}

/// The header of a delegate's bytes: `XH00`, then where FlatBuffer and constants lie.
enum XNNHeader {
  static let magic = "XH00"
  static let size = 30

  struct Parts {
    let graph: Range<Int>
    let constants: Range<Int>
  }

  /// Reads it from the bytes in `range` of a file. Throws when a part reaches outside.
  static func read(_ file: PTEFile, _ range: Range<Int>) throws(FormatError) -> Parts {
    let buffer = FlatBuffer(
      UnsafeRawBufferPointer(rebasing: file.storage.bytes[range]), path: file.path, name: "XNNPACK delegate")
    guard range.count >= size, String(decoding: buffer.bytes[4..<8], as: UTF8.self) == magic else {
      return Parts(graph: range, constants: range.upperBound..<range.upperBound)
    }
    let graphStart = Int(try buffer.load(UInt32.self, at: 10))
    let graphSize = Int(try buffer.load(UInt32.self, at: 14))
    let constantStart = Int(try buffer.load(UInt32.self, at: 18))
    let constantSize = Int(clamping: try buffer.load(UInt64.self, at: 22))
    guard graphStart <= range.count, graphSize <= range.count - graphStart, constantStart <= range.count,
      constantSize <= range.count - constantStart
    else { throw buffer.error("its header refers to bytes outside its \(range.count)") }
    let base = range.lowerBound
    return Parts(
      graph: base + graphStart..<base + graphStart + graphSize,
      constants: base + constantStart..<base + constantStart + constantSize)
  }
}
