import GraphIR
import Operators
import TensorCore
import TorchFormats

extension DelegateRow {
  static let pooling: [DelegateRow] = [
    DelegateRow([.maxPooling2d], [.fusedMaxPool2d]) { call throws(OperatorError) in
      let window = try Window2d(call)
      guard window.area > 1 else { return "the delegate has no window of one element" }
      return zip(window.stride, window.kernel).allSatisfy(<=) ? nil : "its stride is larger than its window"
    } write: { writer, node, call throws(OperatorError) in
      try write(.maxPooling2d, &writer, node, call)
    } read: { reader, node throws(FormatError) in
      let window = try Window2d(node.table)
      let pads = window.padding
      // Far padding decides how many windows there are, which ceil_mode says in ATen: the sizes are compared afterwards.
      try read(
        .maxPool2d, &reader, node, window,
        [("dilation", .ints(window.dilation)), ("ceil_mode", .bool(pads[2] > pads[0] || pads[1] > pads[3]))])
    },
    DelegateRow([.avgPooling2d], []) { writer, node, call throws(OperatorError) in
      try write(.avgPooling2d, &writer, node, call)
    } read: { reader, node throws(FormatError) in
      let window = try Window2d(node.table)
      let pads = window.padding
      guard pads[2] == pads[0], pads[1] == pads[3] else {
        throw reader.error("\(node.kind.schemaName) has padding \(pads), which cannot be read")
      }
      // XNNPACK leaves padding out of an average.
      try read(.avgPool2d, &reader, node, window, [("count_include_pad", .bool(pads == [0, 0, 0, 0]))])
    },
    DelegateRow([.globalAvgPooling2d], [.fusedAvgPool2d]) { call throws(OperatorError) in
      let window = try Window2d(call)
      guard !window.isPadded else { return "the delegate leaves padding out of the mean" }
      guard let ratio = try call.scaleRatio(0) else { return nil }
      guard window.isGlobal else { return "the delegate has int8 averages over whole images only" }
      return (0x1p-8..<0x1p8).contains(ratio) ? nil : "its scales differ by more than the delegate takes"
    } write: { writer, node, call throws(OperatorError) in
      guard try Window2d(call).isGlobal else { return try write(.avgPooling2d, &writer, node, call) }
      let flags = FlatBufferBuilder.Field.int(2, UInt32(XNNFlag.keepDims))
      try writer.addNode(.globalAvgPooling2d, call, [node.inputs[0], node.output], fields: [flags])
    } read: { reader, node throws(FormatError) in
      let (input, output) = try node.ids(0, 1)
      let keeps = try reader.refuseFlags(node, 2, allowed: XNNFlag.keepDims) != 0
      let result = try reader.emit(
        .meanDim,
        [
          ("self", .value(try reader.real(input, asImage: true))), ("dim", .ints([2, 3])), ("keepdim", .bool(keeps)),
        ])
      try reader.finish(node, output, result, isImage: keeps)
    },
    // Written as a kernel's call: XNNPACK rounds elsewhere than PyTorch.
    DelegateRow([.staticResizeBilinear2D], []) { _, _, call throws(OperatorError) in
      throw call.error("is no node of the delegate")
    } read: { reader, node throws(FormatError) in
      let t = node.table
      let flags = try reader.refuseFlags(node, 4, allowed: XNNFlag.alignCorners)
      let result = try reader.emit(
        .upsampleBilinear2d,
        [
          ("input", .value(try reader.real(try t.uint(2), asImage: true))),
          ("output_size", .ints([try t.uint(0), try t.uint(1)])), ("align_corners", .bool(flags != 0)),
          ("scale_factors", .attribute(.none)),
        ])
      try reader.define(try t.uint(3), result, isImage: true)
    },
  ]

  private static func write(
    _ kind: XNNNodeKind, _ writer: inout XNNGraphWriter, _ node: Node, _ call: OperatorCall
  ) throws(OperatorError) {
    try writer.addNode(kind, call, [node.inputs[0], node.output], from: 10, fields: Window2d(call).fields)
  }

  private static func read(
    _ op: Operator, _ reader: inout XNNGraphReader, _ node: XNNGraph.Node, _ window: Window2d,
    _ more: [(String, Operand)]
  ) throws(FormatError) {
    let (input, output) = try node.ids(10, 11)
    let result = try reader.emit(
      op,
      [
        ("self", .value(try reader.real(input, asImage: true))), ("kernel_size", .ints(window.kernel)),
        ("stride", .ints(window.stride)), ("padding", .ints([window.padding[0], window.padding[3]])),
      ] + more)
    try reader.finish(node, output, result, isImage: true)
  }
}

