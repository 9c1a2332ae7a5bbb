import TensorCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension Operator {
  /// softmax(scale · query · keyᵀ + mask) · value, f32: query [..., L, E], key [..., S, E], value [..., S, F], output
  /// [..., L, F], with the same dimensions before the last two. `scale` is 1 / √E by default.
  ///
  /// `attn_mask`, broadcast to [..., L, S], is added (float32) or tells which keys take part (bool). `is_causal` lets the
  /// query at i see the keys 0...i. A query that sees no key gets zeros.
  public static let scaledDotProductAttention = Operator(
    "aten.scaled_dot_product_attention.default(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, "
      + "float dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor",
    reasonForFloat: "attention in one operator is computed in float, as in PyTorch"
  ) { call throws(OperatorError) in
    let attention = try Attention(call)
    return KernelPlan(TensorSpec(.float32, attention.output)) { () throws(OperatorError) in
      let layout = try attention.layout(call)
      return PreparedKernel(scratchByteCount: layout.byteCount) { attention.run($0, layout) }
    }
  }
}

/// A validated call of attention.
private struct Attention: Sendable {
  let output: Shape
  private let query, key, value: TensorArgument
  private let mask: Mask?
  private let isCausal: Bool
  private let scale: Float
  /// Matrices, their rows, keys of each, and the sizes of a key and of a value.
  private let batch, rows, keys, depth, width: Int

  private struct Mask: Sendable {
    let argument: TensorArgument
    /// The offset of each matrix in the mask, and the steps between its rows and columns; 0 where it is broadcast.
    let offsets: StridedLoops
    let rowStep, columnStep: Int
  }

  /// Rows whose scores are kept at a time.
  private static let blockRows = 32

  init(_ call: OperatorCall) throws(OperatorError) {
    (query, key, value) = (try call.floatTensor("query"), try call.floatTensor("key"), try call.floatTensor("value"))
    let (q, k, v) = (query.shape, key.shape, value.shape)
    try call.check(
      q.rank >= 2 && k.rank == q.rank && v.rank == q.rank, "\(q), \(k) and \(v) must have 2 or more equal ranks")
    let outer = Array(q.dimensions.dropLast(2))
    try call.check(
      Array(k.dimensions.dropLast(2)) == outer && Array(v.dimensions.dropLast(2)) == outer,
      "\(q), \(k) and \(v) must agree in all but the last two dimensions")
    (rows, depth) = (q[q.rank - 2], q[q.rank - 1])
    (keys, width) = (k[k.rank - 2], v[v.rank - 1])
    try call.check(k[k.rank - 1] == depth, "'query' \(q) and 'key' \(k) differ in their last size")
    try call.check(v[v.rank - 2] == keys, "'key' \(k) and 'value' \(v) differ in the number of keys")
    for size in [depth, keys, width] {
      try call.check((1...sizeLimit).contains(size), "\(q), \(k) and \(v): a size is 0 or too large")
    }
    let dropout = try call.float("dropout_p")
    try call.check(dropout == 0, "'dropout_p' must be 0, not \(dropout); export the model after eval()")
    try call.check(try !call.bool("enable_gqa"), "'enable_gqa' is not supported; repeat the heads of 'key' and 'value'")
    scale = Float(try call.optionalFloat("scale") ?? 1 / Double(depth).squareRoot())
    isCausal = try call.bool("is_causal")
    output = try call.checkedShape(outer + [rows, width])
    batch = outer.reduce(1, *)
    mask = try Attention.mask(call, scores: outer + [rows, keys])
    try call.check(mask == nil || !isCausal, "'is_causal' cannot be set together with 'attn_mask'")
  }

  private static func mask(_ call: OperatorCall, scores: [Int]) throws(OperatorError) -> Mask? {
    guard try call.index(of: "attn_mask") != nil else { return nil }
    let argument = try call.tensor("attn_mask")
    try call.check(
      argument.dataType == .float32 || argument.dataType == .bool,
      "'attn_mask' must be float32 or bool, not \(argument.dataType)")
    let (shape, strides) = (argument.shape, argument.shape.strides)
    let added = scores.count - shape.rank
    try call.check(
      added >= 0 && shape.dimensions.enumerated().allSatisfy { $1 == 1 || $1 == scores[$0 + added] },
      "'attn_mask' \(shape) cannot be broadcast to \(scores)")
    func step(_ dimension: Int) -> Int {
      dimension < added || shape[dimension - added] == 1 ? 0 : strides[dimension - added]
    }
    let outer = scores.count - 2
    let loops = StridedLoops((0..<outer).map { StridedLoops.Axis(size: scores[$0], first: step($0), second: 0) })
    return Mask(argument: argument, offsets: loops, rowStep: step(outer), columnStep: step(outer + 1))
  }

