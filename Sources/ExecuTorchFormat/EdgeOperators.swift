import GraphIR
import TensorCore

/// An operator of ExecuTorch's kernel library and the ATen operator that it is the out-variant of.
struct EdgeOperator: Sendable {
  /// What the kernel's argument stands for.
  enum Parameter: Sendable {
    /// The ATen operator's argument of that name.
    case named(String)
    /// Given when written, not looked at when read.
    case fixed(Attribute)
  }

  let kernel: ExecutionPlan.Operator
  let operatorName: String
  /// In the kernel's order; results follow them.
  let parameters: [Parameter]
  /// Results of the kernel; the ATen operator's is the first.
  let resultCount: Int

  init(_ kernel: String, _ operatorName: String, _ parameters: [Parameter], results: Int = 1) {
    let parts = kernel.split(separator: ".", maxSplits: 1).map(String.init)
    self.kernel = .init(name: parts[0], overload: parts.count > 1 ? parts[1] : "")
    self.operatorName = operatorName
    self.parameters = parameters
    self.resultCount = results
  }

  /// Kernels by name, of those that differ from an ATen operator in nothing but their arguments' order.
  static let byKernel = Dictionary(all.map { ($0.kernel, $0) }, uniquingKeysWith: { first, _ in first })

  /// The kernel that a written program calls: the first line of an ATen operator.
  static let byOperator = Dictionary(all.map { ($0.operatorName, $0) }, uniquingKeysWith: { first, _ in first })

  private static func names(_ text: String) -> [Parameter] { text.split(separator: " ").map { .named(String($0)) } }

