// Convolutions on the int8 kernels of ours, which give XNNPACK's bytes: alone, with a sum, and into some channels of a
// concatenation.
#include <stdlib.h>
#include <string.h>

#include "native/native.h"

struct state {
  struct i8k_conv conv;
  struct xnx_buffer scratch;
  struct i8k_add add;  // CONVOLUTION_2D_ADD: of the convolution's output and the other operand
  size_t start;        // CONVOLUTION_2D_CAT
};

static const int8_t *input_of(const struct xnx_operator *op) { return op->inputs[op->input_count - 1]; }

static enum xnx_status reshape(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct state *state = XNX_STATE(op, state);
  struct xnx_convolution c;
  const enum xnx_status status = xnx_convolution_of(operands, &c);
  if (status != XNX_OK) return status;
  struct i8k_conv conv = {
      .isa = i8k_isa(), .depthwise = c.depthwise, .in = c.in, .out = c.out, .window = c.window, .out_stride = c.stride,
      .in_zero_point = c.in_quantization.zero_point, .out_zero_point = c.out_quantization.zero_point,
      .min = (int8_t)c.bounds.min, .max = (int8_t)c.bounds.max};
  if (!xnx_native_packs(&c) || !i8k_conv_plan(&conv)) return XNX_UNSUPPORTED;
  if (op->packed != NULL && !i8k_conv_packs_alike(&conv, &state->conv)) return XNX_UNSUPPORTED;
  op->in = c.in;
  op->out = c.out;
  state->conv = conv;
  state->start = c.start;
  return XNX_OK;
}

static enum xnx_status create(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_convolution c;
  float *scales;
  enum xnx_status status = xnx_convolution_of(operands, &c);
  if (status == XNX_OK) status = xnx_scales_of(&c, &scales);
  if (status != XNX_OK) return status;
  const float *of_sums = scales + c.out.channels;
  for (size_t i = 0; i < c.out.channels; i++) {
    if (of_sums[i] >= 1.0f) status = XNX_UNSUPPORTED;  // the library takes them up to 256
  }
  if (status == XNX_OK) {
    const int32_t *bias = c.bias == NULL ? NULL : c.bias->data;
    status = xnx_pack(operands, &XNX_STATE(op, state)->conv, c.filter->data, bias, of_sums, op);
  }
  free(scales);
  return status;
}

static enum xnx_status setup(struct xnx_operator *op, struct xnx_threads *threads) {
  (void)threads;
  struct state *state = XNX_STATE(op, state);
  const enum xnx_status status = xnx_reserve(&state->scratch, i8k_conv_scratch_size(&state->conv));
  if (status == XNX_OK) i8k_conv_setup(&state->conv, input_of(op), state->scratch.data);
  return status;
}

static enum xnx_status run(const struct xnx_operator *op) {
  const struct state *state = XNX_STATE(op, state);
  i8k_conv_run(&state->conv, op->packed, op->inputs[0], op->output, state->scratch.data, op->threads);
  return XNX_OK;
}

static void destroy(struct xnx_operator *op) { free(XNX_STATE(op, state)->scratch.data); }

static enum xnx_status create_add(const struct xnx_operands *operands, struct xnx_operator *op) {
  const enum xnx_status status = xnx_convolution_add_of(operands, &XNX_STATE(op, state)->add);
  return status == XNX_OK ? create(operands, op) : status;
}

static enum xnx_status run_add(const struct xnx_operator *op) {
  const struct state *state = XNX_STATE(op, state);
  void *scratch = state->scratch.data;
  i8k_conv_run_sum(
      &state->conv, op->packed, op->inputs[1], &state->add, op->inputs[0], op->output, scratch, op->threads);
  return XNX_OK;
}

static enum xnx_status run_cat(const struct xnx_operator *op) {
  const struct state *state = XNX_STATE(op, state);
  xnx_copy_others(op);
  int8_t *output = (int8_t *)op->output + state->start;
  i8k_conv_run(&state->conv, op->packed, input_of(op), output, state->scratch.data, op->threads);
  return XNX_OK;
}

// Products of matrices take threads from twice as much work on: their kernels decide.
#define FUNCTIONS(create, run) \
  {sizeof(struct state), XNX_PARALLEL_PRODUCTS, reshape, create, setup, run, destroy}
const struct xnx_functions xnx_native_convolution = FUNCTIONS(create, run);
const struct xnx_functions xnx_native_convolution_add = FUNCTIONS(create_add, run_add);
const struct xnx_functions xnx_native_convolution_cat = FUNCTIONS(create, run_cat);
