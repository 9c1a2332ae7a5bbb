import GraphIR
import Operators
import TensorCore
import TorchFormats

extension DelegateRow {
  static let movement: [DelegateRow] = [
    DelegateRow([.staticReshape], [.fusedView]) { writer, node, call throws(OperatorError) in
      let sizes = writer.openSizes(node.output)
      try writer.addNode(
        .staticReshape, call, [node.inputs[0], node.output], from: 2,
        fields: [.int(0, UInt32(sizes.count)), .reference(1, writer.vector(sizes))])
    } read: { reader, node throws(FormatError) in
      let (input, output) = try node.ids(2, 3)
      // One size of the node may be left open; those of the value are not.
      let result = try reader.emit(
        .view,
        [
          ("self", .value(try reader.real(input, asImage: false))),
          ("size", .ints(try reader.value(output).dimensions)),
        ])
      try reader.define(output, result, isImage: false)
    },
    transpose, constantPad, slice, concatenate,
  ]

  private static let transpose = DelegateRow([.staticTranspose], [.toDimOrderCopy, .permute, .transposeInt]) { call in
    call.inputs[0].shape.rank == 0 ? "a scalar has no dimensions" : nil
  } write: { writer, node, call throws(OperatorError) in
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
    try writer.addNode(
      .staticTranspose, call, [node.inputs[0], node.output], from: 2,
      fields: [.int(0, UInt32(rank)), .reference(1, writer.vector(permutation))])
  } read: { reader, node throws(FormatError) in
    let t = node.table
    let permutation = try t.uints(1)
    let (input, output) = try node.ids(2, 3)
    if permutation == [0, 2, 3, 1], !reader.isImage(input) {
      return try reader.define(output, try reader.real(input, asImage: false), isImage: true)
    }
    if permutation == [0, 3, 1, 2], reader.isImage(input) {
      return try reader.define(output, try reader.real(input, asImage: true), isImage: false)
    }
    let result = try reader.emit(
      .permute, [("self", .value(try reader.real(input, asImage: false))), ("dims", .ints(permutation))])
    try reader.define(output, result, isImage: false)
  }

  /// Sizes of logical dimensions in the order of memory.
  private static func ordered(_ sizes: [Int], _ spec: TensorSpec) -> [Int] {
    spec.dimOrder == .channelsLast ? [0, 2, 3, 1].map { sizes[$0] } : sizes
  }

  private static let constantPad = DelegateRow([.staticConstantPad], [.fusedPad]) { call throws(OperatorError) in
    try call.ints("interior").allSatisfy { $0 == 0 } ? nil : "the delegate has no padding between elements"
  } write: { writer, node, call throws(OperatorError) in
    let before = writer.vector(ordered(try call.ints("pre"), call.inputs[0]))
    let after = writer.vector(ordered(try call.ints("post"), call.inputs[0]))
    try writer.addNode(
      .staticConstantPad, call, [node.inputs[0], node.output], from: 3,
      fields: [.reference(0, before), .reference(1, after), .float(2, Float(try call.float("value")))])
  } read: { reader, node throws(FormatError) in
    let t = node.table
    var (before, after) = (try t.uints(0), try t.uints(1))
    let (input, output) = try node.ids(3, 4)
    let rank = try reader.value(input).dimensions.count
    guard before.count == rank, after.count == rank else {
      throw reader.error("padding \(before) does not fit \(rank) dimensions")
    }
    let asImage = reader.isImage(input)
    if asImage { (before, after) = ([0, 3, 1, 2].map { before[$0] }, [0, 3, 1, 2].map { after[$0] }) }
    var pads = zip(before, after).reversed().flatMap { [$0, $1] }
    while pads.count > 2, pads.suffix(2) == [0, 0] { pads.removeLast(2) }
    let result = try reader.padded(try reader.real(input, asImage: asImage), pads, fill: Double(try t.float(2)))
    try reader.define(output, result, isImage: asImage)
  }

