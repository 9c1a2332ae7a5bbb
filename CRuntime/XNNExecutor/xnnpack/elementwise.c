// XNNPACK's ADD, SUBTRACT, MULTIPLY and CLAMP.
#include "xnnpack/library.h"

// Large ones are divided in parts, of which any thread of ours runs one.
enum { PARTS = 4, DIVIDED_ELEMENTS = 1 << 14 };

static const struct binary {
  enum xnn_status (*create_f32)(float, float, uint32_t, xnn_operator_t *);
  enum xnn_status (*create_qs8)(
      int8_t, float, int8_t, float, int8_t, float, int8_t, int8_t, uint32_t, xnn_operator_t *);
  enum xnn_status (*setup_f32)(
      xnn_operator_t, size_t, const size_t *, size_t, const size_t *, const float *, const float *, float *,
      pthreadpool_t);
  enum xnn_status (*setup_qs8)(
      xnn_operator_t, size_t, const size_t *, size_t, const size_t *, const int8_t *, const int8_t *, int8_t *,
      pthreadpool_t);
} binaries[] = {
#define BINARY(name) \
  {xnn_create_##name##_nd_f32, xnn_create_##name##_nd_qs8, xnn_setup_##name##_nd_f32, xnn_setup_##name##_nd_qs8}
    [DS_ADD] = BINARY(add),
    [DS_SUBTRACT] = BINARY(subtract),
    [DS_MULTIPLY] = BINARY(multiply),
};

static bool within(float ratio, float min, float max) { return ratio >= min && ratio < max; }

// ADD and SUBTRACT of int8: fixed point. shift = 20 - exponent of the larger ratio to the output's scale; multipliers =
// ratio * 2^shift, half to even; the sum plus 2^(shift - 1), shifted down (half up), + zero point, clamp. SUBTRACT has
// the second multiplier negated.
// MULTIPLY of int8: float of (a - a_zp) * (b - b_zp), * (a_scale * b_scale / out_scale), half to even, + zero point,
// clamp.
static bool takes(uint32_t kind, const struct xnx_quantization q[3]) {
  if (kind == DS_MULTIPLY) {
    const float product = q[0].scale * q[1].scale;
    return within(product / q[2].scale, 0x1p-16f, 256.0f);
  }
  return within(q[0].scale / q[2].scale, 0x1p-10f, 256.0f) && within(q[1].scale / q[2].scale, 0x1p-10f, 256.0f);
}

static enum xnx_status create_binary(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_node *node = operands->node;
  const struct binary *binary = &binaries[op->kind];
  struct xnx_bounds bounds;
  struct xnx_quantization q[3];
  enum xnx_status status = xnx_bounds_of(node->output_min, node->output_max, op->type, &bounds);
  if (status == XNX_OK && op->type == DS_INT8) status = xnx_binary_quantizations(operands, q);
  if (status != XNX_OK) return status;
  if (op->type == DS_INT8 && !takes(op->kind, q)) return XNX_UNSUPPORTED;
  xnn_operator_t *parts = XNX_STATE(op, xnp_parts)->parts;
  for (size_t i = 0; i < PARTS && status == XNX_OK; i++) {
    status = xnp_status(
        op->type == DS_FLOAT32
            ? binary->create_f32(bounds.min, bounds.max, 0, &parts[i])
            : binary->create_qs8(
                  XNP_QUANTIZATION(q[0]), XNP_QUANTIZATION(q[1]), XNP_QUANTIZATION(q[2]), XNP_QUANTA(bounds), 0,
                  &parts[i]));
  }
  return status;
}

static enum xnn_status setup_binary(const struct xnx_operator *op, struct xnp_parts *parts) {
  const struct binary *binary = &binaries[op->kind];
  const size_t n = op->elements;
  parts->count = n < DIVIDED_ELEMENTS || !parts->use_own_threads ? 1 : PARTS;
  enum xnn_status status = xnn_status_success;
  for (size_t i = 0; i < parts->count && status == xnn_status_success; i++) {
    const size_t start = n * i / parts->count, count = n * (i + 1) / parts->count - start;
    if (op->type == DS_FLOAT32) {
      status = binary->setup_f32(
          parts->parts[i], 1, &count, 1, &count, (const float *)op->inputs[0] + start,
          (const float *)op->inputs[1] + start, (float *)op->output + start, parts->threads);
    } else {
      status = binary->setup_qs8(
          parts->parts[i], 1, &count, 1, &count, (const int8_t *)op->inputs[0] + start,
          (const int8_t *)op->inputs[1] + start, (int8_t *)op->output + start, parts->threads);
    }
  }
  return status;
}

static enum xnx_status create_clamp(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_node *node = operands->node;
  const struct ds_value *in = operands->inputs[0], *out = operands->output;
  if (out->type != in->type || !xnx_same_quantization(in, out)) return XNX_INVALID_NODE;
  struct xnx_bounds bounds;
  const enum xnx_status status = xnx_bounds_of(node->output_min, node->output_max, op->type, &bounds);
  if (status != XNX_OK) return status;
  xnn_operator_t *part = XNX_STATE(op, xnp_parts)->parts;
  return xnp_status(
      op->type == DS_FLOAT32 ? xnn_create_clamp_nc_f32(1, 1, 1, bounds.min, bounds.max, 0, part)
                             : xnn_create_clamp_nc_s8(1, 1, 1, XNP_QUANTA(bounds), 0, part));
}

static enum xnn_status setup_clamp(const struct xnx_operator *op, struct xnp_parts *parts) {
  xnn_operator_t part = parts->parts[0];
  return op->type == DS_FLOAT32
             ? xnn_setup_clamp_nc_f32(part, op->elements, op->inputs[0], op->output, parts->threads)
             : xnn_setup_clamp_nc_s8(part, op->elements, op->inputs[0], op->output, parts->threads);
}

const struct xnp_kind xnp_binary = XNP_KIND(xnp_parts, xnx_reshape_binary, create_binary, setup_binary);
const struct xnp_kind xnp_clamp = XNP_KIND(xnp_parts, xnx_reshape_unary, create_clamp, setup_clamp);
