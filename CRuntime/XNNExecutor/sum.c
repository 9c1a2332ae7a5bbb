// int8 sums on kernels of ours: ADD, and CONVOLUTION_2D_ADD, a convolution whose output is one operand.
#include "xnn_compat.h"

// Sets the sum of tensors with these parameters.
static enum xnx_status add_of(
    const struct ds_value *a, const struct ds_value *b, const struct ds_value *output, struct xnx_bounds bounds,
    struct i8k_add *add) {
  const struct ds_value *values[3] = {a, b, output};
  float scales[3];
  int8_t zero_points[3];
  for (size_t i = 0; i < 3; i++) {
    struct xnx_quantization q;
    const enum xnx_status status = xnx_quantization_of(values[i], &q);
    if (status != XNX_OK) return status;
    scales[i] = q.scale;
    zero_points[i] = q.zero_point;
  }
  const bool exists = i8k_add_init(add, scales, zero_points, (int8_t)bounds.min, (int8_t)bounds.max);
  return exists ? XNX_OK : XNX_UNSUPPORTED;
}

enum xnx_status xnx_create_native_add(
    const struct xnx_operands *operands, struct xnx_bounds bounds, struct xnx_operator *op) {
  const enum xnx_kernels kernels = operands->options->kernels;
  // The library's for AVX2 is as fast.
  if (kernels == XNX_KERNELS_XNNPACK || (kernels == XNX_KERNELS_AUTO && i8k_isa() != CPU_AVX512_VNNI)) {
    return XNX_UNSUPPORTED;
  }
  const enum xnx_status status =
      add_of(operands->inputs[0], operands->inputs[1], operands->output, bounds, &op->add);
  if (status != XNX_OK) return status;
  op->part_count = 0;
  op->kernel = xnx_kernel_add;
  return XNX_OK;
}

// The node of the convolution alone, and its output, which nothing holds.
struct convolution {
  struct ds_node node;
  struct ds_value output;
  struct xnx_operands operands;
};

static enum xnx_status convolution_of(const struct xnx_operands *operands, struct convolution *convolution) {
  const struct ds_value *other = operands->inputs[0], *input = operands->inputs[1], *output = operands->output;
  const struct ds_sum *sum = &operands->node->as.sum;
  if (input == NULL || input->type != other->type || output->type != other->type || !xnx_same_sizes(other, output)) {
    return XNX_INVALID_NODE;
  }
  const bool depthwise = sum->window.groups > 1 && sum->window.groups == (uint32_t)input->sizes[input->rank - 1];
  if (other->type != DS_INT8 || input->data != NULL || depthwise) return XNX_UNSUPPORTED;
  convolution->node = *operands->node;
  convolution->node.kind = DS_CONVOLUTION_2D;
  convolution->node.output_min = sum->min;
  convolution->node.output_max = sum->max;
  convolution->output = *output;
  convolution->output.scale_count = 1;
  convolution->output.scale = &sum->scale;
  convolution->output.zero_point = sum->zero_point;
  convolution->operands = (struct xnx_operands){
      .node = &convolution->node, .inputs = {input, operands->inputs[2], operands->inputs[3]},
      .output = &convolution->output, .options = operands->options, .threads = operands->threads};
  return XNX_OK;
}

// Setup takes the other operand first; convolutions look for their input there.
static void swap_inputs(struct xnx_operator *op) {
  const void *other = op->inputs[0];
  op->inputs[0] = op->inputs[1];
  op->inputs[1] = other;
}

static enum xnx_status setup_native(struct xnx_operator *op, pthreadpool_t pool) {
  swap_inputs(op);
  return xnx_setup_native(op, pool);
}

static void run_native(const struct xnx_operator *op, struct thr_pool *threads) {
  const struct xnx_native *native = &op->as.native;
  i8k_conv_run_sum(
      &native->conv, native->packed, op->inputs[0], &op->add, op->inputs[1], op->output, native->scratch, threads);
}

static enum xnx_status setup_library(struct xnx_operator *op, pthreadpool_t pool) {
  swap_inputs(op);
  void *output = op->output;
  op->output = op->sums;
  const enum xnx_status status = xnc_setup_convolution(op, pool);
  op->output = output;
  return status;
}

enum xnx_status xnx_reshape_convolution_add(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct convolution convolution;
  enum xnx_status status = convolution_of(operands, &convolution);
  if (status == XNX_OK) status = xnx_reshape_convolution(&convolution.operands, op);
  op->elements = xnx_element_count(operands->output);
  return status;
}

enum xnx_status xnx_create_convolution_add(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct convolution convolution;
  struct xnx_bounds bounds;
  enum xnx_status status = convolution_of(operands, &convolution);
  if (status == XNX_OK) status = xnx_bounds_of(operands->node, DS_INT8, &bounds);
  if (status == XNX_OK) {
    status = add_of(&convolution.output, operands->inputs[0], operands->output, bounds, &op->add);
  }
  if (status == XNX_OK) status = xnx_create_convolution(&convolution.operands, op);
  if (status != XNX_OK) return status;
  op->input_count = 2;
  op->elements = xnx_element_count(operands->output);
  if (op->is_native) {
    op->setup = setup_native;
    op->kernel = run_native;
  } else {
    op->setup = setup_library;
    op->epilogue = xnx_kernel_add;
  }
  return XNX_OK;
}
