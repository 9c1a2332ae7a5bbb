import GraphIR
import Operators
import TensorCore

/// Collects the nodes, values and constants of one XNNPACK delegate and writes them as its schema's `XNNGraph`.
struct XNNGraphWriter {
  typealias Field = FlatBufferBuilder.Field

  private let program: ExportedProgram
  private let constants: [ValueID: Tensor]
  private let varying: VaryingSizes
  private var builder = FlatBufferBuilder()
  private var nodes: [FlatBufferBuilder.Reference] = []
  private var values: [FlatBufferBuilder.Reference] = []
  private var ids: [ValueID: Int] = [:]
  /// The delegate's arguments, constants of the program among them.
  private let external: [ValueID: (position: Int, flags: UInt32)]
  /// Constant data in the order of the constants' numbers, which start at 1, each at a multiple of `alignment`.
  private(set) var data: [(tensor: Tensor, offset: Int)] = []
  private var dataSize = 0

  static let alignment = 16

  /// - Parameters:
  ///   - inputs: values of the program that the delegate is given, in order.
  ///   - outputs: values that it gives back, in order; none is an input.
  ///   - varying: sizes that are upper bounds.
  init(
    _ program: ExportedProgram, _ constants: [ValueID: Tensor], inputs: [ValueID], outputs: [ValueID],
    varying: VaryingSizes
  ) {
    self.program = program
    self.varying = varying
    self.constants = constants
    var external: [ValueID: (Int, UInt32)] = [:]
    for id in inputs { external[id] = (external.count, 1) }
    for id in outputs { external[id] = (external.count, 2) }
    self.external = external
  }

  // MARK: Values

  /// Sizes as they lie in memory: (N, H, W, C) for channels last.
  static func memorySizes(_ spec: TensorSpec) -> [Int] {
    spec.dimOrder == .channelsLast ? [0, 2, 3, 1].map { spec.shape[$0] } : spec.shape.dimensions
  }

  /// Sizes as they lie in memory, with 0 for the one that follows from the others.
  func openSizes(_ value: ValueID) -> [Int] {
    var spec = program.graph.spec(value)
    var sizes = spec.shape.dimensions
    for index in varying[value] { sizes[index] = 0 }
    spec.shape = Shape(sizes)
    return XNNGraphWriter.memorySizes(spec)
  }

  /// The delegate's id of a value; it is described when first asked for.
  mutating func id(_ value: ValueID) -> UInt32 {
    if let known = ids[value] { return UInt32(known) }
    let spec = program.graph.spec(value)
    let sizes = XNNGraphWriter.memorySizes(spec)
    let constant = external[value] == nil ? constants[value].map { add($0) } ?? 0 : 0
    let id = addValue(
      datatype(spec), sizes, constant: constant, spec.quantization, axis: 0, external: external[value])
    ids[value] = id
    return UInt32(id)
  }

  private func datatype(_ spec: TensorSpec) -> XNNDatatype {
    switch (spec.dataType, spec.quantization?.isPerChannel) {
    case (.int8, true): .qcint8
    case (.int8, _): .qint8
    case (.int32, true): .qcint32
    case (.int32, _): .qint32
    default: .fp32
    }
  }

  /// A constant of the delegate alone, in an order of its own.
  mutating func addConstant(_ tensor: Tensor, sizes: [Int], axis: Int) -> UInt32 {
    let spec = tensor.spec
    return UInt32(addValue(datatype(spec), sizes, constant: add(tensor), spec.quantization, axis: axis, external: nil))
  }

  /// A value that is quantized at run time, with parameters for each index before the last `nonBatch` dimensions.
  mutating func addDynamicValue(_ sizes: [Int], nonBatch: Int) -> UInt32 {
    let parameters = builder.table([.int(0, Int32(nonBatch))])
    return UInt32(addValue(.qdint8, sizes, constant: 0, quantization: (3, parameters), external: nil))
  }

  private mutating func addValue(
    _ datatype: XNNDatatype, _ sizes: [Int], constant: Int, _ quantization: QuantizationParameters?, axis: Int,
    external: (position: Int, flags: UInt32)?
  ) -> Int {
    var parameters: (UInt8, FlatBufferBuilder.Reference)?
    if let quantization {
      if quantization.isPerChannel {
        let scales = add(Tensor(quantization.scales, shape: Shape([quantization.scales.count])))
        parameters = (
          1,
          builder.table([
            .int(1, Int32(axis)), .int(2, UInt32(scales)), .int(3, UInt32(quantization.scales.count)),
          ])
        )
      } else {
        parameters = (2, builder.table([.float(0, quantization.scale), .int(1, quantization.zeroPoint)]))
      }
    }
    return addValue(datatype, sizes, constant: constant, quantization: parameters, external: external)
  }

