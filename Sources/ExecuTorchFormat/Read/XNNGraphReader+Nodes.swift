import GraphIR
import Operators
import TensorCore
import TorchFormats

extension XNNGraphReader {
  mutating func read(_ node: XNNGraph.Node) throws(FormatError) {
    switch node.kind {
    case .add: try readBinary(node, .add)
    case .subtract: try readBinary(node, .sub)
    case .multiply: try readBinary(node, .mul)
    case .div: try readBinary(node, .div)
    case .minimum: try readBinary(node, .minimum)
    case .maximum: try readBinary(node, .maximum)
    case .batchMatrixMultiply: try readProduct(node)
    case .fullyConnected: try readFullyConnected(node)
    case .conv2d, .depthwiseConv2d: try readConvolution(node)
    case .convTranspose2d: try readTransposedConvolution(node)
    case .maxPooling2d, .avgPooling2d: try readPooling(node)
    case .globalAvgPooling2d: try readGlobalAverage(node)
    case .clamp, .convert, .copy: try readUnary(node, nil)
    case .sigmoid: try readUnary(node, .sigmoid)
    case .tanh: try readUnary(node, .tanh)
    case .hardswish: try readUnary(node, .hardswish)
    case .gelu: try readUnary(node, .gelu)
    case .abs: try readUnary(node, .abs)
    case .negate: try readUnary(node, .neg)
    case .square: try readUnary(node, .square)
    case .squareRoot: try readUnary(node, .sqrt)
    case .reciprocalSquareRoot: try readUnary(node, .rsqrt)
    case .exp: try readUnary(node, .exp)
    case .log: try readUnary(node, .log)
    case .sin: try readUnary(node, .sin)
    case .cos: try readUnary(node, .cos)
    case .floor: try readUnary(node, .floor)
    case .ceiling: try readUnary(node, .ceil)
    case .elu: try readUnary(node, .elu, parameter: "alpha")
    case .leakyReLU: try readUnary(node, .leakyRelu, parameter: "negative_slope")
    case .softmax: try readSoftmax(node)
    case .staticTranspose: try readTranspose(node)
    case .staticReshape: try readReshape(node)
    case .staticSlice: try readSlice(node)
    case .staticConstantPad: try readPad(node)
    case .staticResizeBilinear2D: try readResize(node)
    case .concatenate2: try readConcatenation(node, 2)
    case .concatenate3: try readConcatenation(node, 3)
    case .concatenate4: try readConcatenation(node, 4)
    case .concatenate5: try readConcatenation(node, 5)
    case .prelu, .argMaxPooling2d, .scaledDotProductAttention:
      throw error("needs \(node.kind.schemaName), which is not there")
    }
  }

  /// The node's result, after the bounds that its kind takes.
  private mutating func finish(
    _ node: XNNGraph.Node, _ output: Int, _ real: ValueID, isImage: Bool
  ) throws(FormatError) {
    try define(output, try bounded(real, node.bounds), isImage: isImage)
  }

  private func bounded(_ real: ValueID, _ bounds: (low: Float, high: Float)) throws(FormatError) -> ValueID {
    guard bounds.low <= bounds.high else { throw error("its bounds are \(bounds.low) and \(bounds.high)") }
    let (low, high) = (Double(bounds.low), Double(bounds.high))
    switch (low, high) {
    case (-.infinity, .infinity): return real
    case (0, .infinity): return try builder.emit(.relu, name: "relu", [("self", .value(real))], place)
    default:
      var arguments: [(String, Operand)] = [("self", .value(real))]
      if low.isFinite { arguments.append(("min", .float(low))) }
      if high.isFinite { arguments.append(("max", .float(high))) }
      return try builder.emit(.clamp, name: "clamp", arguments, place)
    }
  }

  private func name(_ op: Operator) -> String { op.functionName }

  private func refuseFlags(_ node: XNNGraph.Node, _ field: Int, allowed: Int = 0) throws(FormatError) -> Int {
    let flags = try node.table.uint(field)
    guard flags & ~allowed == 0 else { throw error("\(node.kind.schemaName) has flags \(flags), which cannot be read") }
    return flags
  }

  // MARK: Elementwise

