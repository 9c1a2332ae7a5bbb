import GraphIR
import Lowering
import Operators
import TensorCore

/// How one operator becomes nodes of ExecuTorch's XNNPACK delegate.
struct XNNNodeRule: Sendable {
  /// Why the delegate cannot run a call; nil when it can.
  let reasonAgainst: @Sendable (OperatorCall) throws(OperatorError) -> String?
  let write: @Sendable (inout XNNGraphWriter, Node, OperatorCall) throws(OperatorError) -> Void
}

/// What ExecuTorch's XNNPACK delegate runs.
struct XNNSupport: DelegateSupport {
  func reasonAgainst(_ call: OperatorCall) -> String? {
    guard let rule = XNNNodeTable.byOperator[call.op] else {
      return "the XNNPACK delegate has no operator for it"
    }
    for spec in call.inputs + call.outputs {
      if spec.shape.rank > XNNGraph.maximumRank { return "a tensor has \(spec.shape.rank) dimensions" }
      if spec.shape.elementCount == 0 { return "a tensor is empty" }
      if spec.dataType != .float32, spec.quantization == nil, spec.dataType != .int32 {
        return "it computes \(spec.dataType)"
      }
    }
    do { return try rule.reasonAgainst(call) } catch { return error.reason }
  }
}

/// All operators that the delegate takes, by name.
enum XNNNodeTable {
  static let byOperator: [Operator: XNNNodeRule] = {
    var table: [Operator: XNNNodeRule] = [
      .fusedConv2d: .convolution, .convTranspose2d: .transposedConvolution,
      .fusedDynamicConv2d: .dynamicConvolution, .fusedLinear: .fullyConnected,
      .fusedDynamicLinear: .dynamicFullyConnected,
      .fusedAdd: .binary(.add), .fusedSub: .binary(.subtract), .fusedMul: .binary(.multiply),
      .div: .binary(.div), .minimum: .binary(.minimum),
      .maximum: .binary(.maximum), .bmm: .product, .mm: .product,
      .matmul: .product,
      .fusedMaxPool2d: .maxPooling, .fusedAvgPool2d: .averagePooling, .fusedClamp: .unary(.clamp),
      .fusedQuantize: .unary(.convert), .fusedDequantize: .unary(.convert), .fusedPad: .constantPad,
      .fusedSlice: .slice, .fusedCat: .concatenate, .fusedView: .reshape,
      .toDimOrderCopy: .transpose, .permute: .transpose,
      .transposeInt: .transpose, .softmax: .softmax, .pow: .square,
      .elu: .elu, .leakyRelu: .leakyReLU, .gelu: .gelu,
    ]
    for (name, kind) in unary { table[name] = .unary(kind) }
    for name in views { table[name] = .reshape }
    return table
  }()

  private static let unary: [(Operator, XNNNodeKind)] = [
    (.sigmoid, .sigmoid), (.tanh, .tanh), (.hardswish, .hardswish),
    (.abs, .abs), (.neg, .negate), (.square, .square),
    (.sqrt, .squareRoot), (.rsqrt, .reciprocalSquareRoot), (.exp, .exp),
    (.log, .log), (.sin, .sin), (.cos, .cos),
    (.floor, .floor), (.ceil, .ceiling), (.clone, .copy),
    (.alias, .copy),
  ]

  private static let views: [Operator] = [
    .view, .reshape, .flatten, .squeeze,
    .unsqueeze,
  ]
}

extension OperatorCall {
  /// The bounds of the result as reals: infinite where there are none, or where int8 ends anyway.
  fileprivate func realBounds() throws(OperatorError) -> (low: Float, high: Float) {
    guard schema.parameter(named: "output_min") != nil else { return (-.infinity, .infinity) }
    let (low, high) = (Float(try float("output_min")), Float(try float("output_max")))
    guard let quantization = outputs[0].quantization else { return (low, high) }
    func real(_ quantum: Float) -> Float { (quantum - Float(quantization.zeroPoint)) * quantization.scale }
    return (low > -128 ? real(low) : -.infinity, high < 127 ? real(high) : .infinity)
  }
}

extension XNNNodeRule {
  private static func accept(_ call: OperatorCall) throws(OperatorError) -> String? { nil }

