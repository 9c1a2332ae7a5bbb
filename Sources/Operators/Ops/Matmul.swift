import TensorCore

extension Operator {
  /// Matrix product, f32, by PyTorch's rules: a 1-D operand is a row (first) or a column (second) that the result lacks;
  /// dimensions before the last two are broadcast.
  static let matmul = Operator("aten.matmul.default(Tensor self, Tensor other) -> Tensor") {
    call throws(OperatorError) in
    try productPlan(call, MatrixProduct(call, "self", "other", ranks: 1...StridedLoops.maximumRank))
  }

  /// Product of batches of matrices, f32: [B, M, K] times [B, K, N].
  static let bmm = Operator("aten.bmm.default(Tensor self, Tensor mat2) -> Tensor") { call throws(OperatorError) in
    try productPlan(call, MatrixProduct(call, "self", "mat2", ranks: 3...3))
  }

  /// Product of matrices, f32: [M, K] times [K, N].
  static let mm = Operator("aten.mm.default(Tensor self, Tensor mat2) -> Tensor") { call throws(OperatorError) in
    try productPlan(call, MatrixProduct(call, "self", "mat2", ranks: 2...2))
  }
}

private func productPlan(_ call: OperatorCall, _ product: MatrixProduct) throws(OperatorError) -> KernelPlan {
  let (a, b) = (product.first, product.second)
  try call.check(
    a.dataType == .float32 && b.dataType == .float32, "the operands must be float32, not \(a.spec) and \(b.spec)")
  return KernelPlan(TensorSpec(.float32, product.output)) {
    PreparedKernel { buffers in
      product.forEachMatrix { x, y, z in
        let (x, y) = (buffers.input(a, as: Float.self) + x, buffers.input(b, as: Float.self) + y)
        let target = buffers.output(as: Float.self) + z
        for i in 0..<product.rows {
          let line = target + i &* product.columns
          line.update(repeating: 0, count: product.columns)
          for k in 0..<product.depth {
            let (value, other) = (x[i &* product.depth &+ k], y + k &* product.columns)
            for j in 0..<product.columns { line[j] += value * other[j] }
          }
        }
      }
    }
  }
}
