import GraphIR
import Operators
import TensorCore
import TorchFormats

extension DelegateRow {
  static let products: [DelegateRow] = [
    DelegateRow([.batchMatrixMultiply], [.matmul, .bmm, .mm]) { call throws(OperatorError) in
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
      if call.inputs[1].shape.rank == 2 {
        let (a, b, output) = (writer.id(node.inputs[0]), writer.id(node.inputs[1]), writer.id(node.output))
        writer.addNode(
          .fullyConnected,
          [.int(0, a), .int(1, b), .int(2, UInt32.max), .int(3, output), .int(4, UInt32(XNNFlag.transposeWeights))])
      } else {
        try writer.addNode(.batchMatrixMultiply, call, [node.inputs[0], node.inputs[1], node.output])
      }
    } read: { reader, node throws(FormatError) in
      let (a, b, output) = try node.ids(0, 1, 2)
      let flags = try reader.refuseFlags(node, 3, allowed: XNNFlag.transposeB)
      var other = try reader.real(b, asImage: false)
      if flags & XNNFlag.transposeB != 0 {
        other = try reader.emit(.transposeInt, [("self", .value(other)), ("dim0", .int(-2)), ("dim1", .int(-1))])
      }
      let result = try reader.emit(
        .matmul, [("self", .value(try reader.real(a, asImage: false))), ("other", .value(other))])
      try reader.finish(node, output, result, isImage: false)
    }
  ]
}

extension KernelRow {
  static let products: [KernelRow] = [
    .init("aten::mm.out", .mm, "self mat2"),
    .init("aten::bmm.out", .bmm, "self mat2"),
    .init("aten::addmm.out", .addmm, "self mat1 mat2 beta alpha"),
  ]
}

extension RewriteRow {
  static let products: [RewriteRow] = [
    throughFloat(.fusedMatmul, .matmul), RewriteRow([.matmul], product),
    RewriteRow([.scaledDotProductAttention], attention),
  ]

  /// Products of matrices have kernels of their own, with one batch dimension or none.
  private static func product(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    let (a, b) = (try call.value("self"), try call.value("other"))
    var (rows, columns) = (rewriter.spec(a).shape, rewriter.spec(b).shape)
    if rows.rank == 2, columns.rank == 2 {
      return try rewriter.emit(.mm, call, [a, b])
    }
    if try rewriter.reasonAgainst(call) == nil { return nil }
    // A vector is a matrix of one row, or of one column.
    if rows.rank == 1 { rows = [1, rows[0]] }
    if columns.rank == 1 { columns = [columns[0], 1] }
    let (n, k, m) = (rows[rows.rank - 2], rows[rows.rank - 1], columns[columns.rank - 1])
    let width = max(rows.rank, columns.rank) - 2
    func batch(_ shape: Shape) -> [Int] {
      [Int](repeating: 1, count: width - (shape.rank - 2)) + shape.dimensions.dropLast(2)
    }
    let sizes = zip(batch(rows), batch(columns)).map { max($0, $1) }
    let count = sizes.reduce(1, *)
    func operand(_ id: ValueID, _ own: Shape, _ matrix: [Int]) throws(GraphError) -> ValueID {
      var value = try rewriter.viewed(id, Shape(batch(own) + matrix), call)
      if batch(own) != sizes { value = try rewriter.expanded(value, Shape(sizes + matrix), call) }
      return try rewriter.viewed(value, Shape([count] + matrix), call)
    }
    let (first, second) = (try operand(a, rows, [n, k]), try operand(b, columns, [k, m]))
    let output = TensorSpec(rewriter.spec(a).dataType, [count, n, m])
    return try rewriter.viewed(rewriter.emit(.bmm, call, [first, second], [:], output), call.output.shape, call)
  }