  private static let slice = DelegateRow([.staticSlice], [.fusedSlice]) { call throws(OperatorError) in
    try call.int("step") == 1 ? nil : "the delegate takes neighbours only"
  } write: { writer, node, call throws(OperatorError) in
    let input = call.inputs[0]
    var offsets = [Int](repeating: 0, count: input.shape.rank)
    offsets[input.shape.normalizedDimension(try call.int("dim")) ?? 0] = try call.int("start")
    let (start, sizes) = (
      writer.vector(ordered(offsets, input)), writer.vector(XNNGraphWriter.memorySizes(call.outputs[0]))
    )
    try writer.addNode(
      .staticSlice, call, [node.inputs[0], node.output], from: 3,
      fields: [.int(0, UInt32(input.shape.rank)), .reference(1, start), .reference(2, sizes)])
  } read: { reader, node throws(FormatError) in
    let t = node.table
    let (offsets, sizes) = (try t.uints(1), try t.uints(2))
    let (input, output) = try node.ids(3, 4)
    let asImage = reader.isImage(input)
    var result = try reader.real(input, asImage: asImage)
    let own = try reader.value(input).dimensions
    guard offsets.count == own.count, sizes.count == own.count else {
      throw reader.error("a slice of \(own) has \(sizes)")
    }
    for axis in own.indices where sizes[axis] != own[axis] {
      let (end, overflow) = offsets[axis].addingReportingOverflow(sizes[axis])
      guard !overflow, end <= own[axis] else { throw reader.error("a slice reaches outside \(own)") }
      result = try reader.emit(
        .slice,
        [
          ("self", .value(result)), ("dim", .int(asImage ? [0, 2, 3, 1][axis] : axis)),
          ("start", .int(offsets[axis])), ("end", .int(end)),
        ])
    }
    try reader.define(output, result, isImage: asImage)
  }

  private static let concatenations: [XNNNodeKind] = [.concatenate2, .concatenate3, .concatenate4, .concatenate5]

  private static let concatenate = DelegateRow(concatenations, [.fusedCat]) { call throws(OperatorError) in
    (2...5).contains(call.inputs.count) ? nil : "the delegate concatenates two to five parts"
  } write: { writer, node, call throws(OperatorError) in
    let output = call.outputs[0]
    let dim = output.shape.normalizedDimension(try call.int("dim")) ?? 0
    let axis = output.dimOrder == .channelsLast ? [0, 3, 1, 2][dim] : dim
    var fields: [FlatBufferBuilder.Field] = [.int(0, UInt32(axis))]
    for index in 0..<5 {
      let id = index < node.inputs.count ? writer.id(node.inputs[index]) : UInt32.max
      fields.append(.int(index < 4 ? 1 + index : 7, id))
    }
    writer.addNode(concatenations[node.inputs.count - 2], fields + [.int(5, writer.id(node.output))])
  } read: { reader, node throws(FormatError) in
    let t = node.table
    let (axis, output) = (try t.uint(0), try t.uint(5))
    var inputs: [Int] = []
    for index in 0..<concatenations.firstIndex(of: node.kind)! + 2 {
      inputs.append(try t.uint(index < 4 ? 1 + index : 7))
    }
    let asImage = inputs.contains { reader.isImage($0) }
    guard axis < (try reader.value(output).dimensions.count) else {
      throw reader.error("concatenates along dimension \(axis)")
    }
    var parts: [ValueID] = []
    for input in inputs { parts.append(try reader.real(input, asImage: asImage)) }
    let result = try reader.emit(
      .cat, [("tensors", .values(parts)), ("dim", .int(asImage ? [0, 2, 3, 1][axis] : axis))])
    try reader.define(output, result, isImage: asImage)
  }
}

extension KernelRow {
  static let movement: [KernelRow] = [
    .init("aten::cat.out", .cat, "tensors dim"),
    .init("aten::stack.out", .stack, "tensors dim"),
    .init("aten::constant_pad_nd.out", .constantPadNd, "self pad value"),
    .init("aten::slice_copy.Tensor_out", .slice, "self dim start end step"),
    .init("aten::view_copy.out", .view, .fusedView, parameters: names("self size")),
    .init("executorch_prim::et_view.default", .view, "self size"),
    .init("executorch_prim::et_view", .view, "self size"),
    .init("aten::squeeze_copy.dim_out", .squeeze, "self dim"),
    // The sizes of the result say which are left.
    .init(
      "aten::squeeze_copy.dims_out", .view, parameters: [.named("self"), .fixed("dims", .ints([]))],
      adapt: { $0.arguments = [$0.arguments[0], ("size", .ints($0.result.shape.dimensions))] }),
    .init("aten::unsqueeze_copy.out", .unsqueeze, "self dim"),
    .init("aten::permute_copy.out", .permute, "self dims"),
    .init("aten::transpose_copy.int_out", .transposeInt, "self dim0 dim1"),
    .init("aten::expand_copy.out", .expand, "self size implicit"),
    .init("aten::select_copy.int_out", .select, "self dim index"),
    .init("aten::index.Tensor_out", .index, parameters: [.named("self"), .optionalTensors("indices")]),
    .init("aten::roll.out", .roll, "self shifts dims"),
  ]
}