  private var scores: FloatGemm {
    FloatGemm(groups: 1, outputsPerGroup: keys, depth: depth, lower: -.infinity, upper: .infinity)
  }

  private var averages: FloatGemm {
    FloatGemm(groups: 1, outputsPerGroup: width, depth: keys, lower: -.infinity, upper: .infinity)
  }

  /// Where things lie in the scratch memory: the packed keys, the packed values, the scores of a block of rows.
  struct Layout: Sendable {
    let valuesOffset, scoresOffset: Int
    let byteCount: Int
  }

  func layout(_ call: OperatorCall) throws(OperatorError) -> Layout {
    let (packedKeys, packedValues) = (try scores.packedByteCount(call), try averages.packedByteCount(call))
    let (packed, overflow) = packedKeys.addingReportingOverflow(packedValues)
    let (all, isLarge) = packed.addingReportingOverflow(keys * Attention.blockRows * 4)
    try call.check(!overflow && !isLarge, "the keys are too large")
    return Layout(valuesOffset: packedKeys, scoresOffset: packed, byteCount: all)
  }

  func run(_ buffers: KernelBuffers, _ layout: Layout) {
    if rows == 0 { return }
    guard let mask else {
      for index in 0..<batch { attend(buffers, layout, index, mask: nil) }
      return
    }
    var index = 0
    let row = mask.offsets.row
    mask.offsets.forEachRow { offset, _, _ in
      for i in 0..<row.size {
        attend(buffers, layout, index, mask: offset &+ i &* row.first)
        index += 1
      }
    }
  }

  /// One matrix; `mask` is the offset of its mask.
  private func attend(_ buffers: KernelBuffers, _ layout: Layout, _ index: Int, mask offset: Int?) {
    let q = buffers.input(query, as: Float.self) + index &* rows &* depth
    let target = buffers.output(as: Float.self) + index &* rows &* width
    let block = (buffers.scratch + layout.scoresOffset).assumingMemoryBound(to: Float.self)
    let values = buffers.scratch + layout.valuesOffset
    let (scores, average) = (scores, averages)
    average.pack(
      buffers.input(value, as: Float.self) + index &* keys &* width, steps: (output: 1, product: width), bias: nil,
      into: values)
    scores.pack(buffers.input(key, as: Float.self) + index &* keys &* depth, bias: nil, into: buffers.scratch)
    var first = 0
    while first < rows {
      let count = min(Attention.blockRows, rows - first)
      scores.multiply(
        GemmRows(q + first &* depth, count: count, length: depth, stride: depth), packed: buffers.scratch, group: 0,
        output: block, outputStride: keys)
      for row in 0..<count {
        let line = block + row &* keys
        for j in 0..<keys { line[j] *= scale }
        if let offset { apply(buffers, offset, row: first + row, to: line) }
        if isCausal, first + row + 1 < keys {
          for j in first + row + 1..<keys { line[j] = -.infinity }
        }
        softmax(line, count: keys)
      }
      average.multiply(
        GemmRows(block, count: count, length: keys, stride: keys), packed: values, group: 0,
        output: target + first &* width, outputStride: width)
      first += count
    }
  }

  private func apply(_ buffers: KernelBuffers, _ offset: Int, row: Int, to line: UnsafeMutablePointer<Float>) {
    guard let mask else { return }
    let start = offset &+ row &* mask.rowStep
    if mask.argument.dataType == .bool {
      let source = buffers.input(mask.argument, as: UInt8.self) + start
      for j in 0..<keys where source[j &* mask.columnStep] == 0 { line[j] = -.infinity }
    } else {
      let source = buffers.input(mask.argument, as: Float.self) + start
      for j in 0..<keys { line[j] += source[j &* mask.columnStep] }
    }
  }
}

/// exp(x − m) / Σ exp(x − m) in place, m being the maximum; zeros where all are −∞.
private func softmax(_ line: UnsafeMutablePointer<Float>, count: Int) {
  let maximum = greatest(line, count: count)
  if maximum == -.infinity {
    // NaN is no −∞, and stays.
    for j in 0..<count where line[j] == -.infinity { line[j] = 0 }
    return
  }
  var total: Float = 0
  for j in 0..<count {
    line[j] = expf(line[j] - maximum)
    total += line[j]
  }
  for j in 0..<count { line[j] /= total }
}
