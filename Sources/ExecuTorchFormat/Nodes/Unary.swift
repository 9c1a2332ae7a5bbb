import GraphIR
import Operators
import TensorCore
import TorchFormats

extension DelegateRow {
  static let unary: [DelegateRow] = [
    function(.sigmoid, [.sigmoid]), function(.tanh, [.tanh]), function(.hardswish, [.hardswish]),
    function(.abs, [.abs]), function(.negate, [.neg]), function(.squareRoot, [.sqrt]),
    function(.reciprocalSquareRoot, [.rsqrt]), function(.exp, [.exp]), function(.log, [.log]), function(.sin, [.sin]),
    function(.cos, [.cos]), function(.floor, [.floor]), function(.ceiling, [.ceil]),
    function(.square, [.square, .pow]) { call throws(OperatorError) in
      if call.op == .square { return nil }
      return try call.float("exponent") == 2 ? nil : "the delegate has powers of two only"
    },
    function(.gelu, [.gelu]) { call throws(OperatorError) in
      try call.string("approximate") == "none" ? nil : "the delegate has the exact form only"
    },
    function(.elu, [.elu], parameter: "alpha") { call throws(OperatorError) in
      let (scale, inputScale) = (try call.float("scale"), try call.float("input_scale"))
      return scale == 1 && inputScale == 1 ? nil : "the delegate has no scale"
    },
    function(.leakyReLU, [.leakyRelu], parameter: "negative_slope"),
    identity(.clamp, [.fusedClamp]), identity(.convert, [.fusedQuantize, .fusedDequantize]),
    identity(.copy, [.clone, .alias]), prelu,
  ]

  /// A function of one element, which is read as the first operator. `parameter` is the name of its number.
  private static func function(
    _ kind: XNNNodeKind, _ operators: [Operator], parameter: String? = nil,
    reasonAgainst: @escaping @Sendable (OperatorCall) throws(OperatorError) -> String? = { _ in nil }
  ) -> DelegateRow {
    let first = parameter == nil ? 0 : 1
    return DelegateRow([kind], operators, reasonAgainst: reasonAgainst) { writer, node, call throws(OperatorError) in
      var fields: [FlatBufferBuilder.Field] = []
      if let parameter { fields.append(.float(0, Float(try call.float(parameter)))) }
      try writer.addNode(kind, call, [node.inputs[0], node.output], from: first, fields: fields)
    } read: { reader, node throws(FormatError) in
      let (input, output) = try node.ids(first, first + 1)
      let asImage = reader.isImage(input)
      var arguments: [(String, Operand)] = [("self", .value(try reader.real(input, asImage: asImage)))]
      if let parameter { arguments.append((parameter, .float(Double(try node.table.float(0))))) }
      try reader.finish(node, output, try reader.emit(operators[0], arguments), isImage: asImage)
    }
  }

  /// A node that changes nothing but by its bounds, and by how its result is held.
  private static func identity(_ kind: XNNNodeKind, _ operators: [Operator]) -> DelegateRow {
    DelegateRow([kind], operators) { writer, node, call throws(OperatorError) in
      try writer.addNode(kind, call, [node.inputs[0], node.output])
    } read: { reader, node throws(FormatError) in
      let (input, output) = try node.ids(0, 1)
      let asImage = reader.isImage(input)
      try reader.finish(node, output, try reader.real(input, asImage: asImage), isImage: asImage)
    }
  }

  /// Slopes of channels, which are the last dimension of an image in memory, and of a matrix.
  private static let prelu = DelegateRow([.prelu], [.prelu]) { call throws(OperatorError) in
    let input = try call.spec("self")
    return input.dimOrder == .channelsLast || input.shape.rank == 2 ? nil : "its channels are not innermost"
  } write: { writer, node, call throws(OperatorError) in
    guard let slopes = node.value("weight") else { throw call.error("has no weight") }
    try writer.addNode(.prelu, call, [node.inputs[0], slopes, node.output])
  } read: { reader, node throws(FormatError) in
    let (input, weight, output) = try node.ids(0, 1, 2)
    let sizes = try reader.value(weight).dimensions
    guard sizes.dropLast().allSatisfy({ $0 == 1 }), let count = sizes.last else {
      throw reader.error("the slopes of a PReLU are \(sizes), not one for each channel")
    }
    let slopes = try reader.builder.scalarView(reader.real(weight, asImage: false), [count], reader.place)
    let rows =
      sizes.count == 1 || reader.builder.spec(slopes).shape.rank == 1
      ? slopes : try reader.emit(.view, [("self", .value(slopes)), ("size", .ints([count]))])
    // What is no image is a matrix of rows, or has its channels elsewhere.
    let rank = try reader.value(input).dimensions.count
    guard rank == 2 || rank == 4 || count == 1 else { throw reader.error("a PReLU of rank \(rank) cannot be read") }
    let result = try reader.emit(
      .prelu, [("self", .value(try reader.real(input, asImage: rank == 4))), ("weight", .value(rows))])
    try reader.finish(node, output, result, isImage: rank == 4)
  }
}