  private static func one(
    _ kind: XNNNodeKind, _ writer: inout XNNGraphWriter, _ node: Node, _ call: OperatorCall, parameter: Float? = nil
  ) throws(OperatorError) {
    let first = parameter == nil ? 0 : 1
    let (input, output) = (writer.id(node.inputs[0]), writer.id(node.output))
    writer.addNode(
      kind, (parameter.map { [.float(0, $0)] } ?? []) + [.int(first, input), .int(first + 1, output)],
      bounds: try call.realBounds())
  }

  static func unary(_ kind: XNNNodeKind) -> XNNNodeRule {
    XNNNodeRule(reasonAgainst: accept) { writer, node, call throws(OperatorError) in
      try one(kind, &writer, node, call)
    }
  }

  static let square = XNNNodeRule { call throws(OperatorError) in
    try call.float("exponent") == 2 ? nil : "the delegate has powers of two only"
  } write: { writer, node, call throws(OperatorError) in
    try one(.square, &writer, node, call)
  }

  static let elu = XNNNodeRule { call throws(OperatorError) in
    let (scale, inputScale) = (try call.float("scale"), try call.float("input_scale"))
    return scale == 1 && inputScale == 1 ? nil : "the delegate has no scale"
  } write: { writer, node, call throws(OperatorError) in
    try one(.elu, &writer, node, call, parameter: Float(call.float("alpha")))
  }

  static let leakyReLU = XNNNodeRule(reasonAgainst: accept) { writer, node, call throws(OperatorError) in
    try one(.leakyReLU, &writer, node, call, parameter: Float(call.float("negative_slope")))
  }

  static let gelu = XNNNodeRule { call throws(OperatorError) in
    try call.string("approximate") == "none" ? nil : "the delegate has the exact form only"
  } write: { writer, node, call throws(OperatorError) in
    try one(.gelu, &writer, node, call)
  }

  static let softmax = XNNNodeRule { call throws(OperatorError) in
    let (dim, rank) = (try call.int("dim"), call.inputs[0].shape.rank)
    return dim == -1 || dim == rank - 1 ? nil : "the delegate takes the last dimension only"
  } write: { writer, node, call throws(OperatorError) in
    try one(.softmax, &writer, node, call)
  }

  static func binary(_ kind: XNNNodeKind) -> XNNNodeRule {
    XNNNodeRule { call throws(OperatorError) in
      let shapes = call.inputs.map(\.shape)
      guard call.inputs.count == 2 else { return "an operand is a scalar" }
      if call.schema.parameter(named: "alpha") != nil, try call.float("alpha") != 1 { return "alpha is not 1" }
      // Channels last, sizes of other ranks would be aligned at another dimension.
      if call.inputs.contains(where: { $0.dimOrder == .channelsLast }), shapes[0].rank != shapes[1].rank {
        return "its operands differ in rank"
      }
      return nil
    } write: { writer, node, call throws(OperatorError) in
      let (a, b, output) = (writer.id(node.inputs[0]), writer.id(node.inputs[1]), writer.id(node.output))
      writer.addNode(kind, [.int(0, a), .int(1, b), .int(2, output)], bounds: try call.realBounds())
    }
  }

  static let product = XNNNodeRule { call throws(OperatorError) in
    guard call.inputs.allSatisfy({ $0.quantization == nil }) else {
      return "the delegate has no int8 product of activations"
    }
    let (a, b) = (call.inputs[0].shape, call.inputs[1].shape)
    if b.rank == 2, a.rank >= 2, call.constants[1] != nil { return nil }
    guard a.rank == b.rank, a.rank == 3, a[0] == b[0] else {
      return "the delegate takes two 3-D operands of one batch, or a constant matrix"
    }
    return nil
  } write: { writer, node, call throws(OperatorError) in
    let (a, b, output) = (writer.id(node.inputs[0]), writer.id(node.inputs[1]), writer.id(node.output))
    if call.inputs[1].shape.rank == 2 {
      writer.addNode(
        .fullyConnected,
        [.int(0, a), .int(1, b), .int(2, UInt32.max), .int(3, output), .int(4, UInt32(XNNFlag.transposeWeights))])
    } else {
      writer.addNode(.batchMatrixMultiply, [.int(0, a), .int(1, b), .int(2, output)])
    }
  }

  // MARK: Movement

  static let reshape = XNNNodeRule(reasonAgainst: accept) { writer, node, call throws(OperatorError) in
    let sizes = writer.openSizes(node.output)
    let (shape, input, output) = (writer.vector(sizes), writer.id(node.inputs[0]), writer.id(node.output))
    writer.addNode(
      .staticReshape, [.int(0, UInt32(sizes.count)), .reference(1, shape), .int(2, input), .int(3, output)])
  }

