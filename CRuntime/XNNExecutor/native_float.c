// Convolutions on the f32 kernels of ours.
#include "operator.h"

// The scratch memory is for as many threads as there are.
static enum xnx_status setup(struct xnx_operator *op, pthreadpool_t pool) {
  (void)pool;
  struct xnx_native *native = &op->as.native;
  const size_t size = f32k_conv_scratch_size(&native->float_conv, thr_pool_count(op->own));
  const enum xnx_status status = xnx_reserve_scratch(native, size);
  if (status != XNX_OK) return status;
  f32k_conv_setup(&native->float_conv, native->scratch);
  return XNX_OK;
}

static void run(const struct xnx_operator *op, struct thr_pool *threads) {
  const struct xnx_native *native = &op->as.native;
  f32k_conv_run(&native->float_conv, native->packed, op->inputs[0], op->output, native->scratch, threads);
}

enum xnx_status xnx_reshape_native_float(struct xnx_operator *op) {
  struct xnx_native *native = &op->as.native;
  struct f32k_conv conv = native->float_conv;
  conv.in = op->input_image;
  conv.out = op->output_image;
  if (!f32k_conv_plan(&conv)) return XNX_UNSUPPORTED;
  if (native->packed != NULL && !f32k_conv_packs_alike(&conv, &native->float_conv)) return XNX_UNSUPPORTED;
  native->float_conv = conv;
  return XNX_OK;
}

static enum xnx_status pack(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct f32k_conv *conv = &op->as.native.float_conv;
  const struct ds_value *bias = operands->inputs[2];
  void *memory;
  const enum xnx_status status = xnx_place_packed(operands, op, f32k_conv_packed_size(conv), &memory);
  if (memory != NULL) f32k_conv_pack(conv, operands->inputs[1]->data, bias == NULL ? NULL : bias->data, memory);
  return status;
}

bool xnx_is_native_float(const struct xnx_options *options) {
  return options->kernels == XNX_KERNELS_NATIVE || (options->kernels == XNX_KERNELS_AUTO && f32k_isa() == CPU_AVX512);
}

enum xnx_status xnx_create_native_float(
    const struct xnx_operands *operands, const struct ds_window *window, struct xnx_bounds bounds,
    struct xnx_operator *op) {
  if (!xnx_is_native_float(operands->options)) return XNX_UNSUPPORTED;
  const struct ds_image *input = &op->input_image, *output = &op->output_image;
  const bool depthwise = window->groups > 1 && window->groups == input->channels;
  if (depthwise && output->channels != input->channels) return XNX_UNSUPPORTED;
  // The filters of a group are padded to 16: of fewer than 4 they would take more than the program's memory allows.
  if (window->groups > 1 && !depthwise && output->channels / window->groups < 4) return XNX_UNSUPPORTED;
  op->as.native.float_conv = (struct f32k_conv){
      .isa = f32k_isa(),
      .depthwise = depthwise,
      .window = *window,
      .min = bounds.min,
      .max = bounds.max,
  };
  enum xnx_status status = xnx_reshape_native_float(op);
  if (status != XNX_OK) return status;
  op->is_native = true;
  op->setup = setup;
  op->kernel = run;
  return pack(operands, op);
}

const char *xnx_float_kernel_isa(void) { return cpu_isa_name(f32k_isa()); }

int xnx_float_packed_layout(void) { return F32K_PACKED_LAYOUT; }
