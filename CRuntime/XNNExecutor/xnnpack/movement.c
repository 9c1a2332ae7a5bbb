// XNNPACK's CONSTANT_PAD, and CONCATENATE of elements of four bytes.
#include "xnnpack/library.h"

struct pad {
  struct xnp_parts parts;
  size_t rank, sizes[4], before[4], after[4];
};

static enum xnx_status reshape_pad(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *in = operands->inputs[0], *out = operands->output;
  const struct ds_padding *padding = &operands->node->as.padding;
  if (out->type != in->type || out->rank != in->rank || !xnx_same_quantization(in, out)) return XNX_INVALID_NODE;
  struct pad *pad = XNX_STATE(op, pad);
  pad->rank = in->rank;
  for (uint32_t i = 0; i < 4; i++) {
    const int64_t before = padding->before[i], after = padding->after[i];
    const int64_t size = i < in->rank ? in->sizes[i] : 0, padded = i < in->rank ? out->sizes[i] : 0;
    if (before < 0 || after < 0 || size + before + after != padded) return XNX_INVALID_NODE;
    pad->sizes[i] = (size_t)size;
    pad->before[i] = (size_t)before;
    pad->after[i] = (size_t)after;
  }
  return XNX_OK;
}

static enum xnx_status create_pad(const struct xnx_operands *operands, struct xnx_operator *op) {
  const float value = operands->node->as.padding.value;
  xnn_operator_t *part = XNX_STATE(op, xnp_parts)->parts;
  if (op->type == DS_FLOAT32) return xnp_status(xnn_create_constant_pad_nd_x32(&value, 0, part));
  if (!(value >= INT8_MIN && value <= INT8_MAX)) return XNX_INVALID_NODE;
  const int8_t quantum = (int8_t)value;
  if ((float)quantum != value) return XNX_INVALID_NODE;
  return xnp_status(xnn_create_constant_pad_nd_x8(&quantum, 0, part));
}

static enum xnn_status setup_pad(const struct xnx_operator *op, struct xnp_parts *parts) {
  const struct pad *p = XNX_STATE(op, pad);
  return (op->type == DS_INT8 ? xnn_setup_constant_pad_nd_x8 : xnn_setup_constant_pad_nd_x32)(
      parts->parts[0], p->rank, p->sizes, p->before, p->after, op->inputs[0], op->output, parts->threads);
}

struct concatenation {
  struct xnp_parts parts;
  struct xnx_columns columns;
};

static enum xnx_status reshape_concatenate(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct concatenation *c = XNX_STATE(op, concatenation);
  struct xnx_columns columns;
  const enum xnx_status status = xnx_columns_of(operands, &columns);
  if (status != XNX_OK) return status;
  if (op->type == DS_INT8) return XNX_UNSUPPORTED;
  // The library's operators are made for their columns.
  const bool alike = columns.stride == c->columns.stride &&
                     memcmp(columns.offsets, c->columns.offsets, sizeof columns.offsets) == 0;
  if (c->parts.count > 0 && !alike) return XNX_UNSUPPORTED;
  c->columns = columns;
  return XNX_OK;
}

// Each part is copied into its columns of the output's rows.
static enum xnx_status create_concatenate(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct concatenation *c = XNX_STATE(op, concatenation);
  enum xnx_status status = XNX_OK;
  c->parts.count = op->input_count;
  for (size_t i = 0; i < op->input_count && status == XNX_OK; i++) {
    const struct ds_value *in = operands->inputs[i];
    const size_t channels = (size_t)in->sizes[in->rank - 1], stride = c->columns.stride / xnx_element_size(in);
    status = xnp_status(xnn_create_copy_nc_x32(channels, channels, stride, 0, &c->parts.parts[i]));
  }
  return status;
}

static enum xnn_status setup_concatenate(const struct xnx_operator *op, struct xnp_parts *parts) {
  const struct xnx_columns *columns = &XNX_STATE(op, concatenation)->columns;
  enum xnn_status status = xnn_status_success;
  for (size_t i = 0; i < parts->count && status == xnn_status_success; i++) {
    char *output = (char *)op->output + columns->offsets[i];
    status = xnn_setup_copy_nc_x32(parts->parts[i], columns->rows, op->inputs[i], output, parts->threads);
  }
  return status;
}

const struct xnp_kind xnp_constant_pad = XNP_KIND(pad, reshape_pad, create_pad, setup_pad);
const struct xnp_kind xnp_concatenate =
    XNP_KIND(concatenation, reshape_concatenate, create_concatenate, setup_concatenate);