  private static let all: [EdgeOperator] = [
    .init("aten::add.out", "aten.add.Tensor", names("self other alpha")),
    .init("aten::sub.out", "aten.sub.Tensor", names("self other alpha")),
    .init("aten::mul.out", "aten.mul.Tensor", names("self other")),
    .init("aten::div.out", "aten.div.Tensor", names("self other")),
    .init("aten::relu.out", "aten.relu.default", names("self")),
    .init("aten::hardtanh.out", "aten.hardtanh.default", names("self min_val max_val")),
    .init("aten::clamp.out", "aten.clamp.default", names("self min max")),
    .init("aten::sigmoid.out", "aten.sigmoid.default", names("self")),
    .init("aten::tanh.out", "aten.tanh.default", names("self")),
    .init("aten::gelu.out", "aten.gelu.default", names("self approximate")),
    .init("aten::elu.out", "aten.elu.default", names("self alpha scale input_scale")),
    .init("aten::leaky_relu.out", "aten.leaky_relu.default", names("self negative_slope")),
    .init("aten::exp.out", "aten.exp.default", names("self")),
    .init("aten::log.out", "aten.log.default", names("self")),
    .init("aten::sin.out", "aten.sin.default", names("self")),
    .init("aten::cos.out", "aten.cos.default", names("self")),
    .init("aten::floor.out", "aten.floor.default", names("self")),
    .init("aten::ceil.out", "aten.ceil.default", names("self")),
    .init("aten::minimum.out", "aten.minimum.default", names("self other")),
    .init("aten::maximum.out", "aten.maximum.default", names("self other")),
    .init("aten::neg.out", "aten.neg.default", names("self")),
    .init("aten::abs.out", "aten.abs.default", names("self")),
    .init("aten::sqrt.out", "aten.sqrt.default", names("self")),
    .init("aten::rsqrt.out", "aten.rsqrt.default", names("self")),
    .init("aten::pow.Tensor_Scalar_out", "aten.pow.Tensor_Scalar", names("self exponent")),
    .init("aten::_softmax.out", "aten.softmax.int", names("self dim") + [.fixed(.bool(false))]),
    .init("aten::linear.out", "aten.linear.default", names("input weight bias")),
    .init("aten::mm.out", "aten.mm.default", names("self mat2")),
    .init("aten::bmm.out", "aten.bmm.default", names("self mat2")),
    .init(
      "aten::native_layer_norm.out", "aten.layer_norm.default", names("input normalized_shape weight bias eps"),
      results: 3),
    .init(
      "aten::_native_batch_norm_legit_no_training.out", "aten.batch_norm.default",
      names("input weight bias running_mean running_var momentum eps"), results: 3),
    .init(
      "aten::embedding.out", "aten.embedding.default", names("weight indices padding_idx scale_grad_by_freq sparse")),
    .init(
      "aten::max_pool2d_with_indices.out", "aten.max_pool2d.default",
      names("self kernel_size stride padding dilation ceil_mode"), results: 2),
    .init(
      "aten::avg_pool2d.out", "aten.avg_pool2d.default",
      names("self kernel_size stride padding ceil_mode count_include_pad divisor_override")),
    .init("aten::_adaptive_avg_pool2d.out", "aten.adaptive_avg_pool2d.default", names("self output_size")),
    .init("aten::mean.out", "aten.mean.dim", names("self dim keepdim dtype")),
    .init("aten::sum.IntList_out", "aten.sum.dim_IntList", names("self dim keepdim dtype")),
    .init("aten::upsample_nearest2d.vec_out", "aten.upsample_nearest2d.vec", names("input output_size scale_factors")),
    .init(
      "aten::upsample_bilinear2d.vec_out", "aten.upsample_bilinear2d.vec",
      names("input output_size align_corners scale_factors")),
    .init("aten::cat.out", "aten.cat.default", names("tensors dim")),
    .init("aten::constant_pad_nd.out", "aten.constant_pad_nd.default", names("self pad value")),
    .init("aten::slice_copy.Tensor_out", "aten.slice.Tensor", names("self dim start end step")),
    .init("aten::view_copy.out", "aten.view.default", names("self size")),
    .init("executorch_prim::et_view.default", "aten.view.default", names("self size")),
    .init("executorch_prim::et_view", "aten.view.default", names("self size")),
    .init("aten::squeeze_copy.dim_out", "aten.squeeze.dim", names("self dim")),
    .init("aten::unsqueeze_copy.out", "aten.unsqueeze.default", names("self dim")),
    .init("aten::permute_copy.out", "aten.permute.default", names("self dims")),
    .init("aten::transpose_copy.int_out", "aten.transpose.int", names("self dim0 dim1")),
    .init("aten::expand_copy.out", "aten.expand.default", names("self size implicit")),
    .init("aten::select_copy.int_out", "aten.select.int", names("self dim index")),
    .init("aten::clone.out", "aten.clone.default", names("self memory_format")),
    .init("aten::alias_copy.out", "aten.alias.default", names("self")),
    .init(
      "dim_order_ops::_clone_dim_order.out", "aten.clone.default",
      names("self") + [.fixed(.bool(false)), .fixed(.none)]),
    .init(
      "dim_order_ops::_to_dim_order_copy.out", "aten.clone.default",
      names("self") + [.fixed(.bool(false)), .fixed(.none)]),
    // The result's type decides which of the two it is.
    .init(
      "dim_order_ops::_to_dim_order_copy.out", "aten.to.dtype", names("self") + [.fixed(.bool(false)), .fixed(.none)]),
    .init(
      "quantized_decomposed::quantize_per_tensor.out", "quantized_decomposed.quantize_per_tensor.default",
      names("input scale zero_point quant_min quant_max dtype")),
    .init(
      "quantized_decomposed::dequantize_per_tensor.out", "quantized_decomposed.dequantize_per_tensor.default",
      names("input scale zero_point quant_min quant_max dtype out_dtype")),
    .init(
      "quantized_decomposed::quantize_per_channel.out", "quantized_decomposed.quantize_per_channel.default",
      names("input scales zero_points axis quant_min quant_max dtype")),
    .init(
      "quantized_decomposed::dequantize_per_channel.out", "quantized_decomposed.dequantize_per_channel.default",
      names("input scales zero_points axis quant_min quant_max dtype out_dtype")),
  ]
}
