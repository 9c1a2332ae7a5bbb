import GraphIR
import Operators
import TensorCore
import TorchFormats

extension DelegateRow {
  static let convolutions: [DelegateRow] = [
    DelegateRow([.conv2d, .depthwiseConv2d], [.fusedConv2d, .fusedDynamicConv2d]) { call throws(OperatorError) in
      if call.op.has(.dynamic) {
        let (input, groups) = (try call.spec("input").shape, try call.int("groups"))
        guard input[0] == 1 else { return "the delegate chooses parameters for each image" }
        guard groups == 1 || groups != input[1] else {
          return "the delegate has no depthwise convolution of this kind"
        }
        guard try call.spec("weight").quantization?.isPerChannel ?? false, try call.string("rule") == "affine" else {
          return "the delegate takes weights with a scale per channel, and affine inputs only"
        }
      }
      return try constantLayer(call)
    } write: { writer, node, call throws(OperatorError) in
      let sizes = XNNGraphWriter.memorySizes(call.inputs[0])
      let input = try writer.layerInput(node, call, sizes, nonBatch: sizes.count - 1)
      guard let weight = try call.constant("weight"), let weightID = node.value("weight") else {
        throw call.error("has no weight")
      }
      let (shape, groups, channels) = (weight.shape, try call.int("groups"), try call.spec("input").shape[1])
      let isDepthwise = groups > 1 && groups == channels
      let filter =
        isDepthwise
        ? writer.addConstant(weight.channelsInnermost(), sizes: [1, shape[2], shape[3], shape[0]], axis: 3)
        : writer.id(weightID)
      let (bias, output) = (try writer.bias(node, call), writer.id(node.output))
      let window = try Window2d(call)
      writer.addNode(
        isDepthwise ? .depthwiseConv2d : .conv2d,
        window.fields + [
          .int(10, UInt32(channels / groups)), .int(11, UInt32(shape[0] / groups)), .int(12, UInt32(groups)),
          .int(15, input), .int(16, filter), .int(17, bias), .int(18, output),
        ], bounds: try call.realBounds())
    } read: { reader, node throws(FormatError) in
      try readConvolution(&reader, node)
    },
    transposedConvolution,
  ]

  private static func readConvolution(_ reader: inout XNNGraphReader, _ node: XNNGraph.Node) throws(FormatError) {
    let t = node.table
    _ = try reader.refuseFlags(node, 19)
    let window = try Window2d(t)
    let (input, output, groups) = (try t.uint(15), try t.uint(18), try t.uint(12))
    let filter = try reader.value(try t.uint(16))
    guard filter.constant > 0, filter.dimensions.count == 4 else {
      throw reader.error("a filter is not a 4-D constant")
    }
    let sizes = filter.dimensions
    var tensor: Tensor
    if node.kind == .depthwiseConv2d {
      // (1, H, W, channels): as an image of those channels, row-major is (channels, 1, H, W).
      guard sizes[0] == 1 else { throw reader.error("a depthwise filter is \(sizes)") }
      tensor = try reader.data(filter, Shape([1, sizes[3], sizes[1], sizes[2]]), dimOrder: .channelsLast)
      try reader.charge(tensor)
      tensor = tensor.rowMajor().reinterpreted(
        as: TensorSpec(tensor.dataType, Shape([sizes[3], 1, sizes[1], sizes[2]])))
    } else {
      tensor = try reader.data(filter, Shape([sizes[0], sizes[3], sizes[1], sizes[2]]), dimOrder: .channelsLast)
    }
    let channels = tensor.shape[0]
    var image = try reader.real(input, asImage: true)
    let pads = window.padding
    let isSymmetric = pads[0] == pads[2] && pads[1] == pads[3]
    if !isSymmetric { image = try reader.padded(image, [pads[3], pads[1], pads[0], pads[2]]) }
    let result = try reader.emit(
      .conv2d,
      [("input", .value(image)), ("weight", .value(try reader.parameter(filter, tensor, name: "weight")))]
        + reader.bias(try t.uint(17), channels: channels) + [
          ("stride", .ints(window.stride)), ("padding", .ints(isSymmetric ? [pads[0], pads[3]] : [0, 0])),
          ("dilation", .ints(window.dilation)), ("groups", .int(groups)),
        ])
    try reader.finish(node, output, result, isImage: true)
  }

