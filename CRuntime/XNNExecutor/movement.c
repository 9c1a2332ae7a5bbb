// CONSTANT_PAD, CONCATENATE and TRANSPOSE: elements move and keep their value.
#include "xnn_compat.h"

enum xnx_status xnx_reshape_constant_pad(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *in = operands->inputs[0], *out = operands->output;
  const struct ds_padding *padding = &operands->node->as.padding;
  if (out->type != in->type || out->rank != in->rank || !xnx_same_quantization(in, out)) return XNX_INVALID_NODE;
  if (in->type == DS_INT32) return XNX_UNSUPPORTED;
  struct xnx_pad *pad = &op->as.pad;
  pad->rank = in->rank;
  for (uint32_t i = 0; i < 4; i++) {
    const int64_t before = padding->before[i], after = padding->after[i];
    const int64_t size = i < in->rank ? in->sizes[i] : 0, padded = i < in->rank ? out->sizes[i] : 0;
    if (before < 0 || after < 0 || size + before + after != padded) return XNX_INVALID_NODE;
    if (i >= in->rank) continue;
    pad->sizes[i] = (size_t)size;
    pad->before[i] = (size_t)before;
    pad->after[i] = (size_t)after;
  }
  return XNX_OK;
}

enum xnx_status xnx_create_constant_pad(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_padding *padding = &operands->node->as.padding;
  enum xnx_status status = xnx_reshape_constant_pad(operands, op);
  if (status != XNX_OK) return status;
  op->setup = xnc_setup_constant_pad;
  op->part_count = 1;
  if (op->type == DS_FLOAT32) return xnc_create_constant_pad(op, &padding->value);
  if (!(padding->value >= INT8_MIN && padding->value <= INT8_MAX)) return XNX_INVALID_NODE;
  const int8_t quantum = (int8_t)padding->value;
  if ((float)quantum != padding->value) return XNX_INVALID_NODE;
  return xnc_create_constant_pad(op, &quantum);
}

static enum xnx_status setup_concatenate(struct xnx_operator *op, pthreadpool_t pool) {
  for (size_t i = 0; i < op->part_count; i++) {
    char *output = (char *)op->output + op->as.columns.offsets[i];
    enum xnx_status status = xnc_setup_copy(op, i, op->elements, output, pool);
    if (status != XNX_OK) return status;
  }
  return XNX_OK;
}

// Sets the rows and the columns of the parts.
enum xnx_status xnx_reshape_concatenate(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *out = operands->output;
  const uint32_t last = out->rank - 1;
  const size_t stride = (size_t)out->sizes[last];
  size_t column = 0;
  op->elements = xnx_element_count(out) / stride;
  for (uint32_t i = 0; i < operands->node->input_count; i++) {
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
    const size_t offset = column * xnx_element_size(out);
    // The library's operators are made for their columns.
    if (op->part_count > 0 && (op->as.columns.offsets[i] != offset || op->as.columns.stride != stride)) {
      return XNX_UNSUPPORTED;
    }
    op->as.columns.offsets[i] = offset;
    column += channels;
  }
  op->as.columns.count = operands->node->input_count;
  op->as.columns.stride = stride;
  return column == stride ? XNX_OK : XNX_INVALID_NODE;
}

// Along the last dimension: each part is copied into its columns of the output's rows.
enum xnx_status xnx_create_concatenate(const struct xnx_operands *operands, struct xnx_operator *op) {
  enum xnx_status status = xnx_reshape_concatenate(operands, op);
  if (status != XNX_OK) return status;
  op->input_count = operands->node->input_count;
  if (op->type == DS_INT8) {
    op->kernel = xnx_kernel_concatenate;
    return XNX_OK;
  }
  op->setup = setup_concatenate;
  for (uint32_t i = 0; i < op->input_count; i++) {
    const struct ds_value *in = operands->inputs[i];
    status = xnc_create_copy(op, i, (size_t)in->sizes[in->rank - 1], op->as.columns.stride);
    if (status != XNX_OK) return status;
    op->part_count = i + 1;
  }
  return XNX_OK;
}

// An image is height * width rows of channels; the other order is channels rows of height * width.
enum xnx_status xnx_reshape_transpose(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *in = operands->inputs[0], *out = operands->output;
  const int32_t to_channels_last = operands->node->as.to_channels_last;
  if (out->type != in->type || in->rank != 4 || !xnx_same_sizes(in, out) || !xnx_same_quantization(in, out) ||
      (to_channels_last != 0 && to_channels_last != 1)) {
    return XNX_INVALID_NODE;
  }
  const size_t pixels = (size_t)in->sizes[1] * (size_t)in->sizes[2], channels = (size_t)in->sizes[3];
  op->as.matrices = (struct xnx_matrices){
      .count = (size_t)in->sizes[0],
      .rows = to_channels_last == 1 ? channels : pixels,
      .columns = to_channels_last == 1 ? pixels : channels,
      .element_size = xnx_element_size(in)};
  return XNX_OK;
}

enum xnx_status xnx_create_transpose(const struct xnx_operands *operands, struct xnx_operator *op) {
  op->kernel = xnx_kernel_transpose;
  return xnx_reshape_transpose(operands, op);
}
