// What both providers need of pooling, concatenations and elementwise nodes.
#include <math.h>

#include "operator.h"

// One operand and an output of the same sizes.
enum xnx_status xnx_reshape_unary(const struct xnx_operands *operands, struct xnx_operator *op) {
  (void)op;
  return xnx_same_sizes(operands->inputs[0], operands->output) ? XNX_OK : XNX_INVALID_NODE;
}

// Two activations and an output of the same sizes.
enum xnx_status xnx_reshape_binary(const struct xnx_operands *operands, struct xnx_operator *op) {
  (void)op;
  const struct ds_value *a = operands->inputs[0], *b = operands->inputs[1], *out = operands->output;
  if (b == NULL || b->type != a->type || out->type != a->type) return XNX_INVALID_NODE;
  if (b->data != NULL || !xnx_same_sizes(a, b)) return XNX_UNSUPPORTED;
  return xnx_same_sizes(a, out) ? XNX_OK : XNX_INVALID_NODE;
}

enum xnx_status xnx_binary_quantizations(const struct xnx_operands *operands, struct xnx_quantization q[3]) {
  enum xnx_status status = xnx_quantization_of(operands->inputs[0], &q[0]);
  if (status == XNX_OK) status = xnx_quantization_of(operands->inputs[1], &q[1]);
  return status == XNX_OK ? xnx_quantization_of(operands->output, &q[2]) : status;
}

// Along the last dimension.
enum xnx_status xnx_columns_of(const struct xnx_operands *operands, struct xnx_columns *columns) {
  const struct ds_value *out = operands->output;
  const uint32_t last = out->rank - 1;
  const size_t stride = (size_t)out->sizes[last], element = xnx_element_size(out);
  size_t column = 0;
  *columns = (struct xnx_columns){
      .count = operands->node->input_count, .rows = xnx_element_count(out) / stride, .stride = stride * element};
  for (uint32_t i = 0; i < columns->count; i++) {
    const struct ds_value *in = operands->inputs[i];
    if (in == NULL || in->type != out->type || in->rank != out->rank || !xnx_same_quantization(in, out)) {
      return XNX_INVALID_NODE;
    }
    for (uint32_t d = 0; d < last; d++) {
      if (in->sizes[d] != out->sizes[d]) return XNX_INVALID_NODE;
    }
    const size_t channels = (size_t)in->sizes[last];
    if (in->data != NULL) return XNX_UNSUPPORTED;
    if (channels > stride - column) return XNX_INVALID_NODE;
    columns->offsets[i] = column * element;
    column += channels;
  }
  return column == stride ? XNX_OK : XNX_INVALID_NODE;
}

size_t xnx_area(const struct ds_window *w) { return (size_t)w->kernel_height * w->kernel_width; }

bool xnx_is_padded(const struct ds_window *w) { return (w->pad_top | w->pad_right | w->pad_bottom | w->pad_left) != 0; }

static enum xnx_status windows_of(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_window *w = &operands->node->as.window;
  const enum xnx_status status = xnx_images_of(w, operands->inputs[0], operands->output, &op->in, &op->out);
  if (status != XNX_OK) return status;
  if (op->in.channels != op->out.channels) return XNX_INVALID_NODE;
  const bool dilated = w->dilation_height != 1 || w->dilation_width != 1;
  // Every window must touch the image. With dilation the library handles padding by a rule of its own.
  const bool touches = w->pad_top < w->kernel_height && w->pad_bottom < w->kernel_height &&
                       w->pad_left < w->kernel_width && w->pad_right < w->kernel_width;
  const bool supported = op->kind == DS_MAX_POOLING_2D ? xnx_area(w) > 1 && !(dilated && xnx_is_padded(w))
                                                       : !dilated && xnx_area(w) <= XNX_MAX_AVERAGED;
  return touches && supported ? XNX_OK : XNX_UNSUPPORTED;
}

static enum xnx_status global_window_of(
    const struct xnx_operands *operands, struct xnx_operator *op, struct ds_window *window) {
  const struct ds_value *input = operands->inputs[0], *output = operands->output;
  if (input->rank != 4 || output->rank < 2) return XNX_INVALID_NODE;
  const struct ds_image in = {
      (size_t)input->sizes[0], (size_t)input->sizes[1], (size_t)input->sizes[2], (size_t)input->sizes[3]};
  if ((size_t)output->sizes[0] != in.batch || (size_t)output->sizes[output->rank - 1] != in.channels ||
      op->elements != in.batch * in.channels) {
    return XNX_INVALID_NODE;
  }
  if (in.channels > XNX_MAX_CHANNELS || in.height * in.width > XNX_MAX_AVERAGED) return XNX_UNSUPPORTED;
  *window = (struct ds_window){.kernel_height = (uint32_t)in.height, .kernel_width = (uint32_t)in.width};
  op->in = in;
  op->out = (struct ds_image){in.batch, 1, 1, in.channels};
  return XNX_OK;
}

enum xnx_status xnx_pooling_of(
    const struct xnx_operands *operands, struct xnx_operator *op, struct xnx_pooling *pooling) {
  const struct ds_node *node = operands->node;
  const bool is_global = op->kind == DS_GLOBAL_AVERAGE_POOLING;
  if (operands->output->type != (uint32_t)op->type) return XNX_INVALID_NODE;
  *pooling = (struct xnx_pooling){.window = node->as.window};
  enum xnx_status status = is_global ? global_window_of(operands, op, &pooling->window) : windows_of(operands, op);
  if (status == XNX_OK) status = xnx_bounds_of(node->output_min, node->output_max, op->type, &pooling->bounds);
  if (status != XNX_OK) return status;
  if (op->kind == DS_MAX_POOLING_2D) {
    return xnx_same_quantization(operands->inputs[0], operands->output) ? XNX_OK : XNX_INVALID_NODE;
  }
  const size_t count = xnx_area(&pooling->window);
  if (op->type == DS_FLOAT32) {
    pooling->scale = 1.0f / (float)count;
    return XNX_OK;
  }
  status = xnx_quantization_of(operands->inputs[0], &pooling->in);
  if (status == XNX_OK) status = xnx_quantization_of(operands->output, &pooling->out);
  if (status != XNX_OK) return status;
  // The same float operations as the library's global average pooling.
  const float divisor = pooling->out.scale * (float)count;
  pooling->scale = pooling->in.scale / divisor;
  return isnormal(pooling->scale) ? XNX_OK : XNX_UNSUPPORTED;
}
