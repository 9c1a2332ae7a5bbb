import GraphIR
import Operators
import TensorCore
import TorchFormats

/// Turns the subgraph of an XNNPACK delegate into ATen operators with Q/DQ nodes.
///
/// Images lie as (N, H, W, C) in the delegate. Here they stay (N, C, H, W): a transposition at the border changes how a
/// value is held, and becomes a node only where something else than an image is meant.
struct XNNGraphReader {
  /// How a value of the delegate is held by the graph.
  struct Held {
    /// The value as reals.
    var real: ValueID
    /// The integers that `real` dequantizes.
    var integers: ValueID?
    /// Whether the delegate's (N, H, W, C) is the graph's (N, C, H, W).
    var isImage: Bool
  }

  let graph: XNNGraph
  let builder: GraphBuilder
  let place: String
  private let file: PTEFile
  private let parts: XNNHeader.Parts
  private var held: [Int: Held] = [:]

  init(_ file: PTEFile, _ parts: XNNHeader.Parts, _ graph: XNNGraph, _ builder: GraphBuilder, _ place: String) {
    self.file = file
    self.parts = parts
    self.graph = graph
    self.builder = builder
    self.place = place
  }

  func error(_ reason: String) -> FormatError { builder.error(place, reason) }

  /// The delegate's results for its arguments, each in the order of its external ids. `areImages` tells of arguments and
  /// results whether they lie channels last in the program.
  mutating func read(_ arguments: [ValueID], areImages: [Bool]) throws(FormatError) -> [ValueID] {
    for ((id, argument), isImage) in zip(zip(try inExternalOrder(graph.inputs), arguments), areImages) {
      let value = try value(id)
      let argument = isImage ? argument : try builder.scalarView(argument, Shape(value.dimensions), place)
      let sizes = sizes(builder.spec(argument).shape, isImage: isImage)
      guard value.dimensions == sizes else {
        throw error("its input is \(value.dimensions), but it is called with \(sizes)")
      }
      held[id] =
        value.datatype == .fp32
        ? Held(real: argument, isImage: isImage)
        : Held(real: try dequantized(argument, value), integers: argument, isImage: isImage)
    }
    for node in graph.nodes {
      guard let row = DelegateRow.byKind[node.kind] else {
        let reason = DelegateRow.unread[node.kind] ?? "which is not there"
        throw error("needs \(node.kind.schemaName): \(reason)")
      }
      try row.read(&self, node)
    }
    var results: [ValueID] = []
    for (id, isImage) in zip(try inExternalOrder(graph.outputs), areImages.dropFirst(arguments.count)) {
      let real = try real(id, asImage: isImage)
      // A permutation written out stands between the integers and this result.
      results.append(try value(id).datatype == .fp32 ? real : try integers(id, real))
    }
    return results
  }

  /// Sizes as the delegate has them.
  private func sizes(_ shape: Shape, isImage: Bool) -> [Int] {
    isImage && shape.rank == 4 ? [0, 2, 3, 1].map { shape[$0] } : shape.dimensions
  }

  private func inExternalOrder(_ ids: [Int]) throws(FormatError) -> [Int] {
    var keyed: [(Int, Int)] = []
    for id in ids {
      guard let external = try value(id).external else { throw error("value \(id) has no external id") }
      keyed.append((external, id))
    }
    return keyed.sorted { $0.0 < $1.0 }.map(\.1)
  }

  private func integers(_ id: Int, _ real: ValueID) throws(FormatError) -> ValueID {
    if let known = held[id], let integers = known.integers, known.real == real { return integers }
    return try quantized(real, try value(id))
  }

  // MARK: Values

  func value(_ id: Int) throws(FormatError) -> XNNGraph.Value {
    guard let value = graph.values[id] else { throw error("value \(id) is not described") }
    return value
  }

  func isImage(_ id: Int) -> Bool { held[id]?.isImage ?? false }

  /// A value as reals, its sizes those of the delegate or, for an image, (N, C, H, W).
  mutating func real(_ id: Int, asImage: Bool) throws(FormatError) -> ValueID {
    let value = try value(id)
    guard let known = held[id] else {
      guard value.constant > 0 else { throw error("value \(id) is read before it is computed") }
      return try constantReal(value, asImage: asImage)
    }
    guard known.isImage != asImage else { return known.real }
    guard value.dimensions.count == 4 else { throw error("value \(id) is no image: it is \(value.dimensions)") }
    return try emit(
      .permute, [("self", .value(known.real)), ("dims", .ints(asImage ? [0, 3, 1, 2] : [0, 2, 3, 1]))])
  }

