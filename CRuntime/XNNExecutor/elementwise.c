// ADD, MULTIPLY, CLAMP, LOOKUP_TABLE and CONVERT: one element out for each element in, in memory order.
#include <math.h>

#include "xnn_compat.h"

// Operands of ADD, SUBTRACT and MULTIPLY: two activations and an output of the same sizes.
enum xnx_status xnx_reshape_binary(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *a = operands->inputs[0], *b = operands->inputs[1], *out = operands->output;
  if (b == NULL || b->type != a->type || out->type != a->type) return XNX_INVALID_NODE;
  if (b->data != NULL || !xnx_same_sizes(a, b)) return XNX_UNSUPPORTED;
  if (!xnx_same_sizes(a, out)) return XNX_INVALID_NODE;
  op->elements = xnx_element_count(out);
  return XNX_OK;
}

// One operand and an output of the same sizes.
enum xnx_status xnx_reshape_unary(const struct xnx_operands *operands, struct xnx_operator *op) {
  if (!xnx_same_sizes(operands->inputs[0], operands->output)) return XNX_INVALID_NODE;
  op->elements = xnx_element_count(operands->output);
  return XNX_OK;
}

// The quantizations are for int8 only.
static enum xnx_status binary_operands(
    const struct xnx_operands *operands, struct xnx_operator *op, struct xnx_bounds *bounds,
    struct xnx_quantization q[3]) {
  enum xnx_status status = xnx_reshape_binary(operands, op);
  if (status != XNX_OK) return status;
  op->input_count = 2;
  op->part_count = 1;
  status = xnx_bounds_of(operands->node, op->type, bounds);
  const struct ds_value *values[3] = {operands->inputs[0], operands->inputs[1], operands->output};
  for (size_t i = 0; i < 3 && status == XNX_OK && op->type == DS_INT8; i++) {
    status = xnx_quantization_of(values[i], &q[i]);
  }
  return status;
}

static bool within(float ratio, float min, float max) { return ratio >= min && ratio < max; }

typedef enum xnx_status (*create_f32)(struct xnx_operator *, struct xnx_bounds);
typedef enum xnx_status (*create_qs8)(
    struct xnx_operator *, const struct xnx_quantization[3], struct xnx_bounds);

// int8: fixed point. shift = 20 - exponent of the larger ratio to the output's scale; multipliers = ratio * 2^shift,
// half to even; the sum plus 2^(shift - 1), shifted down (half up), + zero point, clamp.
// SUBTRACT has the second multiplier negated.
static enum xnx_status create_sum(
    const struct xnx_operands *operands, struct xnx_operator *op, xnx_setup_fn setup, create_f32 f32, create_qs8 qs8) {
  struct xnx_bounds bounds;
  struct xnx_quantization q[3];
  enum xnx_status status = binary_operands(operands, op, &bounds, q);
  if (status != XNX_OK) return status;
  if (op->type == DS_INT8 && operands->node->kind == DS_ADD) {
    status = xnx_create_native_add(operands, bounds, op);
    if (status != XNX_UNSUPPORTED) return status;
  }
  op->setup = setup;
  if (op->type == DS_FLOAT32) return f32(op, bounds);
  if (!within(q[0].scale / q[2].scale, 0x1p-10f, 256.0f) || !within(q[1].scale / q[2].scale, 0x1p-10f, 256.0f)) {
    return XNX_UNSUPPORTED;
  }
  return qs8(op, q, bounds);
}

enum xnx_status xnx_create_add(const struct xnx_operands *operands, struct xnx_operator *op) {
  return create_sum(operands, op, xnc_setup_add, xnc_create_add_f32, xnc_create_add_qs8);
}

enum xnx_status xnx_create_subtract(const struct xnx_operands *operands, struct xnx_operator *op) {
  return create_sum(operands, op, xnc_setup_subtract, xnc_create_subtract_f32, xnc_create_subtract_qs8);
}

// int8: float of (a - a_zp) * (b - b_zp), * (a_scale * b_scale / out_scale), half to even, + zero point, clamp.
enum xnx_status xnx_create_multiply(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_bounds bounds;
  struct xnx_quantization q[3];
  enum xnx_status status = binary_operands(operands, op, &bounds, q);
  if (status != XNX_OK) return status;
  op->setup = xnc_setup_multiply;
  if (op->type == DS_FLOAT32) return xnc_create_multiply_f32(op, bounds);
  const float product = q[0].scale * q[1].scale;
  if (!within(product / q[2].scale, 0x1p-16f, 256.0f)) return XNX_UNSUPPORTED;
  return xnc_create_multiply_qs8(op, q, bounds);
}

enum xnx_status xnx_create_clamp(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *in = operands->inputs[0], *out = operands->output;
  if (out->type != in->type || !xnx_same_quantization(in, out)) return XNX_INVALID_NODE;
  struct xnx_bounds bounds;
  enum xnx_status status = xnx_reshape_unary(operands, op);
  if (status == XNX_OK) status = xnx_bounds_of(operands->node, op->type, &bounds);
  if (status != XNX_OK) return status;
  op->setup = xnc_setup_clamp;
  op->part_count = 1;
  return xnc_create_clamp(op, bounds);
}

enum xnx_status xnx_create_lookup_table(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *table = operands->inputs[1];
  if (!xnx_is_constant(table, DS_INT8, 256) || op->type != DS_INT8 || operands->output->type != DS_INT8) {
    return XNX_INVALID_NODE;
  }
  enum xnx_status status = xnx_reshape_unary(operands, op);
  if (status != XNX_OK) return status;
  op->kernel = xnx_kernel_lookup_table;
  // The node's table begins at -128; ours is indexed by the value's bits, so it begins at 0.
  memcpy(op->as.table, (const uint8_t *)table->data + 128, 128);
  memcpy(op->as.table + 128, table->data, 128);
  return status;
}

// From f32: x * (1 / scale), half to even, + zero point, clamp to [-128, 127]; NaN gives the zero point. (The library
// gives 127 for NaN, so this direction is a kernel of ours.) To f32: (q - zero point) * scale.
enum xnx_status xnx_create_convert(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *in = operands->inputs[0], *out = operands->output;
  enum xnx_status status = xnx_reshape_unary(operands, op);
  if (status != XNX_OK) return status;
  struct xnx_quantization q;
  if (in->type == DS_FLOAT32 && out->type == DS_INT8) {
    status = xnx_quantization_of(out, &q);
    if (status != XNX_OK) return status;
    const float inverse_scale = 1.0f / q.scale;
    if (!isnormal(inverse_scale)) return XNX_UNSUPPORTED;
    op->as.quantize = (struct xnx_quantize){inverse_scale, q.zero_point};
    op->kernel = xnx_kernel_quantize;
    return XNX_OK;
  }
  if (in->type != DS_INT8 || out->type != DS_FLOAT32) return XNX_UNSUPPORTED;
  status = xnx_quantization_of(in, &q);
  if (status != XNX_OK) return status;
  op->as.convert = (struct xnx_convert){.factor = q.scale, .zero_point = q.zero_point};
  op->kernel = xnx_kernel_dequantize;
  return XNX_OK;
}