extension KernelRow {
  static let pooling: [KernelRow] = [
    .init(
      "aten::max_pool2d_with_indices.out", .maxPool2d,
      parameters: names("self kernel_size stride padding dilation ceil_mode"),
      unread: { call throws(OperatorError) in [TensorSpec(.int64, try call.output().shape)] }),
    .init(
      "aten::avg_pool2d.out", .avgPool2d,
      "self kernel_size stride padding ceil_mode count_include_pad divisor_override"),
    .init("aten::_adaptive_avg_pool2d.out", .adaptiveAvgPool2d, "self output_size"),
    .init("aten::mean.out", .meanDim, "self dim keepdim dtype"),
    .init("aten::sum.IntList_out", .sumDim, "self dim keepdim dtype"),
    .init("aten::upsample_nearest2d.vec_out", .upsampleNearest2d, "input output_size scale_factors"),
    .init("aten::upsample_bilinear2d.vec_out", .upsampleBilinear2d, "input output_size align_corners scale_factors"),
  ]
}

extension RewriteRow {
  static let pooling: [RewriteRow] = [
    RewriteRow([.fusedMaxPool2d], maximum), RewriteRow([.fusedAvgPool2d], average),
    images(.maxPool1d, .maxPool2d), images(.avgPool1d, .avgPool2d), images(.adaptiveAvgPool1d, .adaptiveAvgPool2d),
    throughFloat(.fusedUpsampleNearest2d, .upsampleNearest2d),
    throughFloat(.fusedUpsampleBilinear2d, .upsampleBilinear2d),
  ]

  /// Windows that the delegate does not take, as the kernel of ATen's operator.
  private static func maximum(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    if try rewriter.reasonAgainst(call) == nil { return nil }
    let pads = try rewriter.read(call) { call throws(OperatorError) in try Window2d(call).padding }
    var pool = call
    pool.set("padding", .ints([pads[0], pads[3]]))
    if pads[0] != pads[2] || pads[1] != pads[3] {
      pool.set("self", .value(try rewriter.padded(call, pads, with: -.infinity)))
      pool.set("padding", .ints([0, 0]))
    }
    return try rewriter.throughFloat(pool, .maxPool2d, contiguous: true)
  }

  /// The delegate has int8 averages over whole images, and leaves padding out of the others.
  private static func average(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    let window = try rewriter.read(call) { call throws(OperatorError) in try Window2d(call) }
    guard window.isPadded else {
      guard call.output.quantization != nil, try rewriter.reasonAgainst(call) != nil else { return nil }
      return try rewriter.throughFloat(call, .fusedAvgPool2d)
    }
    var pool = call
    pool.set("self", .value(try rewriter.padded(call, window.padding, with: 0)))
    pool.set("padding", .ints([0, 0, 0, 0]))
    return call.output.quantization == nil
      ? try rewriter.emit(pool) : try rewriter.throughFloat(pool, .fusedAvgPool2d)
  }

  /// A pooling of lines as one of images of height 1.
  private static func images(_ op: Operator, _ image: Operator) -> RewriteRow {
    RewriteRow([op]) { rewriter, call throws(GraphError) in
      func high(_ shape: Shape) -> Shape { Shape(shape.dimensions.dropLast() + [1] + shape.dimensions.suffix(1)) }
      var call = call
      let (input, shape) = (try call.value("self"), call.output.shape)
      for (name, neutral) in [("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1), ("output_size", 1)] {
        guard case .attribute(let value) = call.operand(name) else { continue }
        switch value {
        case .ints(let numbers) where numbers.count == 1: call.set(name, .ints([neutral] + numbers))
        case .int(let number): call.set(name, .ints([neutral, number]))
        default: break
        }
      }
      call.op = image
      call.set("self", .value(try rewriter.viewed(input, high(rewriter.spec(input).shape), call)))
      call.outputs[0].shape = high(shape)
      return try rewriter.viewed(rewriter.rewrite(call)[0], shape, call)
    }
  }
}

extension EdgeRewriter {
  /// The images of a call as reals with padding (top, right, bottom, left) around them.
  fileprivate mutating func padded(_ call: Call, _ pads: [Int], with fill: Double) throws(GraphError) -> ValueID {
    let real = try dequantized(call.value("self"), call)
    var padded = spec(real)
    let shape = padded.shape
    padded.shape = Shape([shape[0], shape[1], shape[2] + pads[0] + pads[2], shape[3] + pads[1] + pads[3]])
    return try emit(
      .fusedPad, call, [real],
      [
        "pre": .ints([0, 0, pads[0], pads[3]]), "post": .ints([0, 0, pads[2], pads[1]]), "value": .float(fill),
      ], padded)
  }
}