  /// Its filter is channels last (O, I / groups, H, W), as the rewriting makes it, not ATen's.
  private static let transposedConvolution = DelegateRow([.convTranspose2d], [.convTranspose2d]) {
    call throws(OperatorError) in
    guard try call.spec("weight").dimOrder == .channelsLast else { return "its filter is not in the delegate's order" }
    return try constantLayer(call)
  } write: { writer, node, call throws(OperatorError) in
    guard let weight = node.value("weight"), let inputID = node.value("input") else {
      throw call.error("has no weight")
    }
    let (shape, groups) = (try call.spec("weight").shape, try call.int("groups"))
    var window = try Window2d(call)
    let extra = [window.height.padBefore - window.height.padAfter, window.width.padBefore - window.width.padAfter]
    (window.height.padAfter, window.width.padAfter) = (window.height.padBefore, window.width.padBefore)
    let (input, filter) = (writer.id(inputID), writer.id(weight))
    let (bias, output) = (try writer.bias(node, call), writer.id(node.output))
    let numbers = [shape[1], shape[0] / groups, groups] + extra
    writer.addNode(
      .convTranspose2d,
      window.fields
        + numbers.enumerated().map { .int(10 + $0, UInt32($1)) } + [
          .int(15, input), .int(16, filter), .int(17, bias), .int(18, output),
        ])
  } read: { reader, node throws(FormatError) in
    let t = node.table
    _ = try reader.refuseFlags(node, 19)
    let window = try Window2d(t)
    let pads = window.padding
    guard pads[0] == pads[2], pads[1] == pads[3] else {
      throw reader.error("a transposed convolution has uneven padding")
    }
    let (groups, output) = (try t.uint(12), try t.uint(18))
    let filter = try reader.value(try t.uint(16))
    let sizes = filter.dimensions
    guard filter.constant > 0, sizes.count == 4, groups > 0, sizes[0] % groups == 0 else {
      throw reader.error("a transposed convolution's filter is not a 4-D constant of whole groups")
    }
    let stored = try reader.data(filter, Shape([sizes[0], sizes[3], sizes[1], sizes[2]]), dimOrder: .channelsLast)
    try reader.charge(stored)
    let weight = try reader.parameter(
      filter, stored.rowMajor().swappingOuterDimensions(groups: groups), name: "weight", axis: 1)
    let result = try reader.emit(
      .convTranspose2d,
      [("input", .value(try reader.real(try t.uint(15), asImage: true))), ("weight", .value(weight))]
        + reader.bias(try t.uint(17), channels: sizes[0]) + [
          ("stride", .ints(window.stride)), ("padding", .ints([pads[0], pads[3]])),
          ("output_padding", .ints([try t.uint(13), try t.uint(14)])), ("groups", .int(groups)),
          ("dilation", .ints(window.dilation)),
        ])
    try reader.finish(node, output, result, isImage: true)
  }
}

/// The fields that convolutions and poolings share in the delegate's schema: padding, kernel, stride and dilation.
extension Window2d {
  init(_ t: FlatTable) throws(FormatError) {
    var numbers: [Int] = []
    for field in 0..<10 { numbers.append(try t.uint(field)) }
    self.init(
      kernel: [numbers[4], numbers[5]], stride: [numbers[6], numbers[7]], dilation: [numbers[8], numbers[9]],
      padding: [Int](numbers[..<4]))
  }

  var fields: [FlatBufferBuilder.Field] {
    (padding + kernel + stride + dilation).enumerated().map { .int($0, UInt32($1)) }
  }
}

extension KernelRow {
  /// Weights that are computed, and what else is no delegate's.
  static let convolutions: [KernelRow] = [
    convolution(.conv2d, isTransposed: false), convolution(.conv1d, isTransposed: false),
    convolution(.convTranspose2d, isTransposed: true), convolution(.convTranspose1d, isTransposed: true),
  ]

  private static func convolution(_ op: Operator, isTransposed: Bool) -> KernelRow {
    .init(
      "aten::convolution.out", op,
      parameters: names("input weight bias stride padding dilation") + [.fixed("transposed", .bool(isTransposed))]
        + [isTransposed ? .named("output_padding") : .fixed("output_padding", .ints([0]))] + names("groups"),
      adapt: { reading in
        let isFlat = reading.input?.shape.rank == 3
        let isTransposed = reading["transposed"] == .bool(true)
        let plain: Operator = isFlat ? .conv1d : .conv2d
        reading.op = isTransposed ? (isFlat ? .convTranspose1d : .convTranspose2d) : plain
      })
  }
}

extension RewriteRow {
  static let convolutions: [RewriteRow] = [
    RewriteRow([.fusedConv2d], stuffed),
    RewriteRow([.conv2dPadding, .conv1dPadding], named),
    RewriteRow([.conv2d, .conv1d, .convTranspose2d, .convTranspose1d], unbatched),
  ]