  private mutating func constantReal(_ value: XNNGraph.Value, asImage: Bool) throws(FormatError) -> ValueID {
    guard value.datatype == .fp32 || value.datatype == .qint8 else { throw unreadable(value) }
    var tensor = try data(value, Shape(value.dimensions))
    if asImage {
      guard value.dimensions.count == 4 else { throw error("a constant is no image: it is \(value.dimensions)") }
      let sizes = [0, 3, 1, 2].map { value.dimensions[$0] }
      tensor = tensor.reinterpreted(as: TensorSpec(tensor.dataType, Shape(sizes), dimOrder: .channelsLast))
      try charge(tensor)
      tensor = tensor.rowMajor()
    }
    let id = builder.addConstant("constant_\(value.constant)", tensor)
    return value.datatype == .fp32 ? id : try dequantized(id, value)
  }

  /// Records a node's result: reals whose image-ness is given, quantized where the delegate's value is.
  mutating func define(_ id: Int, _ real: ValueID, isImage: Bool) throws(FormatError) {
    let value = try value(id)
    let sizes = sizes(builder.spec(real).shape, isImage: isImage)
    guard sizes == value.dimensions else {
      throw error("value \(id) is recorded as \(value.dimensions), but it is computed as \(sizes)")
    }
    switch value.datatype {
    case .fp32: held[id] = Held(real: real, isImage: isImage)
    case .qint8:
      let integers = try quantized(real, value)
      held[id] = Held(real: try dequantized(integers, value), integers: integers, isImage: isImage)
    case .qdint8: held[id] = Held(real: try dynamicallyQuantized(real, value), isImage: isImage)
    default: throw unreadable(value)
    }
  }

  private func unreadable(_ value: XNNGraph.Value) -> FormatError {
    error("has a value of datatype \(value.datatype), which cannot be read")
  }

  /// `scale, zero_point, quant_min, quant_max, dtype` of a value quantized with one scale.
  private func perTensor(_ value: XNNGraph.Value) throws(FormatError) -> [(String, Operand)] {
    guard case .perTensor(let scale, let zeroPoint) = value.quantization else {
      throw error("a \(value.datatype) value has no scale of its own")
    }
    guard scale.isFinite, scale > 0 else { throw error("the scale \(scale) is not finite and greater than 0") }
    let isInt32 = value.datatype == .qint32
    return [
      ("scale", .float(Double(scale))), ("zero_point", .int(zeroPoint)),
      ("quant_min", .int(isInt32 ? Int(Int32.min) : -128)), ("quant_max", .int(isInt32 ? Int(Int32.max) : 127)),
      ("dtype", .attribute(.dataType(isInt32 ? .int32 : .int8))),
    ]
  }

  private func quantized(_ real: ValueID, _ value: XNNGraph.Value) throws(FormatError) -> ValueID {
    try emit(.quantizePerTensor, [("input", .value(real))] + perTensor(value))
  }

  private func dequantized(_ integers: ValueID, _ value: XNNGraph.Value) throws(FormatError) -> ValueID {
    try emit(.dequantizePerTensor, [("input", .value(integers))] + perTensor(value))
  }

  /// Parameters chosen at run time: a pair for each row, as the delegate has it, or (images) for the one image.
  private func dynamicallyQuantized(_ real: ValueID, _ value: XNNGraph.Value) throws(FormatError) -> ValueID {
    guard case .dynamic(let nonBatch) = value.quantization else { throw unreadable(value) }
    let range: [(String, Operand)] = [
      ("quant_min", .int(-128)), ("quant_max", .int(127)), ("dtype", .attribute(.dataType(.int8))),
    ]
    let input: (String, Operand) = ("input", .value(real))
    if nonBatch == 1 {
      let chosen = try builder.emitAll(
        .chooseQParamsPerToken, name: "getitem", [input, range[2]], place)
      let parameters: [(String, Operand)] = [("scales", .value(chosen[0])), ("zero_points", .value(chosen[1]))]
      let integers = try emit(.quantizePerToken, [input] + parameters + range)
      return try emit(
        .dequantizePerToken,
        [("input", .value(integers))] + parameters + range + [("output_dtype", .attribute(.dataType(.float32)))])
    }
    guard nonBatch == value.dimensions.count - 1, value.dimensions.first == 1 else {
      throw error(
        "chooses parameters at run time for \(value.dimensions) over \(nonBatch) dimensions, which cannot be read")
    }
    let chosen = try builder.emitAll(
      .chooseQParams, name: "getitem",
      [input, range[0], range[1], ("eps", .float(0x1p-23)), range[2]], place)
    let parameters: [(String, Operand)] = [("scale", .value(chosen[0])), ("zero_point", .value(chosen[1]))]
    let integers = try emit(.quantizePerTensorTensor, [input] + parameters + range)
    return try emit(.dequantizePerTensorTensor, [("input", .value(integers))] + parameters + range)
  }

  // MARK: Nodes

  func emit(_ op: Operator, _ arguments: [(String, Operand)]) throws(FormatError) -> ValueID {
    try builder.emit(op, name: op.functionName, arguments, place)
  }

