import GraphIR
import Operators
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
  let op: Operator
  /// In the kernel's order; results follow them.
  let parameters: [Parameter]
  /// Results of the kernel; the ATen operator's is the first.
  let resultCount: Int

  init(_ kernel: String, _ op: Operator, _ parameters: [Parameter], results: Int = 1) {
    let parts = kernel.split(separator: ".", maxSplits: 1).map(String.init)
    self.kernel = .init(name: parts[0], overload: parts.count > 1 ? parts[1] : "")
    self.op = op
    self.parameters = parameters
    self.resultCount = results
  }

  /// Kernels by name, of those that differ from an ATen operator in nothing but their arguments' order.
  static let byKernel = Dictionary(all.map { ($0.kernel, $0) }, uniquingKeysWith: { first, _ in first })

  /// The kernel that a written program calls: the first line of an ATen operator.
  static let byOperator = Dictionary(all.map { ($0.op, $0) }, uniquingKeysWith: { first, _ in first })

  private static func names(_ text: String) -> [Parameter] { text.split(separator: " ").map { .named(String($0)) } }

  private static let all: [EdgeOperator] = [
    .init("aten::add.out", .add, names("self other alpha")),
    .init("aten::sub.out", .sub, names("self other alpha")),
    .init("aten::mul.out", .mul, names("self other")),
    .init("aten::div.out", .div, names("self other")),
    .init("aten::relu.out", .relu, names("self")),
    .init("aten::hardtanh.out", .hardtanh, names("self min_val max_val")),
    .init("aten::clamp.out", .clamp, names("self min max")),
    .init("aten::sigmoid.out", .sigmoid, names("self")),
    .init("aten::tanh.out", .tanh, names("self")),
    .init("aten::gelu.out", .gelu, names("self approximate")),
    .init("aten::elu.out", .elu, names("self alpha scale input_scale")),
    .init("aten::leaky_relu.out", .leakyRelu, names("self negative_slope")),
    .init("aten::exp.out", .exp, names("self")),
    .init("aten::log.out", .log, names("self")),
    .init("aten::sin.out", .sin, names("self")),
    .init("aten::cos.out", .cos, names("self")),
    .init("aten::floor.out", .floor, names("self")),
    .init("aten::ceil.out", .ceil, names("self")),
    .init("aten::minimum.out", .minimum, names("self other")),
    .init("aten::maximum.out", .maximum, names("self other")),
    .init("aten::neg.out", .neg, names("self")),
    .init("aten::abs.out", .abs, names("self")),
    .init("aten::sqrt.out", .sqrt, names("self")),
    .init("aten::rsqrt.out", .rsqrt, names("self")),
    .init("aten::pow.Tensor_Scalar_out", .pow, names("self exponent")),
    .init("aten::_softmax.out", .softmax, names("self dim") + [.fixed(.bool(false))]),
    .init("aten::linear.out", .linear, names("input weight bias")),
    .init("aten::mm.out", .mm, names("self mat2")),
    .init("aten::bmm.out", .bmm, names("self mat2")),
    .init(
      "aten::native_layer_norm.out", .layerNorm, names("input normalized_shape weight bias eps"),
      results: 3),
    .init(
      "aten::_native_batch_norm_legit_no_training.out", .batchNorm,
      names("input weight bias running_mean running_var momentum eps"), results: 3),
    .init(
      "aten::embedding.out", .embedding, names("weight indices padding_idx scale_grad_by_freq sparse")),
    .init(
      "aten::max_pool2d_with_indices.out", .maxPool2d,
      names("self kernel_size stride padding dilation ceil_mode"), results: 2),
    .init(
      "aten::avg_pool2d.out", .avgPool2d,
      names("self kernel_size stride padding ceil_mode count_include_pad divisor_override")),
    .init("aten::_adaptive_avg_pool2d.out", .adaptiveAvgPool2d, names("self output_size")),
    .init("aten::mean.out", .meanDim, names("self dim keepdim dtype")),
    .init("aten::sum.IntList_out", .sumDim, names("self dim keepdim dtype")),
    .init("aten::upsample_nearest2d.vec_out", .upsampleNearest2d, names("input output_size scale_factors")),
    .init(
      "aten::upsample_bilinear2d.vec_out", .upsampleBilinear2d,
      names("input output_size align_corners scale_factors")),
    .init("aten::cat.out", .cat, names("tensors dim")),
    .init("aten::constant_pad_nd.out", .constantPadNd, names("self pad value")),
    .init("aten::slice_copy.Tensor_out", .slice, names("self dim start end step")),
    .init("aten::view_copy.out", .view, names("self size")),
    .init("executorch_prim::et_view.default", .view, names("self size")),
    .init("executorch_prim::et_view", .view, names("self size")),
    .init("aten::squeeze_copy.dim_out", .squeeze, names("self dim")),
    .init("aten::unsqueeze_copy.out", .unsqueeze, names("self dim")),
    .init("aten::permute_copy.out", .permute, names("self dims")),
    .init("aten::transpose_copy.int_out", .transposeInt, names("self dim0 dim1")),
    .init("aten::expand_copy.out", .expand, names("self size implicit")),
    .init("aten::select_copy.int_out", .select, names("self dim index")),
    .init("aten::clone.out", .clone, names("self memory_format")),
    .init("aten::alias_copy.out", .alias, names("self")),
    .init(
      "dim_order_ops::_clone_dim_order.out", .clone,
      names("self") + [.fixed(.bool(false)), .fixed(.none)]),
    .init(
      "dim_order_ops::_to_dim_order_copy.out", .clone,
      names("self") + [.fixed(.bool(false)), .fixed(.none)]),
    // The result's type decides which of the two it is.
    .init(
      "dim_order_ops::_to_dim_order_copy.out", .toDtype, names("self") + [.fixed(.bool(false)), .fixed(.none)]),
    .init(
      "quantized_decomposed::quantize_per_tensor.out", .quantizePerTensor,
      names("input scale zero_point quant_min quant_max dtype")),
    .init(
      "quantized_decomposed::dequantize_per_tensor.out", .dequantizePerTensor,
      names("input scale zero_point quant_min quant_max dtype out_dtype")),
    .init(
      "quantized_decomposed::quantize_per_channel.out", .quantizePerChannel,
      names("input scales zero_points axis quant_min quant_max dtype")),
    .init(
      "quantized_decomposed::dequantize_per_channel.out", .dequantizePerChannel,
      names("input scales zero_points axis quant_min quant_max dtype out_dtype")),
  ]
}