  /// A convolution over an input with zeros between its elements is a transposed convolution in the delegate.
  private static func stuffed(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    let weightID = try call.value("weight")
    guard let pad = rewriter.producer(of: try call.value("input")), pad.op == .fusedPad,
      let weight = rewriter.constants[weightID]
    else { return nil }
    let (interior, pre, post) = try rewriter.read(pad) { call throws(OperatorError) in
      (try call.ints("interior"), try call.ints("pre"), try call.ints("post"))
    }
    guard interior.contains(where: { $0 > 0 }) else { return nil }
    let window = try rewriter.read(call) { call throws(OperatorError) in try Window2d(call) }
    let turned = rewriter.addConstant(rewriter.result.graph[weightID].name + "_turned", weight.turned())
    var tensors = [try pad.value("self"), turned]
    if case .value(let bias) = call.operand("bias") { tensors.append(bias) }
    // The ATen operator has no bounds, so a clamp takes its place.
    let result = try rewriter.emit(
      .convTranspose2d, call, tensors,
      [
        "stride": .ints([interior[2] + 1, interior[3] + 1]), "groups": .int(window.groups),
        "padding": .ints([window.height.reach - pre[2], window.width.reach - pre[3]]),
        "output_padding": .ints([post[2] - pre[2], post[3] - pre[3]]),
        "dilation": .ints(window.dilation),
      ])
    return try rewriter.bounded(result, call)
  }

  /// Padding by name, in numbers; an odd zero is put to the far side.
  private static func named(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    let input = try call.value("input")
    let window = try rewriter.read(call) { call throws(OperatorError) in try Window2d(call) }
    let axes = call.op == .conv2dPadding ? [window.height, window.width] : [window.width]
    var plain = call
    plain.op = call.op == .conv2dPadding ? .conv2d : .conv1d
    var padding = axes.map(\.padBefore)
    if axes.contains(where: { $0.padBefore != $0.padAfter }) {
      let pads = axes.reversed().flatMap { [$0.padBefore, $0.padAfter] }
      var sizes = rewriter.spec(input).shape.dimensions
      for (index, axis) in axes.enumerated() { sizes[sizes.count - axes.count + index] += axis.reach }
      let padded = try rewriter.emit(
        .constantPadNd, call, [input], ["pad": .ints(pads)], TensorSpec(.float32, Shape(sizes)))
      plain.set("input", .value(padded))
      padding = padding.map { _ in 0 }
    }
    plain.set("padding", .ints(padding))
    return try rewriter.rewrite(plain)[0]
  }

  /// The kernel takes images in batches.
  private static func unbatched(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    let (input, rank) = (try call.value("input"), rewriter.spec(try call.value("weight")).shape.rank)
    let shape = rewriter.spec(input).shape
    guard shape.rank == rank - 1 else { return nil }
    var batched = call
    batched.set("input", .value(try rewriter.viewed(input, Shape([1] + shape.dimensions), call)))
    batched.outputs[0].shape = Shape([1] + call.output.shape.dimensions)
    return try rewriter.viewed(rewriter.emit(batched), call.output.shape, call)
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

  /// A channels-last filter (O, I, H, W) with each kernel turned by 180 degrees.
  fileprivate func turned() -> Tensor {
    let area = shape[2] * shape[3]
    return moving(rows: shape[0] * area, of: shape[1]) { row in row / area * area + (area - 1 - row % area) }
  }

  /// A row-major (O, I / groups, H, W) as (I, O / groups, H, W).
  fileprivate func swappingOuterDimensions(groups: Int) -> Tensor {
    let (outputs, inputs) = (shape[0] / groups, shape[1])
    let target = TensorSpec(dataType, Shape([inputs * groups, outputs, shape[2], shape[3]]))
    return reinterpreted(as: target).moving(rows: shape[0] * inputs, of: shape[2] * shape[3]) { row in
      let (group, inner) = (row / (inputs * outputs), row % (inputs * outputs))
      return (group * outputs + inner % outputs) * inputs + inner / outputs
    }
  }

  /// The row of `count` elements that is at `source` in memory, for each row.
  private func moving(rows: Int, of count: Int, from source: (Int) -> Int) -> Tensor {
    let size = count * dataType.size
    return Tensor(unsafeUninitialized: spec) { target in
      withUnsafeBytes { bytes in
        for row in 0..<rows {
          let place = source(row) * size
          UnsafeMutableRawBufferPointer(rebasing: target[row * size..<(row + 1) * size]).copyBytes(
            from: bytes[place..<place + size])
        }
      }
    }
  }
}