extension RewriteRow {
  static let movement: [RewriteRow] = [
    RewriteRow(.traits(.reshapes)) { rewriter, call throws(GraphError) in
      try rewriter.emitView(call.value("self"), call.output, call)
    },
    RewriteRow([.t]) { rewriter, call throws(GraphError) in
      let dims: [Int] = (0..<call.output.shape.rank).reversed()
      return try rewriter.emit(.permute, call, [call.value("self")], ["dims": .ints(dims)])
    },
    RewriteRow([.pad]) { rewriter, call throws(GraphError) in
      let (pads, value) = try rewriter.read(call) { call throws(OperatorError) in
        (try call.ints("pad"), try call.optionalFloat("value") ?? 0)
      }
      return try rewriter.emit(
        .constantPadNd, call, [call.value("self")], ["pad": .ints(pads), "value": .float(value)])
    },
    RewriteRow([.fusedSlice]) { rewriter, call throws(GraphError) in
      let step = try rewriter.read(call) { call throws(OperatorError) in try call.int("step") }
      return step == 1 ? nil : try rewriter.throughFloat(call, .slice, contiguous: true)
    },
    RewriteRow(several: [.chunk, .split, .splitWithSizes, .unbind], pieces),
    RewriteRow([.expandAs]) { rewriter, call throws(GraphError) in
      try rewriter.expanded(call.value("self"), call.output.shape, call)
    },
    // For those that broadcast by themselves, the operand stays as it is.
    RewriteRow([.fusedExpand]) { rewriter, call throws(GraphError) in
      let input = try call.value("self")
      let real = try rewriter.reordered(rewriter.dequantized(input, call), .contiguous, call)
      let expanded = try rewriter.expanded(real, call.output.shape, call)
      let result = try rewriter.settled(expanded, as: call.output, call)
      rewriter.narrow[result] = input
      return result
    },
    RewriteRow([.fusedCat], concatenation),
    RewriteRow([.roll]) { rewriter, call throws(GraphError) in
      let dims = try rewriter.read(call) { call throws(OperatorError) in try call.ints("dims") }
      guard dims.isEmpty else { return nil }
      var line = call
      line.outputs[0].shape = [call.output.shape.elementCount]
      line.set("self", .value(try rewriter.viewed(call.value("self"), line.output.shape, call)))
      line.set("dims", .ints([0]))
      return try rewriter.viewed(rewriter.emit(line), call.output.shape, call)
    },
  ]

  /// Each result is a slice, or what stands at one index.
  private static func pieces(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> [ValueID]? {
    let input = try call.value("self")
    let shape = rewriter.spec(input).shape
    let dim = try rewriter.read(call) { call throws(OperatorError) in try call.int("dim") }
    let axis = shape.normalizedDimension(dim) ?? 0
    var (results, start): ([ValueID], Int) = ([], 0)
    for output in call.outputs {
      let end = start + (call.op == .unbind ? 1 : output.shape[axis])
      let place: [String: Operand] =
        call.op == .unbind ? ["index": .int(start)] : ["start": .int(start), "end": .int(end)]
      results.append(
        try rewriter.emit(
          call.op == .unbind ? .select : .slice, call, [input], place.merging(["dim": .int(axis)]) { $1 }, output))
      start = end
    }
    return results
  }

  /// The delegate concatenates up to five parts.
  private static func concatenation(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    guard case .values(var parts) = call.operand("tensors"), case .attribute(.int(let dim)) = call.operand("dim"),
      parts.count != 1
    else { return call.operand("tensors")?.valueIDs.first }
    guard parts.count > 5 else { return nil }
    while parts.count > 1 {
      var group = call
      group.set("tensors", .values(Array(parts.prefix(5))))
      if parts.count > 5 {
        var sizes = call.output.shape.dimensions
        sizes[dim] = parts.prefix(5).reduce(0) { $0 + rewriter.spec($1).shape[dim] }
        group.outputs[0].shape = Shape(sizes)
      }
      parts = [try rewriter.emit(group)] + parts.dropFirst(5)
    }
    return parts[0]
  }
}