  private mutating func readBinary(_ node: XNNGraph.Node, _ op: Operator) throws(FormatError) {
    let (a, b, output) = (try node.table.uint(0), try node.table.uint(1), try node.table.uint(2))
    // Sizes broadcast from the right, where an image has its channels in the delegate.
    let ranks = [try value(a).dimensions, try value(b).dimensions]
    let asImage =
      (isImage(a) || isImage(b)) && ranks.allSatisfy { $0.count == 4 || $0.allSatisfy { $0 == 1 } }
      && ranks.contains { $0.count == 4 }
    var operands: [ValueID] = []
    for (id, sizes) in zip([a, b], ranks) { operands.append(try real(id, asImage: asImage && sizes.count == 4)) }
    let result = try builder.emit(
      op, name: name(op), [("self", .value(operands[0])), ("other", .value(operands[1]))], place)
    try finish(node, output, result, isImage: asImage)
  }

  private mutating func readUnary(
    _ node: XNNGraph.Node, _ op: Operator?, parameter: String? = nil
  ) throws(FormatError) {
    let first = parameter == nil ? 0 : 1
    let (input, output) = (try node.table.uint(first), try node.table.uint(first + 1))
    let asImage = isImage(input)
    var real = try real(input, asImage: asImage)
    if let op {
      var arguments: [(String, Operand)] = [("self", .value(real))]
      if let parameter { arguments.append((parameter, .float(Double(try node.table.float(0))))) }
      real = try builder.emit(op, name: name(op), arguments, place)
    }
    try finish(node, output, real, isImage: asImage)
  }

  private mutating func readSoftmax(_ node: XNNGraph.Node) throws(FormatError) {
    let (input, output) = (try node.table.uint(0), try node.table.uint(1))
    let asImage = isImage(input)
    let result = try builder.emit(
      .softmax, name: "softmax",
      [("self", .value(try real(input, asImage: asImage))), ("dim", .int(asImage ? 1 : -1))], place)
    try finish(node, output, result, isImage: asImage)
  }

  // MARK: Products

  private mutating func readProduct(_ node: XNNGraph.Node) throws(FormatError) {
    let (a, b, output) = (try node.table.uint(0), try node.table.uint(1), try node.table.uint(2))
    let flags = try refuseFlags(node, 3, allowed: XNNFlag.transposeB)
    var other = try real(b, asImage: false)
    if flags & XNNFlag.transposeB != 0 {
      other = try builder.emit(
        .transposeInt, name: "transpose", [("self", .value(other)), ("dim0", .int(-2)), ("dim1", .int(-1))],
        place)
    }
    let result = try builder.emit(
      .matmul, name: "matmul",
      [("self", .value(try real(a, asImage: false))), ("other", .value(other))], place)
    try finish(node, output, result, isImage: false)
  }

  /// The bias of a layer, if it has one.
  private mutating func bias(_ id: Int, channels: Int) throws(FormatError) -> [(String, Operand)] {
    guard id != XNNGraph.noValue else { return [] }
    let value = try value(id)
    guard value.constant > 0 else { throw error("a bias is computed, which cannot be read") }
    let tensor = try data(value, Shape([channels]))
    return [("bias", .value(try parameter(value, tensor, name: "bias")))]
  }

  private mutating func readFullyConnected(_ node: XNNGraph.Node) throws(FormatError) {
    let t = node.table
    let flags = try refuseFlags(node, 4, allowed: XNNFlag.transposeWeights)
    let (input, output) = (try t.uint(0), try t.uint(3))
    let filter = try value(try t.uint(1))
    guard filter.dimensions.count == 2 else { throw error("a filter is \(filter.dimensions), not 2-D") }
    let weight: ValueID
    if filter.constant > 0 {
      var tensor = try data(filter, Shape(filter.dimensions))
      if flags & XNNFlag.transposeWeights != 0 { tensor = try transposed(tensor) }
      weight = try parameter(filter, tensor, name: "weight")
    } else {
      guard flags & XNNFlag.transposeWeights == 0 else { throw error("a computed filter is transposed") }
      weight = try real(try t.uint(1), asImage: false)
    }
    let channels = builder.spec(weight).shape[0]
    let result = try builder.emit(
      .linear, name: "linear",
      [("input", .value(try real(input, asImage: false))), ("weight", .value(weight))]
        + bias(try t.uint(2), channels: channels), place)
    try finish(node, output, result, isImage: false)
  }

