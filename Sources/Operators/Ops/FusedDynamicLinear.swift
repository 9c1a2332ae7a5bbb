import TensorCore

extension Operator {
  /// Linear layer with clamp whose f32 input is quantized when it runs: with parameters for each row (rule `token`), or
  /// for the whole tensor (`affine`, `symmetric` in [quant_min, quant_max]). See `DynamicParameters`.
  ///
  ///     sum = Σ (q − zp) · w                                        in Int32, wrapping
  ///     y   = Float(sum) · (x_scale · w_scale) + bias               in Float, clamped
  ///
  /// Input [..., in] and output [..., out] are float32, contiguous; weight [out, in] is int8, symmetric, per tensor or per
  /// channel; bias [out] is float32.
  package static let fusedDynamicLinear = Operator(
    "fused.dynamic_linear(Tensor input, Tensor weight, Tensor? bias, str rule=\"token\", int quant_min=-128, "
      + "int quant_max=127, float eps=1.1920929e-07, float output_min=-inf, float output_max=inf) -> Tensor",
    traits: [.fused, .dynamic], layer: .linear,
    infer: { call throws(OperatorError) in [try DynamicLinear(call).output] },
    prepare: { call throws(OperatorError) in
      let linear = try DynamicLinear(call)
      _ = try call.checkedOutput([linear.output])
      return try linear.prepared(call)
    })
}

/// A validated call.
private struct DynamicLinear {
  let output: TensorSpec
  private let rows, depth, channels, inputIndex: Int
  private let rule: DynamicParameters.Rule

  init(_ call: OperatorCall) throws(OperatorError) {
    let input = try call.dynamicActivation("input")
    inputIndex = try call.position("input")
    let weight = try call.spec("weight")
    try call.check(
      weight.shape.rank == 2 && weight.dimOrder == .contiguous, "'weight' must be [out, in], contiguous, not \(weight)")
    try call.checkDynamicWeights()
    (channels, depth) = (weight.shape[0], weight.shape[1])
    try call.check(
      input.dimOrder == .contiguous && input.shape.dimensions.last == depth,
      "the last dimension of 'input' \(input) must be that of 'weight' \(weight.shape)")
    output = TensorSpec(.float32, try call.checkedShape(input.shape.dimensions.dropLast() + [channels]))
    rows = input.shape.elementCount / max(depth, 1)
    rule = try call.dynamicRule()
  }

  func prepared(_ call: OperatorCall) throws(OperatorError) -> PreparedKernel {
    let gemm = try call.dynamicGemm(groups: 1, outputs: channels, runs: 1, runLength: depth)
    let weights = try call.dynamicWeights(gemm)
    let bounds = try call.floatBounds()
    let tileRows = FusedConvolution.tileRows(rowByteCount: gemm.rowStride * 2)
    let (rows, depth, channels, index, rule) = (rows, depth, channels, inputIndex, rule)
    let offset = weights.scratchByteCount
    let scalesOffset = offset + (tileRows * gemm.rowStride * 2 + 63) / 64 * 64
    return PreparedKernel(scratchByteCount: scalesOffset + tileRows * 4) { buffers in
      let packed = weights.pointer(buffers)
      let tile = (buffers.scratch + offset).assumingMemoryBound(to: Int16.self)
      let scales = (buffers.scratch + scalesOffset).assumingMemoryBound(to: Float.self)
      let (source, target) = (buffers.input(index, as: Float.self), buffers.output(as: Float.self))
      let shared = rule == .token ? nil : DynamicParameters(source, count: rows &* depth, rule)
      var first = 0
      while first < rows {
        let count = min(tileRows, rows &- first)
        for row in 0..<count {
          let values = source + (first &+ row) &* depth
          let parameters = shared ?? DynamicParameters(values, count: depth, rule)
          scales[row] = parameters.scale
          parameters.quantize(values, count: depth, rule, centredTo: tile + row &* gemm.rowStride)
        }
        gemm.multiplyReal(
          GemmRows(tile, count: count, length: depth, stride: gemm.rowStride), scales: scales, scaleStep: 1,
          packed: packed, group: 0, bounds: bounds, output: target + first &* channels, outputStride: channels)
        first &+= count
      }
    }
  }
}

// MARK: What dynamic operators have in common

extension OperatorCall {
  func dynamicActivation(_ name: String) throws(OperatorError) -> TensorSpec {
    let spec = try activation(name)
    try check(spec.dataType == .float32, "'\(name)' must be float32, not \(spec.dataType)")
    return spec
  }

  /// Checks int8 weight and float32 bias.
  func checkDynamicWeights() throws(OperatorError) {
    try checkWeights(
      input: TensorSpec(.int8, [], quantization: QuantizationParameters(scale: 1, zeroPoint: 0)), isDynamic: true)
  }

  func dynamicRule() throws(OperatorError) -> DynamicParameters.Rule {
    let (low, high, eps) = (try int("quant_min"), try int("quant_max"), Float(try float("eps")))
    try check(
      (-128...0).contains(low) && (0...127).contains(high) && low < high,
      "quant_min \(low) and quant_max \(high) must be a range of int8 around 0")
    try check(eps > 0 && eps.isFinite, "'eps' must be positive and finite, not \(eps)")
    switch try string("rule") {
    case "token": return .token
    case "affine": return .affine(low: Int32(low), high: Int32(high), eps: eps)
    case "symmetric": return .symmetric(low: Int32(low), high: Int32(high), eps: eps)
    case let other: throw error("'rule' must be 'token', 'affine' or 'symmetric', not '\(other)'")
    }
  }

  /// The matrix product whose scales are the weight's.
  func dynamicGemm(groups: Int, outputs: Int, runs: Int, runLength: Int) throws(OperatorError) -> Int8Gemm {
    Int8Gemm(
      groups: groups, outputsPerGroup: outputs / groups, runs: runs, runLength: runLength,
      scales: try weightScales(spec("weight")),
      requantizer: Requantizer(Int8Parameters(scale: 1, zeroPoint: 0)))
  }

  func dynamicWeights(_ gemm: Int8Gemm) throws(OperatorError) -> FusedWeights {
    try FusedWeights(self, byteCount: try gemm.packedByteCount(self)) { weights, bias, packed in
      // The bits of the Float biases.
      gemm.pack(
        weights.assumingMemoryBound(to: Int8.self), bias: bias?.assumingMemoryBound(to: Int32.self), into: packed)
    }
  }
}
