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
      "input scales zero_points axis quant_min quant_max dtype"),
    .init(
      "quantized_decomposed::dequantize_per_channel.out", .dequantizePerChannel,
      "input scales zero_points axis quant_min quant_max dtype out_dtype"),
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
      [try rewriter.emit(.clone, call, "", [("self", .value(call.arguments[0].operand.valueIDs[0]))], call.output)]
    },
    RewriteRow(.traits(.createsConstant)) { rewriter, call throws(GraphError) in
      let made = try rewriter.read(call) { call throws(OperatorError) in try call.op.execute(call, inputs: []) }
      return [rewriter.addConstant(call.name, made[0])]
    },
  ]
}