  /// (in, out) to (out, in).
  private mutating func transposed(_ tensor: Tensor) throws(FormatError) -> Tensor {
    try charge(tensor)
    let (rows, columns) = (tensor.shape[0], tensor.shape[1])
    let image = TensorSpec(tensor.dataType, [1, columns, rows, 1], dimOrder: .channelsLast)
    return tensor.reinterpreted(as: image).rowMajor().reinterpreted(as: TensorSpec(tensor.dataType, [columns, rows]))
  }

  // MARK: Convolutions

  /// The fields that convolutions share: top, right, bottom, left; kernel; stride; dilation.
  private struct Window {
    let padding: [Int]
    let kernel: [Int]
    let stride: [Int]
    let dilation: [Int]

    init(_ t: FlatTable) throws(FormatError) {
      padding = [try t.uint(0), try t.uint(1), try t.uint(2), try t.uint(3)]
      kernel = [try t.uint(4), try t.uint(5)]
      stride = [try t.uint(6), try t.uint(7)]
      dilation = [try t.uint(8), try t.uint(9)]
    }
  }

  private mutating func readConvolution(_ node: XNNGraph.Node) throws(FormatError) {
    let t = node.table
    _ = try refuseFlags(node, 19)
    let window = try Window(t)
    let (input, output, groups) = (try t.uint(15), try t.uint(18), try t.uint(12))
    let filter = try value(try t.uint(16))
    guard filter.constant > 0, filter.dimensions.count == 4 else { throw error("a filter is not a 4-D constant") }
    let sizes = filter.dimensions
    var tensor: Tensor
    if node.kind == .depthwiseConv2d {
      // (1, H, W, channels): as an image of those channels, row-major is (channels, 1, H, W).
      guard sizes[0] == 1 else { throw error("a depthwise filter is \(sizes)") }
      tensor = try data(filter, Shape([1, sizes[3], sizes[1], sizes[2]]), dimOrder: .channelsLast)
      try charge(tensor)
      tensor = tensor.rowMajor().reinterpreted(
        as: TensorSpec(tensor.dataType, Shape([sizes[3], 1, sizes[1], sizes[2]])))
    } else {
      tensor = try data(filter, Shape([sizes[0], sizes[3], sizes[1], sizes[2]]), dimOrder: .channelsLast)
    }
    let channels = tensor.shape[0]
    var image = try real(input, asImage: true)
    let (pads, symmetric) = (window.padding, [window.padding[0], window.padding[3]])
    let isSymmetric = pads[0] == pads[2] && pads[1] == pads[3]
    if !isSymmetric { image = try padded(image, [pads[3], pads[1], pads[0], pads[2]]) }
    let result = try builder.emit(
      .conv2d, name: "conv2d",
      [("input", .value(image)), ("weight", .value(try parameter(filter, tensor, name: "weight")))]
        + bias(try t.uint(17), channels: channels) + [
          ("stride", .ints(window.stride)), ("padding", .ints(isSymmetric ? symmetric : [0, 0])),
          ("dilation", .ints(window.dilation)), ("groups", .int(groups)),
        ], place)
    try finish(node, output, result, isImage: true)
  }

  private func padded(_ value: ValueID, _ pads: [Int], fill: Double = 0) throws(FormatError) -> ValueID {
    try builder.emit(
      .constantPadNd, name: "constant_pad_nd",
      [("self", .value(value)), ("pad", .ints(pads)), ("value", .float(fill))], place)
  }