  /// softmax(scale · query · keyᵀ + mask) · value. A query that sees no key gets zeros where the mask is a constant.
  private static func attention(_ rewriter: inout EdgeRewriter, _ call: Call) throws(GraphError) -> ValueID? {
    let (query, key, value) = (try call.value("query"), try call.value("key"), try call.value("value"))
    let (isCausal, given) = try rewriter.read(call) { call throws(OperatorError) in
      (try call.bool("is_causal"), try call.optionalFloat("scale"))
    }
    let (q, k) = (rewriter.spec(query).shape, rewriter.spec(key).shape)
    let (rows, depth, keys) = (q[q.rank - 2], q[q.rank - 1], k[k.rank - 2])
    let scores = TensorSpec(.float32, Shape(q.dimensions.dropLast(1) + [keys]))
    let turned = try rewriter.emit(
      .transposeInt, call, [key], ["dim0": .int(-2), "dim1": .int(-1)],
      TensorSpec(.float32, Shape(k.dimensions.dropLast(2) + [depth, keys])))
    var weights = try rewriter.rewrite(call.becoming(.matmul, [query, turned], [:], scores))[0]
    let scale = rewriter.scalar(Float(given ?? 1 / Double(depth).squareRoot()), call, rank: scores.shape.rank)
    weights = try rewriter.emit(.fusedMul, call, [weights, scale], [:], scores)
    let mask = try mask(&rewriter, call, isCausal: isCausal, rows, keys, rank: scores.shape.rank)
    if let added = mask?.added { weights = try rewriter.emit(.fusedAdd, call, [weights, added], [:], scores) }
    weights = try rewriter.emit(.softmax, call, [weights], ["dim": .int(-1)], scores)
    if let seen = mask?.seen { weights = try rewriter.emit(.fusedMul, call, [weights, seen], [:], scores) }
    return try rewriter.rewrite(call.becoming(.matmul, [weights, value]))[0]
  }

  /// What is added to the scores, of their rank, nil where all keys take part; and what the weights are multiplied with
  /// where some query sees no key.
  private static func mask(
    _ rewriter: inout EdgeRewriter, _ call: Call, isCausal: Bool, _ rows: Int, _ keys: Int, rank: Int
  ) throws(GraphError) -> (added: ValueID, seen: ValueID?)? {
    func added(_ takesPart: [Bool]) -> [Float] { takesPart.map { $0 ? 0 : -.infinity } }
    var (numbers, sizes): ([Float], Shape)
    if isCausal {
      numbers = added((0..<rows).flatMap { row in (0..<keys).map { $0 <= row } })
      sizes = [rows, keys]
    } else {
      guard case .value(let mask) = call.operand("attn_mask") else { return nil }
      sizes = rewriter.spec(mask).shape
      let isBool = rewriter.spec(mask).dataType == .bool
      guard let tensor = rewriter.constants[mask] else {
        if isBool { throw rewriter.error(call, "its mask is computed as bool, which cannot be added") }
        let shape = Shape([Int](repeating: 1, count: rank - sizes.rank) + sizes.dimensions)
        return (try rewriter.viewed(mask, shape, call), nil)
      }
      numbers =
        isBool ? added(tensor.withUnsafeBytes { bytes in bytes.map { $0 != 0 } }) : tensor.elements(as: Float.self)
    }
    let shape = Shape([Int](repeating: 1, count: rank - sizes.rank) + sizes.dimensions)
    let width = shape[rank - 1]
    var seen = [Float](repeating: 1, count: numbers.count / width)
    for row in seen.indices where numbers[row * width..<(row + 1) * width].allSatisfy({ $0 == -.infinity }) {
      seen[row] = 0
      for column in 0..<width { numbers[row * width + column] = 0 }
    }
    let mask = rewriter.addConstant(call.name + "_mask", Tensor(numbers, shape: shape))
    guard seen.contains(0) else { return (mask, nil) }
    let factors = Tensor(seen, shape: Shape(shape.dimensions.dropLast() + [1]))
    return (mask, rewriter.addConstant(call.name + "_seen", factors))
  }
}
