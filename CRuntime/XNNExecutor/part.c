// CONVOLUTION_2D_CAT: a convolution that writes the channels of a concatenation which are its own.
#include <string.h>

#include "xnn_compat.h"

// The node of the convolution alone, and its output, packed.
struct convolution {
  struct ds_node node;
  struct ds_value output;
  struct xnx_operands operands;
};

static enum xnx_status convolution_of(
    const struct xnx_operands *operands, struct convolution *convolution, struct xnx_operator *op) {
  const struct ds_value *input = operands->inputs[0], *filter = operands->inputs[1], *output = operands->output;
  const struct ds_value *other = operands->inputs[3];
  const struct ds_part *part = &operands->node->as.part;
  if (filter == NULL || output->rank != 4 || output->type != input->type || part->start < 0) return XNX_INVALID_NODE;
  if (filter->sizes[0] > output->sizes[3] || part->start > output->sizes[3] - filter->sizes[0]) {
    return XNX_INVALID_NODE;
  }
  if (other != NULL && (other->type != output->type || other->data != NULL || !xnx_same_sizes(other, output) ||
                        !xnx_same_quantization(other, output))) {
    return XNX_INVALID_NODE;
  }
  const bool depthwise = part->window.groups > 1 && part->window.groups == (uint32_t)input->sizes[input->rank - 1];
  if (input->type != DS_INT8 || depthwise || output->sizes[3] > XNX_MAX_CHANNELS) return XNX_UNSUPPORTED;
  convolution->node = *operands->node;
  convolution->node.kind = DS_CONVOLUTION_2D;
  convolution->output = *output;
  convolution->output.sizes[3] = filter->sizes[0];
  convolution->operands = (struct xnx_operands){
      .node = &convolution->node, .inputs = {input, filter, operands->inputs[2]}, .output = &convolution->output,
      .options = operands->options, .threads = operands->threads};
  op->output_stride = (size_t)output->sizes[3];
  op->elements = xnx_element_count(output);
  return XNX_OK;
}

static int8_t *part_of(const struct xnx_operator *op) { return (int8_t *)op->output + op->output_start; }

// Setup takes the other channels first, where there are any; convolutions look for their input there.
static void order_inputs(struct xnx_operator *op) {
  if (op->input_count == 1) return;
  const void *other = op->inputs[0];
  op->inputs[0] = op->inputs[1];
  op->inputs[1] = other;
}

static void copy_others(const struct xnx_operator *op, struct thr_pool *threads) {
  (void)threads;
  if (op->input_count == 2 && op->inputs[1] != op->output) memcpy(op->output, op->inputs[1], op->elements);
}

static enum xnx_status setup_native(struct xnx_operator *op, pthreadpool_t pool) {
  order_inputs(op);
  return xnx_setup_native(op, pool);
}

static void run_native(const struct xnx_operator *op, struct thr_pool *threads) {
  const struct xnx_native *native = &op->as.native;
  copy_others(op, threads);
  i8k_conv_run(&native->conv, native->packed, op->inputs[0], part_of(op), native->scratch, threads);
}

static enum xnx_status setup_library(struct xnx_operator *op, pthreadpool_t pool) {
  order_inputs(op);
  void *output = op->output;
  op->output = part_of(op);
  const enum xnx_status status = xnc_setup_convolution(op, pool);
  op->output = output;
  return status;
}

enum xnx_status xnx_reshape_convolution_cat(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct convolution convolution;
  const size_t stride = op->output_stride;
  const enum xnx_status status = convolution_of(operands, &convolution, op);
  if (status != XNX_OK) return status;
  return op->output_stride == stride ? xnx_reshape_convolution(&convolution.operands, op) : XNX_UNSUPPORTED;
}

enum xnx_status xnx_create_convolution_cat(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct convolution convolution;
  enum xnx_status status = convolution_of(operands, &convolution, op);
  if (status == XNX_OK) status = xnx_create_convolution(&convolution.operands, op);
  if (status != XNX_OK) return status;
  op->input_count = operands->inputs[3] == NULL ? 1 : 2;
  op->output_start = (size_t)operands->node->as.part.start;
  if (op->is_native) {
    op->setup = setup_native;
    op->kernel = run_native;
  } else {
    op->setup = setup_library;
    op->prologue = copy_others;
  }
  return XNX_OK;
}
