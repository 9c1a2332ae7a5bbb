import TensorCore

extension Operator {
  /// `input · weightᵀ + bias` with clamp: f32, or int8 with per-tensor or per-channel weights. See `Int8Gemm` for the
  /// int8 result.
  ///
  /// Input [..., in], weight [out, in], bias [out] (float32, or int32 of scale input scale · weight scale) and output
  /// [..., out] are contiguous. `infer` leaves the quantization parameters of an int8 output open.
  package static let fusedLinear = Operator(
    "fused.linear(Tensor input, Tensor weight, Tensor? bias, float output_min=-inf, float output_max=inf) -> Tensor",
    traits: .fused, layer: .linear,
    infer: { call throws(OperatorError) in try FusedLinear(call).outputs },
    prepare: { call throws(OperatorError) in
      let linear = try FusedLinear(call)
      let output = try call.checkedOutput(linear.outputs)
      return linear.input.dataType == .int8 ? try linear.int8(call, output) : try linear.float(call)
    })
}

/// A validated call of `fused.linear`.
private struct FusedLinear {
  let input: TensorSpec
  let outputs: [TensorSpec]
  private let rows: Int
  private let depth: Int
  private let channels: Int
  private let inputIndex: Int

  init(_ call: OperatorCall) throws(OperatorError) {
    input = try call.activation("input")
    inputIndex = try call.position("input")
    let weight = try call.spec("weight")
    try call.check(
      weight.shape.rank == 2 && weight.dimOrder == .contiguous, "'weight' must be [out, in], contiguous, not \(weight)")
    try call.checkWeights(input: input)
    try call.check(
      input.shape.rank >= 1 && input.dimOrder == .contiguous, "'input' must be contiguous, at least 1-D, not \(input)")
    (channels, depth) = (weight.shape[0], weight.shape[1])
    let sizes = input.shape.dimensions
    try call.check(
      sizes.last == depth, "the last dimension of 'input' \(input.shape) must be that of 'weight' \(weight.shape)")
    guard let shape = Shape(validating: sizes.dropLast() + [channels]) else {
      throw call.error("the output of \(input.shape) and \(weight.shape) is too large")
    }
    _ = try call.outputBounds(input.dataType)
    rows = input.shape.elementCount / depth
    outputs = [TensorSpec(input.dataType, shape)]
  }

  func int8(_ call: OperatorCall, _ output: TensorSpec) throws(OperatorError) -> PreparedKernel {
    let gemm = Int8Gemm(
      groups: 1, outputsPerGroup: channels, runs: 1, runLength: depth,
      scales: try call.requantizationScales(input: input, output: output), requantizer: try call.requantizer(output))
    let weights = try FusedWeights(call, byteCount: try gemm.packedByteCount(call)) { weights, bias, packed in
      gemm.pack(
        weights.assumingMemoryBound(to: Int8.self), bias: bias?.assumingMemoryBound(to: Int32.self), into: packed)
    }
    let zeroPoint = Int16(try call.int8Parameters(input, "input").zeroPoint)
    let tileRows = FusedConvolution.tileRows(rowByteCount: gemm.rowStride * 2)
    let (rows, depth, channels, index, offset) = (rows, depth, channels, inputIndex, weights.scratchByteCount)
    return PreparedKernel(scratchByteCount: offset + tileRows * gemm.rowStride * 2) { buffers in
      let packed = weights.pointer(buffers)
      let tile = (buffers.scratch + offset).assumingMemoryBound(to: Int16.self)
      let (source, target) = (buffers.input(index, as: Int8.self), buffers.output(as: Int8.self))
      var first = 0
      while first < rows {
        let count = min(tileRows, rows &- first)
        for row in 0..<count {
          let (wide, values) = (tile + row &* gemm.rowStride, source + (first &+ row) &* depth)
          for k in 0..<depth { wide[k] = Int16(values[k]) &- zeroPoint }
        }
        gemm.multiply(
          GemmRows(tile, count: count, length: depth, stride: gemm.rowStride), packed: packed, group: 0,
          output: target + first &* channels, outputStride: channels)
        first &+= count
      }
    }
  }

  func float(_ call: OperatorCall) throws(OperatorError) -> PreparedKernel {
    let bounds = try call.floatBounds()
    let gemm = FloatGemm(
      groups: 1, outputsPerGroup: channels, depth: depth, lower: bounds.lower, upper: bounds.upper)
    let weights = try FusedWeights(call, byteCount: try gemm.packedByteCount(call)) { weights, bias, packed in
      gemm.pack(
        weights.assumingMemoryBound(to: Float.self), bias: bias?.assumingMemoryBound(to: Float.self), into: packed)
    }
    let (rows, depth, channels, index) = (rows, depth, channels, inputIndex)
    return PreparedKernel(scratchByteCount: weights.scratchByteCount) { buffers in
      gemm.multiply(
        GemmRows(buffers.input(index), count: rows, length: depth, stride: depth), packed: weights.pointer(buffers),
        group: 0, output: buffers.output(), outputStride: channels)
    }
  }
}