extension KernelRow {
  static let unary: [KernelRow] = [
    .init("aten::relu.out", .relu, "self"),
    .init("aten::hardtanh.out", .hardtanh, "self min_val max_val"),
    .init("aten::clamp.out", .clamp, "self min max"),
    .init("aten::sigmoid.out", .sigmoid, "self"),
    .init("aten::tanh.out", .tanh, "self"),
    .init("aten::gelu.out", .gelu, "self approximate"),
    .init("aten::elu.out", .elu, "self alpha scale input_scale"),
    .init("aten::leaky_relu.out", .leakyRelu, "self negative_slope"),
    .init("aten::exp.out", .exp, "self"),
    .init("aten::log.out", .log, "self"),
    .init("aten::sin.out", .sin, "self"),
    .init("aten::cos.out", .cos, "self"),
    .init("aten::erf.out", .erf, "self"),
    .init("aten::floor.out", .floor, "self"),
    .init("aten::ceil.out", .ceil, "self"),
    .init("aten::round.out", .round, "self"),
    .init("aten::neg.out", .neg, "self"),
    .init("aten::abs.out", .abs, "self"),
    .init("aten::sqrt.out", .sqrt, "self"),
    .init("aten::rsqrt.out", .rsqrt, "self"),
    .init("aten::pow.Tensor_Scalar_out", .pow, "self exponent"),
    .init("aten::bitwise_right_shift.Tensor_Scalar_out", .bitwiseRightShift, "self other"),
  ]
}

extension RewriteRow {
  static let unary: [RewriteRow] = [
    RewriteRow([.fusedLUT], table),
    RewriteRow(.traits(.clamps)) { rewriter, call throws(GraphError) in
      guard let bounds = call.op.bounds, call.output.dataType == .float32 else { return nil }
      let (low, high) = try rewriter.read(call, bounds)
      // Where they cross, the upper bound wins, as in PyTorch.
      return try rewriter.clamp(call, min(low, high), high)
    },
    RewriteRow([.clampMin]) { rewriter, call throws(GraphError) in
      let low = try rewriter.read(call) { call throws(OperatorError) in try call.float("min") }
      return try rewriter.clamp(call, low, .infinity)
    },
    RewriteRow([.silu]) { rewriter, call throws(GraphError) in
      let input = try call.value("self")
      return try rewriter.emit(.fusedMul, call, [input, rewriter.emit(.sigmoid, call, [input])])
    },
    RewriteRow([.hardsigmoid]) { rewriter, call throws(GraphError) in
      let shifted = try rewriter.emit(
        .fusedAdd, call, [call.value("self"), rewriter.scalar(3, call)],
        ["output_min": .float(0), "output_max": .float(6)])
      return try rewriter.emit(.fusedMul, call, [shifted, rewriter.scalar(1 / 6, call)])
    },
    RewriteRow([.rsub]) { rewriter, call throws(GraphError) in
      let (other, alpha) = try rewriter.read(call) { call throws(OperatorError) in
        (Float(try call.float("other")), Float(try call.float("alpha")))
      }
      var subtrahend = try call.value("self")
      if alpha != 1 { subtrahend = try rewriter.emit(.fusedMul, call, [subtrahend, rewriter.scalar(alpha, call)]) }
      return try rewriter.emit(.fusedSub, call, [rewriter.scalar(other, call), subtrahend])
    },
    RewriteRow([.prelu], prelu),
  ]

  /// An int8 table: the function that it was made of, on reals between integers.
  private static func table(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    let real = try rewriter.dequantized(call.value("self"), call)
    guard let origin = rewriter.origin(of: call) else {
      throw rewriter.error(call, "nothing says which function its table holds")
    }
    if origin.op.has(.pointwise) {
      var function = call
      function.op = origin.op
      function.arguments = origin.arguments.map { argument in
        Node.Argument(argument.name, argument.operand.valueIDs.isEmpty ? argument.operand : .value(real))
      }
      function.outputs = [rewriter.spec(real)]
      return try rewriter.settled(rewriter.rewrite(function)[0], as: call.output, call)
    }
    // Of what computes nothing, a table changes the parameters alone.
    guard origin.op.isAny([.movesElements, .choosesElements, .quantizeDequantize]) else {
      throw rewriter.error(call, "its table is of \(origin.op), which is no function of one element")
    }
    return try rewriter.settled(real, as: call.output, call)
  }

  /// An image of the channels that PyTorch takes, which is how the delegate has them innermost.
  private static func prelu(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    let (input, shape) = (try call.value("self"), call.output.shape)
    guard shape.rank != 2 else { return nil }
    let channels = shape.rank < 2 ? 1 : shape[1]
    let (batch, rest) =
      shape.rank < 2 ? (shape.elementCount, 1) : (shape[0], shape.dimensions.dropFirst(2).reduce(1, *))
    let image = shape.rank == 4 ? shape : [batch, channels, rest, 1]
    let value = try rewriter.reordered(rewriter.viewed(input, image, call), .channelsLast, call)
    var output = call.output
    (output.shape, output.dimOrder) = (image, .channelsLast)
    let result = try rewriter.emit(.prelu, call, [value, call.value("weight")], [:], output)
    return try rewriter.viewed(rewriter.reordered(result, .contiguous, call), shape, call)
  }
}

extension EdgeRewriter {
  /// A clamp by bounds that may be infinite.
  fileprivate mutating func clamp(_ call: Call, _ low: Double, _ high: Double) throws(GraphError) -> ValueID {
    var bounds: [String: Operand] = [:]
    if low.isFinite { bounds["output_min"] = .float(low) }
    if high.isFinite { bounds["output_max"] = .float(high) }
    return try emit(.fusedClamp, call, [call.value("self")], bounds)
  }
}
