import GraphIR
import Operators
import TensorCore

extension KernelRow {
  /// Copies, other element types, and quantization as an operator of its own.
  static let conversions: [KernelRow] = [
    .init("aten::clone.out", .clone, parameters: names("self memory_format"), adapt: asConversion),
    .init("aten::alias_copy.out", .alias, "self"),
    .init("dim_order_ops::_clone_dim_order.out", .clone, parameters: copying, adapt: asConversion),
    .init("dim_order_ops::_to_dim_order_copy.out", .clone, .toDtype, parameters: copying, adapt: asConversion),
    .init(
      "quantized_decomposed::quantize_per_tensor.out", .quantizePerTensor,
      "input scale zero_point quant_min quant_max dtype"),
    .init(
      "quantized_decomposed::dequantize_per_tensor.out", .dequantizePerTensor,
      "input scale zero_point quant_min quant_max dtype out_dtype"),
    .init(
      "quantized_decomposed::quantize_per_channel.out", .quantizePerChannel,
      parameters: names("input scales zero_points axis quant_min quant_max dtype"), adapt: narrowScales),
    .init(
      "quantized_decomposed::dequantize_per_channel.out", .dequantizePerChannel,
      parameters: names("input scales zero_points axis quant_min quant_max dtype out_dtype"), adapt: narrowScales),
    .init(
      "quantized_decomposed::choose_qparams.Tensor_out", .chooseQParams, "input quant_min quant_max eps dtype"),
    .init(
      "quantized_decomposed::choose_qparams_per_token_asymmetric.out", .chooseQParamsPerToken, "input dtype"),
    .init(
      "quantized_decomposed::quantize_per_tensor.Tensor_out", .quantizePerTensorTensor,
      "input scale zero_point quant_min quant_max dtype"),
    .init(
      "quantized_decomposed::dequantize_per_tensor.Tensor_out", .dequantizePerTensorTensor,
      "input scale zero_point quant_min quant_max dtype out_dtype"),
    .init(
      "quantized_decomposed::quantize_per_token.out", .quantizePerToken,
      "input scales zero_points quant_min quant_max dtype"),
    .init(
      "quantized_decomposed::dequantize_per_token.out", .dequantizePerToken,
      "input scales zero_points quant_min quant_max dtype output_dtype"),
  ]

  /// Scales lie in files as float64, but the kernels compute in float32.
  private static func narrowScales(_ reading: inout Reading) {
    guard let index = reading.arguments.firstIndex(where: { $0.0 == "scales" }),
      case .value(let id) = reading.arguments[index].1, let tensor = reading.builder.constants[id],
      tensor.dataType == .float64
    else { return }
    let scales = tensor.elements(as: Double.self)
    guard scales.allSatisfy({ Double(Float($0)) == $0 }) else { return }
    let narrow = Tensor(scales.map { Float($0) }, shape: tensor.shape)
    reading.arguments[index].1 = .value(reading.builder.addConstant("scales", narrow))
  }

  private static let copying = names("self") + [.fixed("non_blocking", .bool(false)), .fixed("dim_order", .none)]

  /// The copying kernels convert to the type of their result.
  private static func asConversion(_ reading: inout Reading) {
    guard let input = reading.input, input.dataType != reading.result.dataType else { return }
    reading.op = .toDtype
    reading.arguments = [reading.arguments[0], ("dtype", .attribute(.dataType(reading.result.dataType)))]
  }
}

extension RewriteRow {
  static let conversions: [RewriteRow] = [
    RewriteRow([.dropout, .contiguous]) { rewriter, call throws(GraphError) in
      try rewriter.emit(.clone, call, [call.arguments[0].operand.valueIDs[0]])
    },
    // The kernels take parameters of channels as float64 and int64 only.
    RewriteRow([.quantizePerChannel, .dequantizePerChannel]) { rewriter, call throws(GraphError) in
      var call = call
      for (name, type) in [("scales", DataType.float64), ("zero_points", .int64)] {
        guard case .value(let id) = call.operand(name), let tensor = rewriter.constants[id] else { continue }
        let wide: Tensor
        switch (tensor.dataType, type) {
        case (.float32, .float64):
          wide = Tensor(tensor.elements(as: Float.self).map(Double.init), shape: tensor.shape)
        case (.int32, .int64): wide = Tensor(tensor.elements(as: Int32.self).map(Int64.init), shape: tensor.shape)
        default: continue
        }
        call.set(name, .value(rewriter.addConstant(rewriter.result.graph[id].name, wide)))
      }
      return try rewriter.emit(call)
    },
    RewriteRow(.traits(.createsConstant)) { rewriter, call throws(GraphError) in
      let made = try rewriter.read(call) { call throws(OperatorError) in try call.op.execute(call, inputs: []) }
      return rewriter.addConstant(call.name, made[0])
    },
  ]
}
