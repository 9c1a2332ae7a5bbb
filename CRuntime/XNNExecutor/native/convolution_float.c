// Convolutions on the f32 kernels of ours.
#include <stdlib.h>

#include "native/native.h"

struct state {
  struct f32k_conv conv;
  struct xnx_buffer scratch;
};

static enum xnx_status reshape(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct state *state = XNX_STATE(op, state);
  struct xnx_convolution c;
  const enum xnx_status status = xnx_convolution_of(operands, &c);
  if (status != XNX_OK) return status;
  struct f32k_conv conv = {
      .isa = f32k_isa(), .depthwise = c.depthwise, .in = c.in, .out = c.out, .window = c.window, .min = c.bounds.min,
      .max = c.bounds.max};
  if (!xnx_native_packs(&c) || !f32k_conv_plan(&conv)) return XNX_UNSUPPORTED;
  if (op->packed != NULL && !f32k_conv_packs_alike(&conv, &state->conv)) return XNX_UNSUPPORTED;
  op->in = c.in;
  op->out = c.out;
  state->conv = conv;
  return XNX_OK;
}

static enum xnx_status create(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct f32k_conv *conv = &XNX_STATE(op, state)->conv;
  const struct ds_value *bias = operands->inputs[2];
  void *memory;
  const enum xnx_status status = xnx_place_packed(operands, op, f32k_conv_packed_size(conv), &memory);
  if (memory != NULL) f32k_conv_pack(conv, operands->inputs[1]->data, bias == NULL ? NULL : bias->data, memory);
  return status;
}

// The scratch memory is for as many threads as there are.
static enum xnx_status setup(struct xnx_operator *op, struct xnx_threads *threads) {
  (void)threads;
  struct state *state = XNX_STATE(op, state);
  const size_t size = f32k_conv_scratch_size(&state->conv, thr_pool_count(op->threads));
  const enum xnx_status status = xnx_reserve(&state->scratch, size);
  if (status == XNX_OK) f32k_conv_setup(&state->conv, state->scratch.data);
  return status;
}

static enum xnx_status run(const struct xnx_operator *op) {
  const struct state *state = XNX_STATE(op, state);
  f32k_conv_run(&state->conv, op->packed, op->inputs[0], op->output, state->scratch.data, op->threads);
  return XNX_OK;
}

static void destroy(struct xnx_operator *op) { free(XNX_STATE(op, state)->scratch.data); }

// The kernels decide from how much work on threads are worth it.
const struct xnx_functions xnx_native_convolution_float = {
    sizeof(struct state), 0, reshape, create, setup, run, destroy};
