import TensorCore

// Quantization parameters chosen from the data, for dynamic quantization. See `DynamicParameters` for the numbers.

extension Operator {
  /// Scale (float64 [1]) and zero point (int64 [1]) of a float32 tensor, affine.
  public static let chooseQParams = Operator(
    choosing: "quantized_decomposed.choose_qparams.tensor(Tensor input, int quant_min, int quant_max, float eps, "
      + "ScalarType dtype) -> (Tensor, Tensor)", isPerToken: false
  ) { call throws(OperatorError) in
    let (low, high, eps) = try call.dynamicRange()
    return .affine(low: low, high: high, eps: eps)
  }

  /// Scale (float64 [1]) and zero point (int64 [1]) of a float32 tensor, symmetric about 0.
  public static let chooseQParamsSymmetric = Operator(
    choosing: "quantized_decomposed.choose_qparams_symmetric.tensor(Tensor input, int quant_min, int quant_max, "
      + "float eps, ScalarType dtype) -> (Tensor, Tensor)", isPerToken: false
  ) { call throws(OperatorError) in
    let (low, high, eps) = try call.dynamicRange()
    let zeroPoint: Int32 = try call.dataType("dtype") == .uint8 ? 128 : 0
    return .symmetric(low: low, high: high, eps: eps, zeroPoint: zeroPoint)
  }

  /// Scales (float64) and zero points (int64), [..., 1], of each vector along the last dimension of a float32 tensor.
  public static let chooseQParamsPerToken = Operator(
    choosing: "quantized_decomposed.choose_qparams_per_token_asymmetric.default(Tensor input, ScalarType dtype) "
      + "-> (Tensor, Tensor)", isPerToken: true
  ) { call throws(OperatorError) in
    let dataType = try call.dataType("dtype")
    try call.check(dataType == .int8, "'dtype' must be int8, not \(dataType)")
    return .token
  }

  private convenience init(
    choosing schema: String, isPerToken: Bool,
    rule: @escaping @Sendable (OperatorCall) throws(OperatorError) -> DynamicParameters.Rule
  ) {
    self.init(
      schema, traits: .choosesParameters,
      infer: { call throws(OperatorError) in
        _ = try rule(call)
        return try call.chosenSpecs(isPerToken)
      },
      prepare: { call throws(OperatorError) in
        let (rule, input) = (try rule(call), try call.floatTensor("input"))
        try call.check(try call.outputs == call.chosenSpecs(isPerToken), "the outputs must be float64 and int64")
        let count = isPerToken ? input.shape.dimensions.last ?? 1 : input.shape.elementCount
        let rows = call.outputs[0].shape.elementCount
        return PreparedKernel { buffers in
          let (scales, zeroPoints) = (buffers.output(0, as: Double.self), buffers.output(1, as: Int64.self))
          for row in 0..<rows {
            let chosen = DynamicParameters(buffers.input(input) + row &* count, count: count, rule)
            scales[row] = Double(chosen.scale)
            zeroPoints[row] = Int64(chosen.zeroPoint)
          }
        }
      })
  }
}

extension OperatorCall {
  fileprivate func dynamicRange() throws(OperatorError) -> (Int32, Int32, Float) {
    let (dataType, bounds) = try quantizedType([.int8, .uint8])
    let eps = Float(try float("eps"))
    try check(eps > 0 && eps.isFinite, "'eps' must be positive and finite, not \(eps)")
    try check(
      bounds.lowerBound < bounds.upperBound && bounds.contains(0),
      "quant_min \(bounds.lowerBound) and quant_max \(bounds.upperBound) must be a range of \(dataType) around 0")
    return (Int32(bounds.lowerBound), Int32(bounds.upperBound), eps)
  }

  fileprivate func chosenSpecs(_ isPerToken: Bool) throws(OperatorError) -> [TensorSpec] {
    let shape = try floatTensor("input").shape
    try check(!isPerToken || shape.rank > 0, "a scalar has no tokens")
    let sizes = isPerToken ? Shape(shape.dimensions.dropLast() + [1]) : [1]
    return [TensorSpec(.float64, sizes), TensorSpec(.int64, sizes)]
  }
}