  private mutating func readTransposedConvolution(_ node: XNNGraph.Node) throws(FormatError) {
    let t = node.table
    _ = try refuseFlags(node, 19)
    let window = try Window(t)
    let pads = window.padding
    guard pads[0] == pads[2], pads[1] == pads[3] else { throw error("a transposed convolution has uneven padding") }
    let (groups, output) = (try t.uint(12), try t.uint(18))
    let filter = try value(try t.uint(16))
    guard filter.constant > 0, filter.dimensions.count == 4, groups == 1 else {
      throw error("a transposed convolution's filter is not a 4-D constant of one group")
    }
    // (O, H, W, I) in the file; ATen has (I, O, H, W).
    let sizes = filter.dimensions
    let stored = try data(filter, Shape([sizes[0], sizes[3], sizes[1], sizes[2]]), dimOrder: .channelsLast)
    try charge(stored)
    let weight = try parameter(filter, stored.rowMajor().swappingOuterDimensions(), name: "weight", axis: 1)
    let result = try builder.emit(
      .convTranspose2d, name: "conv_transpose2d",
      [("input", .value(try real(try t.uint(15), asImage: true))), ("weight", .value(weight))]
        + bias(try t.uint(17), channels: sizes[0]) + [
          ("stride", .ints(window.stride)), ("padding", .ints([pads[0], pads[3]])),
          ("output_padding", .ints([try t.uint(13), try t.uint(14)])), ("groups", .int(groups)),
          ("dilation", .ints(window.dilation)),
        ], place)
    try finish(node, output, result, isImage: true)
  }

  // MARK: Pooling

  private mutating func readPooling(_ node: XNNGraph.Node) throws(FormatError) {
    let window = try Window(node.table)
    let (input, output) = (try node.table.uint(10), try node.table.uint(11))
    let pads = window.padding
    let isMax = node.kind == .maxPooling2d
    // Far padding decides how many windows there are, which ceil_mode says in ATen: the sizes are compared afterwards.
    let ceil = pads[2] > pads[0] || pads[1] > pads[3]
    let isEven = pads[2] == pads[0] && pads[1] == pads[3]
    guard isMax || isEven else { throw error("\(node.kind.schemaName) has padding \(pads), which cannot be read") }
    var arguments: [(String, Operand)] = [
      ("self", .value(try real(input, asImage: true))), ("kernel_size", .ints(window.kernel)),
      ("stride", .ints(window.stride)), ("padding", .ints([pads[0], pads[3]])), ("ceil_mode", .bool(ceil)),
    ]
    // XNNPACK leaves padding out of an average.
    arguments.append(isMax ? ("dilation", .ints(window.dilation)) : ("count_include_pad", .bool(pads == [0, 0, 0, 0])))
    let result = try builder.emit(
      isMax ? .maxPool2d : .avgPool2d, name: isMax ? "max_pool2d" : "avg_pool2d",
      arguments, place)
    try finish(node, output, result, isImage: true)
  }

  private mutating func readGlobalAverage(_ node: XNNGraph.Node) throws(FormatError) {
    let (input, output) = (try node.table.uint(0), try node.table.uint(1))
    let keeps = try refuseFlags(node, 2, allowed: XNNFlag.keepDims) != 0
    let result = try builder.emit(
      .meanDim, name: "mean",
      [
        ("self", .value(try real(input, asImage: true))), ("dim", .ints([2, 3])), ("keepdim", .bool(keeps)),
      ], place)
    try finish(node, output, result, isImage: keeps)
  }

  // MARK: Movement

  private mutating func readTranspose(_ node: XNNGraph.Node) throws(FormatError) {
    let t = node.table
    let permutation = try t.uints(1)
    let (input, output) = (try t.uint(2), try t.uint(3))
    if permutation == [0, 2, 3, 1], !isImage(input) {
      return try define(output, try real(input, asImage: false), isImage: true)
    }
    if permutation == [0, 3, 1, 2], isImage(input) {
      return try define(output, try real(input, asImage: true), isImage: false)
    }
    let result = try builder.emit(
      .permute, name: "permute",
      [("self", .value(try real(input, asImage: false))), ("dims", .ints(permutation))], place)
    try define(output, result, isImage: false)
  }

  private mutating func readReshape(_ node: XNNGraph.Node) throws(FormatError) {
    let (input, output) = (try node.table.uint(2), try node.table.uint(3))
    // One size of the node may be left open; those of the value are not.
    let result = try builder.emit(
      .view, name: "view",
      [("self", .value(try real(input, asImage: false))), ("size", .ints(try value(output).dimensions))], place)
    try define(output, result, isImage: false)
  }

