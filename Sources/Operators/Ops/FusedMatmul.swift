import TensorCore

extension Operator {
  /// Product of int8 activations by PyTorch's `matmul` rules, each with parameters of its own:
  ///
  ///     sum = Σ (a − za) · (b − zb)                 in Int32, wrapping
  ///     q   = RNE(clamp(Float(sum) · s)) + zp       s = self scale · other scale / output scale, in Float
  ///
  /// Contiguous. `infer` leaves the output's quantization parameters open.
  package static let fusedMatmul = Operator(
    "fused.matmul(Tensor self, Tensor other, float output_min=-inf, float output_max=inf) -> Tensor", traits: .fused,
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
      let layout = try kernel.layout(call)
      return PreparedKernel(scratchByteCount: layout.byteCount) { kernel.run($0, layout) }
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
  let gemm: Int8Gemm

  init(product: MatrixProduct, zeroPoints: (Int16, Int16), scale: Float, requantizer: Requantizer) {
    (self.product, self.zeroPoints) = (product, zeroPoints)
    gemm = Int8Gemm(
      groups: 1, outputsPerGroup: product.columns, runs: 1, runLength: product.depth,
      scales: [scale], requantizer: requantizer)
  }

  /// The parts of the scratch memory: the second matrix, packed, and some rows of the first, less their zero point.
  struct Layout: Sendable {
    let rowsOffset, tileRows, byteCount: Int
  }

  func layout(_ call: OperatorCall) throws(OperatorError) -> Layout {
    try call.check(
      product.depth <= sizeLimit && product.columns <= sizeLimit,
      "a matrix of \(product.depth) by \(product.columns) is too large")
    let packed = try gemm.packedByteCount(call)
    let tileRows = FusedConvolution.tileRows(rowByteCount: gemm.rowStride * 2)
    let (all, overflow) = packed.addingReportingOverflow(tileRows * gemm.rowStride * 2 + 64)
    try call.check(!overflow, "a matrix of \(product.depth) by \(product.columns) is too large")
    return Layout(rowsOffset: (packed + 63) / 64 * 64, tileRows: tileRows, byteCount: all)
  }

  func run(_ buffers: KernelBuffers, _ layout: Layout) {
    let (rows, depth, columns) = (product.rows, product.depth, product.columns)
    let (gemm, zeroPoint) = (gemm, zeroPoints.0)
    let tile = (buffers.scratch + layout.rowsOffset).assumingMemoryBound(to: Int16.self)
    product.forEachMatrix { first, second, target in
      let a = buffers.input(product.first, as: Int8.self) + first
      gemm.pack(
        buffers.input(product.second, as: Int8.self) + second, steps: (output: 1, product: columns),
        zeroPoint: zeroPoints.1, bias: nil, into: buffers.scratch)
      var row = 0
      while row < rows {
        let count = min(layout.tileRows, rows &- row)
        for i in 0..<count {
          let (wide, values) = (tile + i &* gemm.rowStride, a + (row &+ i) &* depth)
          for k in 0..<depth { wide[k] = Int16(values[k]) &- zeroPoint }
        }
        gemm.multiply(
          GemmRows(tile, count: count, length: depth, stride: gemm.rowStride), packed: buffers.scratch, group: 0,
          output: buffers.output(as: Int8.self) + (target &+ row &* columns), outputStride: columns)
        row &+= count
      }
    }
  }
}
