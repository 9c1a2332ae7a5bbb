import TensorCore

extension Operator {
  /// Product of int8 activations by PyTorch's `matmul` rules, each with parameters of its own:
  ///
  ///     sum = Σ (a − za) · (b − zb)                 in Int32, wrapping
  ///     q   = RNE(clamp(Float(sum) · s)) + zp       s = self scale · other scale / output scale, in Float
  ///
  /// Contiguous. `infer` leaves the output's quantization parameters open.
  static let fusedMatmul = Operator(
    "fused.matmul(Tensor self, Tensor other, float output_min=-inf, float output_max=inf) -> Tensor",
    infer: { call throws(OperatorError) in [try matmulOutput(call).spec] },
    prepare: { call throws(OperatorError) in
      let (product, inferred) = try matmulOutput(call)
      let output = try call.checkedOutput([inferred])
      let a = try call.int8Parameters(product.first.spec, "self")
      let b = try call.int8Parameters(product.second.spec, "other")
      let scale = a.scale * b.scale / (try call.int8Parameters(output, "output")).scale
      try call.check(
        scale.isFinite && scale > 0, "self scale · other scale / output scale is \(scale), no positive finite number")
      let kernel = Int8Matmul(
        product: product, zeroPoints: (Int16(a.zeroPoint), Int16(b.zeroPoint)), scale: scale,
        requantizer: try call.requantizer(output))
      return PreparedKernel(scratchByteCount: try kernel.scratchByteCount(call)) { kernel.run($0) }
    })
}

private func matmulOutput(_ call: OperatorCall) throws(OperatorError) -> (product: MatrixProduct, spec: TensorSpec) {
  for name in ["self", "other"] { _ = try call.int8Parameters(call.spec(name), name) }
  let product = try MatrixProduct(call, "self", "other", ranks: 1...StridedLoops.maximumRank)
  _ = try call.outputBounds(.int8)
  return (product, TensorSpec(.int8, product.output))
}

private struct Int8Matmul: Sendable {
  let product: MatrixProduct
  let zeroPoints: (Int16, Int16)
  let scale: Float
  let requantizer: Requantizer

  /// The second matrix, transposed to [columns, depth], and one row of the first; both less their zero points.
  func scratchByteCount(_ call: OperatorCall) throws(OperatorError) -> Int {
    let (count, overflow) = product.depth.multipliedReportingOverflow(by: product.columns + 1)
    try call.check(!overflow && count <= sizeLimit, "a matrix of \(product.depth) by \(product.columns) is too large")
    return count * 2
  }

  func run(_ buffers: KernelBuffers) {
    let (rows, depth, columns) = (product.rows, product.depth, product.columns)
    let transposed = buffers.scratch.assumingMemoryBound(to: Int16.self)
    let row = transposed + depth &* columns
    product.forEachMatrix { first, second, target in
      let (a, b) = (
        buffers.input(product.first, as: Int8.self) + first, buffers.input(product.second, as: Int8.self) + second
      )
      let output = buffers.output(as: Int8.self) + target
      for k in 0..<depth {
        for j in 0..<columns { transposed[j &* depth &+ k] = Int16(b[k &* columns &+ j]) &- zeroPoints.1 }
      }
      for i in 0..<rows {
        for k in 0..<depth { row[k] = Int16(a[i &* depth &+ k]) &- zeroPoints.0 }
        for j in 0..<columns {
          let column = transposed + j &* depth
          var sum: Int32 = 0
          for k in 0..<depth { sum &+= Int32(row[k]) &* Int32(column[k]) }
          output[i &* columns &+ j] = requantizer.requantize(sum, scale: scale)
        }
      }
    }
  }
}