  static let transpose = XNNNodeRule(reasonAgainst: accept) { writer, node, call throws(OperatorError) in
    let rank = call.inputs[0].shape.rank
    var permutation = Array(0..<rank)
    if call.schema.parameter(named: "dims") != nil {
      permutation = try call.ints("dims").map { $0 < 0 ? $0 + rank : $0 }
    } else if call.schema.parameter(named: "dim0") != nil {
      let dims = [try call.int("dim0"), try call.int("dim1")].map { $0 < 0 ? $0 + rank : $0 }
      permutation.swapAt(dims[0], dims[1])
    } else if call.inputs[0].dimOrder != call.outputs[0].dimOrder {
      permutation = call.outputs[0].dimOrder == .channelsLast ? [0, 2, 3, 1] : [0, 3, 1, 2]
    }
    let (order, input, output) = (writer.vector(permutation), writer.id(node.inputs[0]), writer.id(node.output))
    writer.addNode(
      .staticTranspose, [.int(0, UInt32(rank)), .reference(1, order), .int(2, input), .int(3, output)])
  }

  /// Sizes of logical dimensions in the order of memory.
  private static func ordered(_ sizes: [Int], _ spec: TensorSpec) -> [Int] {
    spec.dimOrder == .channelsLast ? [0, 2, 3, 1].map { sizes[$0] } : sizes
  }

  static let constantPad = XNNNodeRule { call throws(OperatorError) in
    try call.ints("interior").allSatisfy { $0 == 0 } ? nil : "the delegate has no padding between elements"
  } write: { writer, node, call throws(OperatorError) in
    let before = writer.vector(ordered(try call.ints("pre"), call.inputs[0]))
    let after = writer.vector(ordered(try call.ints("post"), call.inputs[0]))
    let (value, input, output) = (Float(try call.float("value")), writer.id(node.inputs[0]), writer.id(node.output))
    writer.addNode(
      .staticConstantPad,
      [.reference(0, before), .reference(1, after), .float(2, value), .int(3, input), .int(4, output)])
  }

  static let slice = XNNNodeRule { call throws(OperatorError) in
    try call.int("step") == 1 ? nil : "the delegate takes neighbours only"
  } write: { writer, node, call throws(OperatorError) in
    let input = call.inputs[0]
    var offsets = [Int](repeating: 0, count: input.shape.rank)
    offsets[input.shape.normalizedDimension(try call.int("dim")) ?? 0] = try call.int("start")
    let (start, sizes) = (
      writer.vector(ordered(offsets, input)), writer.vector(XNNGraphWriter.memorySizes(call.outputs[0]))
    )
    let (source, output) = (writer.id(node.inputs[0]), writer.id(node.output))
    writer.addNode(
      .staticSlice,
      [
        .int(0, UInt32(input.shape.rank)), .reference(1, start), .reference(2, sizes), .int(3, source),
        .int(4, output),
      ])
  }

  static let concatenate = XNNNodeRule { call throws(OperatorError) in
    (2...5).contains(call.inputs.count) ? nil : "the delegate concatenates two to five parts"
  } write: { writer, node, call throws(OperatorError) in
    let output = call.outputs[0]
    let dim = output.shape.normalizedDimension(try call.int("dim")) ?? 0
    let axis = output.dimOrder == .channelsLast ? [0, 3, 1, 2][dim] : dim
    let kinds: [Int: XNNNodeKind] = [2: .concatenate2, 3: .concatenate3, 4: .concatenate4, 5: .concatenate5]
    guard let kind = kinds[node.inputs.count] else { throw call.error("has \(node.inputs.count) parts") }
    var fields: [FlatBufferBuilder.Field] = [.int(0, UInt32(axis))]
    for index in 0..<5 {
      let id = index < node.inputs.count ? writer.id(node.inputs[index]) : UInt32.max
      fields.append(.int(index < 4 ? 1 + index : 7, id))
    }
    writer.addNode(kind, fields + [.int(5, writer.id(node.output))])
  }

  // MARK: Pooling

  /// The fields that windows share: padding (top, right, bottom, left), kernel, stride, dilation.
  private static func window(
    _ call: OperatorCall, kernel: (height: Int, width: Int)
  ) throws(OperatorError) -> [FlatBufferBuilder.Field] {
    let pads = try call.ints("padding")
    let padding = pads.count == 4 ? pads : [Int](repeating: pads[0], count: 4)
    let stride = try call.pair("stride")
    let dilation = call.schema.parameter(named: "dilation") == nil ? (height: 1, width: 1) : try call.pair("dilation")
    let numbers = padding + [kernel.height, kernel.width, stride.height, stride.width, dilation.height, dilation.width]
    return numbers.enumerated().map { .int($0, UInt32($1)) }
  }

