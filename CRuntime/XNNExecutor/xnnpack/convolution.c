// XNNPACK's convolutions: alone, with a sum, and into some channels of a concatenation.
#include <stdlib.h>

#include "xnnpack/library.h"

struct state {
  struct xnp_parts parts;
  struct i8k_add add;    // CONVOLUTION_2D_ADD: of the convolution's output, in scratch memory, and the other operand
  size_t start, stride;  // CONVOLUTION_2D_CAT
};

static enum xnx_status reshape(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct state *state = XNX_STATE(op, state);
  struct xnx_convolution c;
  const enum xnx_status status = xnx_convolution_of(operands, &c);
  if (status != XNX_OK) return status;
  if (state->parts.count > 0 && state->stride != c.stride) return XNX_UNSUPPORTED;
  op->in = c.in;
  op->out = c.out;
  op->scratch_bytes = op->kind == DS_CONVOLUTION_2D_ADD ? op->elements : 0;
  state->start = c.start;
  state->stride = c.stride;
  return XNX_OK;
}

// Before AVX2 the library's depthwise kernels add two products in 16 bits, which overflows for (-128)*(-128) twice. It
// takes them whenever a group has one input and one output channel (3x3 and 5x5; for f32 also areas 3 and 4).
static bool is_exact(const struct xnx_convolution *c) {
#if defined(__x86_64__)
  return c->in.channels != c->window.groups || __builtin_cpu_supports("avx2") ||
         memchr(c->filter->data, 0x80, xnx_element_count(c->filter)) == NULL;
#else
  (void)c;
  return true;
#endif
}

#define WINDOW(c)                                                                                             \
  XNP_PADDING(&(c)->window), XNP_KERNEL(&(c)->window), XNP_DILATION(&(c)->window), (c)->window.groups,        \
      (c)->in.channels / (c)->window.groups, (c)->out.channels / (c)->window.groups, (c)->in.channels

static enum xnx_status create(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_convolution c;
  enum xnx_status status = xnx_convolution_of(operands, &c);
  if (status != XNX_OK) return status;
  xnn_operator_t *part = &XNX_STATE(op, state)->parts.parts[0];
  const void *bias = c.bias == NULL ? NULL : c.bias->data;
  if (op->type == DS_FLOAT32) {
    return xnp_status(xnn_create_convolution2d_nhwc_f32(
        WINDOW(&c), c.out.channels, c.filter->data, bias, c.bounds.min, c.bounds.max, 0, part));
  }
  if (!is_exact(&c)) return XNX_UNSUPPORTED;
  float *scales;
  status = xnx_scales_of(&c, &scales);
  if (status != XNX_OK) return status;
  status = xnp_status(xnn_create_convolution2d_nhwc_qc8(
      WINDOW(&c), c.stride > 0 ? c.stride : c.out.channels, XNP_QUANTIZATION(c.in_quantization), scales, c.filter->data,
      bias, XNP_QUANTIZATION(c.out_quantization), XNP_QUANTA(c.bounds), 0, part));
  free(scales);
  return status;
}

static enum xnn_status setup(const struct xnx_operator *op, struct xnp_parts *parts) {
  const struct ds_image *in = &op->in;
  const void *input = op->inputs[op->input_count - 1];
  void *output = op->kind == DS_CONVOLUTION_2D_ADD ? op->scratch : op->output;
  if (op->type == DS_FLOAT32) {
    return xnn_setup_convolution2d_nhwc_f32(
        parts->parts[0], in->batch, in->height, in->width, input, output, parts->threads);
  }
  return xnn_setup_convolution2d_nhwc_qc8(
      parts->parts[0], in->batch, in->height, in->width, input, (int8_t *)output + XNX_STATE(op, state)->start,
      parts->threads);
}

static enum xnx_status create_add(const struct xnx_operands *operands, struct xnx_operator *op) {
  const enum xnx_status status = xnx_convolution_add_of(operands, &XNX_STATE(op, state)->add);
  return status == XNX_OK ? create(operands, op) : status;
}

static enum xnx_status run_add(const struct xnx_operator *op) {
  const enum xnx_status status = xnp_run(op);
  const struct i8k_add *add = &XNX_STATE(op, state)->add;
  if (status == XNX_OK) xnx_add_elements(add, op->scratch, op->inputs[0], op->output, op->elements, op->threads);
  return status;
}

static enum xnx_status run_cat(const struct xnx_operator *op) {
  xnx_copy_others(op);
  return xnp_run(op);
}

#define KIND(create, run) \
  {{sizeof(struct state), XNX_PARALLEL_PRODUCTS, reshape, xnp_create, xnp_setup, run, xnp_destroy}, true, create, setup}
const struct xnp_kind xnp_convolution = KIND(create, xnp_run);
const struct xnp_kind xnp_convolution_add = KIND(create_add, run_add);
const struct xnp_kind xnp_convolution_cat = KIND(create, run_cat);