  /// A node's result, after the bounds that its kind takes.
  mutating func finish(
    _ node: XNNGraph.Node, _ output: Int, _ real: ValueID, isImage: Bool
  ) throws(FormatError) {
    let bounds = node.bounds
    guard bounds.low <= bounds.high else { throw error("its bounds are \(bounds.low) and \(bounds.high)") }
    var result = real
    switch bounds {
    case (-.infinity, .infinity): break
    case (0, .infinity): result = try emit(.relu, [("self", .value(real))])
    default:
      var arguments: [(String, Operand)] = [("self", .value(real))]
      if bounds.low.isFinite { arguments.append(("min", .float(Double(bounds.low)))) }
      if bounds.high.isFinite { arguments.append(("max", .float(Double(bounds.high)))) }
      result = try emit(.clamp, arguments)
    }
    try define(output, result, isImage: isImage)
  }

  func refuseFlags(_ node: XNNGraph.Node, _ field: Int, allowed: Int = 0) throws(FormatError) -> Int {
    let flags = try node.table.uint(field)
    guard flags & ~allowed == 0 else { throw error("\(node.kind.schemaName) has flags \(flags), which cannot be read") }
    return flags
  }

  func padded(_ value: ValueID, _ pads: [Int], fill: Double = 0) throws(FormatError) -> ValueID {
    try emit(.constantPadNd, [("self", .value(value)), ("pad", .ints(pads)), ("value", .float(fill))])
  }

  // MARK: Constants

  /// Bytes that copies may still take, so that a small file cannot ask for any amount of memory.
  private var copyBudget: Int { file.storage.byteCount + (16 << 20) - copied }
  private var copied = 0

  mutating func charge(_ tensor: Tensor) throws(FormatError) {
    guard tensor.spec.byteCount <= copyBudget else { throw error("its constants are out of proportion to the file") }
    copied += tensor.spec.byteCount
  }

  /// A value's data as a window on the file, under sizes that may be ordered otherwise.
  func data(_ value: XNNGraph.Value, _ shape: Shape, dimOrder: DimOrder = .contiguous) throws(FormatError) -> Tensor {
    guard let dataType = value.datatype.dataType else { throw unreadable(value) }
    return try data(value.constant, TensorSpec(dataType, shape, dimOrder: dimOrder))
  }

  func data(_ index: Int, _ spec: TensorSpec) throws(FormatError) -> Tensor {
    let (start, count): (Int, Int)
    if graph.constants.indices.contains(index), index > 0 {
      let constant = graph.constants[index]
      if let offset = constant.offset {
        guard offset <= parts.constants.count, constant.size <= parts.constants.count - offset else {
          throw error("constant \(index) reaches outside the delegate's data")
        }
        (start, count) = (parts.constants.lowerBound + offset, constant.size)
      } else {
        guard let range = file.namedData[constant.key] else {
          throw error("the data '\(constant.key)' are not in the file")
        }
        builder.constantKeys.insert(constant.key)
        (start, count) = (range.lowerBound, range.count)
      }
    } else if graph.inlineConstants.indices.contains(index), index > 0 {
      let range = graph.inlineConstants[index]
      (start, count) = (parts.graph.lowerBound + range.lowerBound, range.count)
    } else {
      throw error("refers to constant \(index), which is not there")
    }
    guard spec.byteCount <= count else {
      throw error("constant \(index) has \(count) bytes; \(spec) needs \(spec.byteCount)")
    }
    return Tensor(spec, storage: file.storage, byteOffset: start)
  }

  /// A weight or bias as reals: float data, or integers behind a dequantize node. `axis` is that of its output channels.
  mutating func parameter(
    _ value: XNNGraph.Value, _ tensor: Tensor, name: String, axis: Int = 0
  ) throws(FormatError) -> ValueID {
    let id = builder.addConstant(name, tensor)
    switch value.datatype {
    case .fp32: return id
    case .qint8, .qint32: return try dequantized(id, value)
    case .qcint8, .qcint32: break
    default: throw unreadable(value)
    }
    guard case .perChannel(let inline, _, let constant, let count) = value.quantization else {
      throw error("'\(name)' has no scales")
    }
    let scales =
      inline.isEmpty
      ? try data(constant, TensorSpec(.float32, Shape([count]))) : Tensor(inline, shape: Shape([inline.count]))
    guard scales.shape.elementCount == tensor.shape[axis] else {
      throw error("'\(name)' has \(scales.shape.elementCount) scales for \(tensor.shape[axis]) channels")
    }
    let dataType = tensor.dataType
    return try emit(
      .dequantizePerChannel,
      [
        ("input", .value(id)), ("scales", .value(builder.addConstant(name + "_scale", scales))),
        ("zero_points", .attribute(.none)), ("axis", .int(axis)),
        ("quant_min", .int(dataType == .int8 ? -127 : Int(Int32.min))),
        ("quant_max", .int(dataType == .int8 ? 127 : Int(Int32.max))), ("dtype", .attribute(.dataType(dataType))),
      ])
  }
}