  static let maxPooling = XNNNodeRule { call throws(OperatorError) in
    let (kernel, stride) = (try call.pair("kernel_size"), try call.pair("stride"))
    guard kernel.height > 1 || kernel.width > 1 else { return "the delegate has no window of one element" }
    return stride.height <= kernel.height && stride.width <= kernel.width ? nil : "its stride is larger than its window"
  } write: { writer, node, call throws(OperatorError) in
    let fields = try window(call, kernel: call.pair("kernel_size"))
    let (input, output) = (writer.id(node.inputs[0]), writer.id(node.output))
    writer.addNode(.maxPooling2d, fields + [.int(10, input), .int(11, output)], bounds: try call.realBounds())
  }

  static let averagePooling = XNNNodeRule { call throws(OperatorError) in
    try call.ints("padding").allSatisfy { $0 == 0 } ? nil : "the delegate leaves padding out of the mean"
  } write: { writer, node, call throws(OperatorError) in
    let (kernel, shape) = (try call.pair("kernel_size"), call.inputs[0].shape)
    let (input, output) = (writer.id(node.inputs[0]), writer.id(node.output))
    if kernel == (shape[2], shape[3]) {
      writer.addNode(
        .globalAvgPooling2d, [.int(0, input), .int(1, output), .int(2, UInt32(XNNFlag.keepDims))],
        bounds: try call.realBounds())
    } else {
      let fields = try window(call, kernel: kernel)
      writer.addNode(.avgPooling2d, fields + [.int(10, input), .int(11, output)], bounds: try call.realBounds())
    }
  }

  // MARK: Layers

  private static func constantLayer(_ call: OperatorCall) throws(OperatorError) -> String? {
    guard try call.constant("weight") != nil else { return "its weight is not a constant" }
    if try call.optionalSpec("bias") != nil, try call.constant("bias") == nil { return "its bias is not a constant" }
    return nil
  }

  /// The layer's bias; an int32 one with the scales of its accumulator.
  private static func bias(
    _ writer: inout XNNGraphWriter, _ node: Node, _ call: OperatorCall
  ) throws(OperatorError) -> UInt32 {
    guard let tensor = try call.constant("bias"), let id = node.value("bias") else { return UInt32.max }
    guard tensor.dataType == .int32, let input = try call.spec("input").quantization,
      let weight = try call.spec("weight").quantization
    else { return writer.id(id) }
    let scales = weight.scales.map { input.scale * $0 }
    var spec = tensor.spec
    spec.quantization =
      weight.isPerChannel
      ? QuantizationParameters(perChannel: scales, axis: 0) : QuantizationParameters(scale: scales[0], zeroPoint: 0)
    return writer.addConstant(tensor.reinterpreted(as: spec), sizes: spec.shape.dimensions, axis: 0)
  }

  static let convolution = XNNNodeRule(reasonAgainst: constantLayer) { writer, node, call throws(OperatorError) in
    guard let input = node.value("input") else { throw call.error("has no input") }
    try convolution(&writer, node, call, writer.id(input))
  }

  private static func convolution(
    _ writer: inout XNNGraphWriter, _ node: Node, _ call: OperatorCall, _ input: UInt32
  ) throws(OperatorError) {
    guard let weight = try call.constant("weight"), let weightID = node.value("weight") else {
      throw call.error("has no weight")
    }
    let (shape, groups) = (weight.shape, try call.int("groups"))
    let channels = try call.spec("input").shape[1]
    let isDepthwise = groups > 1 && groups == channels
    let filter: UInt32
    if isDepthwise {
      let order = [1, shape[2], shape[3], shape[0]]
      filter = writer.addConstant(weight.channelsInnermost(), sizes: order, axis: 3)
    } else {
      filter = writer.id(weightID)
    }
    let (bias, output) = (try bias(&writer, node, call), writer.id(node.output))
    let perGroup: [FlatBufferBuilder.Field] = [
      .int(10, UInt32(channels / groups)), .int(11, UInt32(shape[0] / groups)), .int(12, UInt32(groups)),
      .int(15, input), .int(16, filter), .int(17, bias), .int(18, output),
    ]
    writer.addNode(
      isDepthwise ? .depthwiseConv2d : .conv2d, try window(call, kernel: (shape[2], shape[3])) + perGroup,
      bounds: try call.realBounds())
  }