  private mutating func readSlice(_ node: XNNGraph.Node) throws(FormatError) {
    let t = node.table
    let (offsets, sizes) = (try t.uints(1), try t.uints(2))
    let (input, output) = (try t.uint(3), try t.uint(4))
    let asImage = isImage(input)
    var result = try real(input, asImage: asImage)
    let own = try value(input).dimensions
    guard offsets.count == own.count, sizes.count == own.count else { throw error("a slice of \(own) has \(sizes)") }
    for axis in own.indices where sizes[axis] != own[axis] {
      let (end, overflow) = offsets[axis].addingReportingOverflow(sizes[axis])
      guard !overflow, end <= own[axis] else { throw error("a slice reaches outside \(own)") }
      result = try builder.emit(
        .slice, name: "slice",
        [
          ("self", .value(result)), ("dim", .int(asImage ? [0, 2, 3, 1][axis] : axis)),
          ("start", .int(offsets[axis])), ("end", .int(end)),
        ], place)
    }
    try define(output, result, isImage: asImage)
  }

  private mutating func readPad(_ node: XNNGraph.Node) throws(FormatError) {
    let t = node.table
    var (before, after) = (try t.uints(0), try t.uints(1))
    let (input, output) = (try t.uint(3), try t.uint(4))
    let rank = try value(input).dimensions.count
    guard before.count == rank, after.count == rank else {
      throw error("padding \(before) does not fit \(rank) dimensions")
    }
    let asImage = isImage(input)
    if asImage { (before, after) = ([0, 3, 1, 2].map { before[$0] }, [0, 3, 1, 2].map { after[$0] }) }
    var pads = zip(before, after).reversed().flatMap { [$0, $1] }
    while pads.count > 2, pads.suffix(2) == [0, 0] { pads.removeLast(2) }
    let result = try padded(try real(input, asImage: asImage), pads, fill: Double(try t.float(2)))
    try define(output, result, isImage: asImage)
  }

  private mutating func readResize(_ node: XNNGraph.Node) throws(FormatError) {
    let t = node.table
    let flags = try refuseFlags(node, 4, allowed: XNNFlag.alignCorners)
    let result = try builder.emit(
      .upsampleBilinear2d, name: "upsample_bilinear2d",
      [
        ("input", .value(try real(try t.uint(2), asImage: true))),
        ("output_size", .ints([try t.uint(0), try t.uint(1)])), ("align_corners", .bool(flags != 0)),
        ("scale_factors", .attribute(.none)),
      ], place)
    try define(try t.uint(3), result, isImage: true)
  }

  private mutating func readConcatenation(_ node: XNNGraph.Node, _ count: Int) throws(FormatError) {
    let t = node.table
    let axis = try t.uint(0)
    let output = try t.uint(5)
    var inputs: [Int] = []
    for index in 0..<count { inputs.append(try t.uint(index < 4 ? 1 + index : 7)) }
    let asImage = inputs.contains { isImage($0) }
    guard axis < (try value(output).dimensions.count) else { throw error("concatenates along dimension \(axis)") }
    var parts: [ValueID] = []
    for input in inputs { parts.append(try real(input, asImage: asImage)) }
    let result = try builder.emit(
      .cat, name: "cat",
      [("tensors", .values(parts)), ("dim", .int(asImage ? [0, 2, 3, 1][axis] : axis))], place)
    try define(output, result, isImage: asImage)
  }
}

extension Tensor {
  /// A row-major (O, I, H, W) as (I, O, H, W).
  fileprivate func swappingOuterDimensions() -> Tensor {
    let (rows, columns, size) = (shape[0], shape[1], shape[2] * shape[3] * dataType.size)
    let target = TensorSpec(dataType, Shape([columns, rows, shape[2], shape[3]]))
    return Tensor(unsafeUninitialized: target) { bytes in
      withUnsafeBytes { from in
        for row in 0..<rows {
          for column in 0..<columns {
            let place = (column * rows + row) * size
            UnsafeMutableRawBufferPointer(rebasing: bytes[place..<place + size]).copyBytes(
              from: from[(row * columns + column) * size..<(row * columns + column + 1) * size])
          }
        }
      }
    }
  }
}