  private mutating func addValue(
    _ datatype: XNNDatatype, _ sizes: [Int], constant: Int,
    quantization: (kind: UInt8, table: FlatBufferBuilder.Reference)?, external: (position: Int, flags: UInt32)?
  ) -> Int {
    let id = values.count
    let dimensions = builder.vector(sizes.map { UInt32($0) })
    var value = builder.table([
      .int(0, datatype.rawValue), .int(1, UInt32(sizes.count)), .reference(2, dimensions),
      .int(3, UInt32(constant)), .int(4, external.map { UInt32($0.position) } ?? UInt32.max),
      .int(5, external?.flags ?? 0), .int(6, UInt32(id)),
    ])
    if let quantization {
      value = builder.table([
        .reference(0, value), .int(1, quantization.kind), .reference(2, quantization.table),
      ])
    }
    values.append(builder.table([.int(0, UInt8(quantization == nil ? 1 : 2)), .reference(1, value)]))
    return id
  }

  /// The number of a constant. One tensor is stored once.
  private mutating func add(_ tensor: Tensor) -> Int {
    let same = data.firstIndex { known in
      known.tensor.storage === tensor.storage && known.tensor.byteOffset == tensor.byteOffset
        && known.tensor.spec.byteCount == tensor.spec.byteCount
    }
    if let same { return same + 1 }
    data.append((tensor, dataSize))
    let step = XNNGraphWriter.alignment
    dataSize += (tensor.spec.byteCount + step - 1) / step * step
    return data.count
  }

  // MARK: Nodes

  /// Appends a node. Bounds are reals; infinite ones are none.
  mutating func addNode(_ kind: XNNNodeKind, _ fields: [Field], bounds: (low: Float, high: Float)? = nil) {
    let node = builder.table(fields)
    var limits: FlatBufferBuilder.Reference?
    if let bounds, bounds.low > -.infinity || bounds.high < .infinity {
      limits = builder.table([.float(0, bounds.low), .float(1, bounds.high)])
    }
    nodes.append(
      builder.table([
        .int(0, kind.rawValue), .reference(1, node), .int(2, UInt32(nodes.count)), .reference(3, limits),
      ]))
  }

  /// Appends a node with a call's bounds: `fields`, then the ids of `values` in the fields from number `first` on.
  mutating func addNode(
    _ kind: XNNNodeKind, _ call: OperatorCall, _ values: [ValueID], from first: Int = 0, fields: [Field] = []
  ) throws(OperatorError) {
    let ids = values.enumerated().map { Field.int(first + $0, id($1)) }
    addNode(kind, fields + ids, bounds: try call.realBounds())
  }

  mutating func vector(_ sizes: [Int]) -> FlatBufferBuilder.Reference { builder.vector(sizes.map { UInt32($0) }) }

  // MARK: The delegate's bytes

  struct Blob {
    /// Header and FlatBuffer, padded to where the constants start.
    let head: [UInt8]
    let data: [(tensor: Tensor, offset: Int)]
    let dataSize: Int

    var byteCount: Int { head.count + dataSize }
  }

  /// - Precondition: every input and output has been read or computed by a node.
  mutating func finish() -> Blob {
    let ordered = external.sorted { $0.value.position < $1.value.position }
    let inputs = ordered.filter { $0.value.flags == 1 }.map { id($0.key) }
    let outputs = ordered.filter { $0.value.flags == 2 }.map { id($0.key) }
    // Number 0 stands for values without data.
    var offsets = [builder.table([.reference(2, builder.string(""))])]
    for (tensor, offset) in data {
      offsets.append(builder.table([.int(0, UInt64(offset)), .int(1, UInt64(tensor.spec.byteCount))]))
    }
    let fields: [Field] = [
      .reference(0, builder.string("0")), .reference(1, builder.vector(nodes)), .reference(2, builder.vector(values)),
      .int(3, UInt32(external.count)), .reference(4, builder.vector(inputs)), .reference(5, builder.vector(outputs)),
      .reference(8, builder.vector(offsets)),
    ]
    let graph = builder.finish(builder.table(fields), identifier: XNNGraph.identifiers[0])
    let start = 32
    let constants = (start + graph.count + 15) / 16 * 16
    var head = [UInt8](repeating: 0, count: 4) + XNNHeader.magic.utf8
    func append(_ value: UInt64, _ size: Int) {
      for byte in 0..<size { head.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * byte))) }
    }
    append(UInt64(XNNHeader.size), 2)
    append(UInt64(start), 4)
    append(UInt64(graph.count), 4)
    append(UInt64(constants), 4)
    append(UInt64(dataSize), 8)
    head += [UInt8](repeating: 0, count: start - head.count) + graph
    head += [UInt8](repeating: 0, count: constants - head.count)
    return Blob(head: head, data: data, dataSize: dataSize)
  }
}