  static let dynamicConvolution = XNNNodeRule { call throws(OperatorError) in
    let (input, groups) = (try call.spec("input").shape, try call.int("groups"))
    guard input[0] == 1 else { return "the delegate chooses parameters for each image" }
    guard groups == 1 || groups != input[1] else { return "the delegate has no depthwise convolution of this kind" }
    guard try call.spec("weight").quantization?.isPerChannel ?? false, try call.string("rule") == "affine" else {
      return "the delegate takes weights with a scale per channel, and affine inputs only"
    }
    return try constantLayer(call)
  } write: { writer, node, call throws(OperatorError) in
    guard let input = node.value("input") else { throw call.error("has no input") }
    let sizes = XNNGraphWriter.memorySizes(call.inputs[0])
    let (source, quantized) = (writer.id(input), writer.addDynamicValue(sizes, nonBatch: sizes.count - 1))
    writer.addNode(.convert, [.int(0, source), .int(1, quantized)])
    try convolution(&writer, node, call, quantized)
  }

  /// The filter is the delegate's, (O, H, W, I).
  static let transposedConvolution = XNNNodeRule(reasonAgainst: constantLayer) {
    writer, node, call throws(OperatorError) in
    guard let weight = node.value("weight"), let inputID = node.value("input") else {
      throw call.error("has no weight")
    }
    let shape = try call.spec("weight").shape
    let (padding, stride, dilation) = (
      try call.pair("padding"), try call.pair("stride"), try call.pair("dilation")
    )
    let extra = try call.pair("output_padding")
    let (input, filter) = (writer.id(inputID), writer.id(weight))
    let (bias, output) = (try bias(&writer, node, call), writer.id(node.output))
    let numbers = [
      padding.height, padding.width, padding.height, padding.width, shape[2], shape[3], stride.height, stride.width,
      dilation.height, dilation.width, shape[1], shape[0], 1, extra.height, extra.width,
    ]
    writer.addNode(
      .convTranspose2d,
      numbers.enumerated().map { .int($0, UInt32($1)) } + [
        .int(15, input), .int(16, filter), .int(17, bias), .int(18, output),
      ])
  }

  private static func fullyConnected(
    _ writer: inout XNNGraphWriter, _ node: Node, _ call: OperatorCall, _ input: UInt32
  ) throws(OperatorError) {
    guard let weight = node.value("weight") else { throw call.error("has no weight") }
    let (filter, bias, output) = (writer.id(weight), try bias(&writer, node, call), writer.id(node.output))
    writer.addNode(
      .fullyConnected, [.int(0, input), .int(1, filter), .int(2, bias), .int(3, output)],
      bounds: try call.realBounds())
  }

  static let fullyConnected = XNNNodeRule(reasonAgainst: constantLayer) { writer, node, call throws(OperatorError) in
    guard let input = node.value("input") else { throw call.error("has no input") }
    try fullyConnected(&writer, node, call, writer.id(input))
  }

  static let dynamicFullyConnected = XNNNodeRule { call throws(OperatorError) in
    guard
      try call.string("rule") == "token" || call.inputs[0].shape.elementCount == call.inputs[0].shape.dimensions.last
    else { return "the delegate chooses parameters for each row" }
    guard try call.spec("weight").quantization?.isPerChannel ?? false else {
      return "the delegate takes weights with a scale per channel only"
    }
    return try constantLayer(call)
  } write: { writer, node, call throws(OperatorError) in
    guard let input = node.value("input") else { throw call.error("has no input") }
    let (source, quantized) = (writer.id(input), writer.addDynamicValue(call.inputs[0].shape.dimensions, nonBatch: 1))
    writer.addNode(.convert, [.int(0, source), .int(1, quantized)])
    try fullyConnected(&writer, node, call, quantized)
  }
}

extension Tensor {
  /// A depthwise filter (O, 1, H, W), in whatever order, with O innermost in memory.
  fileprivate func channelsInnermost() -> Tensor {
    let plain = rowMajor()
    let image = TensorSpec(dataType, [1, shape[0], shape[2], shape[3]])
    return plain.reinterpreted(as: image).channelsLast().reinterpreted(
      as: TensorSpec(dataType, shape, quantization: spec.quantization))
  }
}
