import TensorCore

extension Operator {
  /// Matrix product, f32 or int32 (wrapping), by PyTorch's rules: a 1-D operand is a row (first) or a column (second) that the result lacks;
  /// dimensions before the last two are broadcast.
  public static let matmul = Operator(
    "aten.matmul.default(Tensor self, Tensor other) -> Tensor", traits: .ownQuantization
  ) {
    call throws(OperatorError) in
    try productPlan(call, MatrixProduct(call, "self", "other", ranks: 1...StridedLoops.maximumRank))
  }

  /// Product of batches of matrices, f32 or int32: [B, M, K] times [B, K, N].
  public static let bmm = Operator("aten.bmm.default(Tensor self, Tensor mat2) -> Tensor", traits: .ownQuantization) {
    call throws(OperatorError) in
    try productPlan(call, MatrixProduct(call, "self", "mat2", ranks: 3...3))
  }

  /// Product of matrices, f32 or int32: [M, K] times [K, N].
  public static let mm = Operator("aten.mm.default(Tensor self, Tensor mat2) -> Tensor", traits: .ownQuantization) {
    call throws(OperatorError) in
    try productPlan(call, MatrixProduct(call, "self", "mat2", ranks: 2...2))
  }
}

extension Operator {
  /// beta · self + alpha · mat1 · mat2, f32: [M, K] times [K, N], `self` broadcast to [M, N].
  public static let addmm = Operator(
    "aten.addmm.default(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor"
  ) { call throws(OperatorError) in
    let product = try MatrixProduct(call, "mat1", "mat2", ranks: 2...2)
    let summand = try call.floatTensor("self")
    try call.check(
      product.first.dataType == .float32 && product.second.dataType == .float32,
      "'mat1' and 'mat2' must be float32, not \(product.first.spec) and \(product.second.spec)")
    try call.check(
      try call.broadcast(summand.shape, product.output) == product.output,
      "'self' \(summand.shape) cannot be broadcast to \(product.output)")
    let (beta, alpha) = (Float(try call.float("beta")), Float(try call.float("alpha")))
    let loops = broadcastLoops(product.output, product.output, summand.shape)
    return KernelPlan(TensorSpec(.float32, product.output)) { () throws(OperatorError) in
      let gemm = try product.gemm(call)
      return PreparedKernel(scratchByteCount: try gemm.packedByteCount(call)) { buffers in
        multiply(product, gemm, buffers)
        let target = buffers.output(as: Float.self)
        // NaN in a summand that is multiplied by 0 does not count, as in PyTorch.
        loops.map(UnsafePointer(target), buffers.input(summand), target) {
          beta == 0 ? alpha * $0 : beta * $1 + alpha * $0
        }
      }
    }
  }
}

private func productPlan(_ call: OperatorCall, _ product: MatrixProduct) throws(OperatorError) -> KernelPlan {
  let (a, b) = (product.first, product.second)
  try call.check(
    a.dataType == b.dataType && (a.dataType == .float32 || a.dataType == .int32),
    "the operands must both be float32 or int32, not \(a.spec) and \(b.spec)")
  return KernelPlan(TensorSpec(a.dataType, product.output)) { () throws(OperatorError) in
    if a.dataType == .int32 { return PreparedKernel { multiply(product, $0, zero: Int32(0)) { $0 &+ $1 &* $2 } } }
    let gemm = try product.gemm(call)
    return PreparedKernel(scratchByteCount: try gemm.packedByteCount(call)) { multiply(product, gemm, $0) }
  }
}

extension MatrixProduct {
  fileprivate func gemm(_ call: OperatorCall) throws(OperatorError) -> FloatGemm {
    try call.check(
      depth <= sizeLimit && columns <= sizeLimit, "a matrix of \(depth) by \(columns) is too large")
    return FloatGemm(groups: 1, outputsPerGroup: columns, depth: depth, lower: -.infinity, upper: .infinity)
  }
}

/// Products are added in the order of the depth.
private func multiply(_ product: MatrixProduct, _ gemm: FloatGemm, _ buffers: KernelBuffers) {
  // Packing would take as long as the product of few rows.
  if product.rows < 4 { return multiply(product, buffers, zero: Float(0)) { $0 + $1 * $2 } }
  product.forEachMatrix { x, y, z in
    let first = buffers.input(product.first, as: Float.self) + x
    gemm.pack(
      buffers.input(product.second, as: Float.self) + y, steps: (output: 1, product: product.columns), bias: nil,
      into: buffers.scratch)
    gemm.multiply(
      GemmRows(first, count: product.rows, length: product.depth, stride: product.depth), packed: buffers.scratch,
      group: 0, output: buffers.output(as: Float.self) + z, outputStride: product.columns)
  }
}

/// Row by row, without packing.
@inline(__always)
private func multiply<Element>(
  _ product: MatrixProduct, _ buffers: KernelBuffers, zero: Element,
  adding multiplyAdd: (_ sum: Element, _ x: Element, _ y: Element) -> Element
) {
  product.forEachMatrix { x, y, z in
    let (x, y) = (
      buffers.input(product.first, as: Element.self) + x, buffers.input(product.second, as: Element.self) + y
    )
    let target = buffers.output(as: Element.self) + z
    for i in 0..<product.rows {
      let line = target + i &* product.columns
      line.update(repeating: zero, count: product.columns)
      for k in 0..<product.depth {
        let (value, other): (Element, UnsafePointer<Element>) = (x[i &* product.depth &+ k], y + k &* product.columns)
        for j in 0..<product.columns { line[j] = multiplyAdd(line[j], value, other[j]) }
      }
    }
  }
}
