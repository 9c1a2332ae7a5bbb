// Convolutions on the int8 kernels of ours, which give XNNPACK's bytes.
#include <stdlib.h>

#include "operator.h"

// Bytes for aligned_alloc: a multiple of the alignment, and not nothing.
static size_t rounded(size_t size) { return (size + 64) / 64 * 64; }

enum xnx_status xnx_setup_native(struct xnx_operator *op, pthreadpool_t pool) {
  (void)pool;
  i8k_conv_setup(&op->as.native.conv, op->inputs[0], op->as.native.scratch);
  return XNX_OK;
}

enum xnx_status xnx_reserve_scratch(struct xnx_native *native, size_t size) {
  size = rounded(size);
  if (size <= native->scratch_size) return XNX_OK;
  void *scratch = aligned_alloc(64, size);
  if (scratch == NULL) return XNX_OUT_OF_MEMORY;
  free(native->scratch);
  native->scratch = scratch;
  native->scratch_size = size;
  return XNX_OK;
}

// The sizes of the images, and scratch memory for them, in place of what was there.
enum xnx_status xnx_reshape_native(struct xnx_operator *op) {
  struct xnx_native *native = &op->as.native;
  struct i8k_conv conv = native->conv;
  conv.in = op->input_image;
  conv.out = op->output_image;
  conv.out_stride = op->output_stride;
  if (!i8k_conv_plan(&conv)) return XNX_UNSUPPORTED;
  if (native->packed != NULL && !i8k_conv_packs_alike(&conv, &native->conv)) return XNX_UNSUPPORTED;
  const enum xnx_status status = xnx_reserve_scratch(native, i8k_conv_scratch_size(&conv));
  if (status == XNX_OK) native->conv = conv;
  return status;
}

static void run(const struct xnx_operator *op, struct thr_pool *threads) {
  const struct xnx_native *native = &op->as.native;
  i8k_conv_run(&native->conv, native->packed, op->inputs[0], op->output, native->scratch, threads);
}

enum xnx_status xnx_place_packed(
    const struct xnx_operands *operands, struct xnx_operator *op, size_t size, void **memory_out) {
  struct xnx_native *native = &op->as.native;
  const struct xnx_options *options = operands->options;
  native->packed_size = size;
  *memory_out = NULL;
  if (options->packed != NULL && options->packed_size == size && (uintptr_t)options->packed % 64 == 0) {
    native->packed = options->packed;
    return XNX_OK;
  }
  if (options->memory != NULL && options->memory_size >= size) {
    *memory_out = options->memory;
  } else {
    *memory_out = native->owned = aligned_alloc(64, rounded(size));
    if (native->owned == NULL) return XNX_OUT_OF_MEMORY;
  }
  native->packed = *memory_out;
  op->packed_bytes = size;
  return XNX_OK;
}

enum xnx_status xnx_pack_native(
    const struct xnx_operands *operands, const int32_t *bias, const float *scales, struct xnx_operator *op) {
  const struct i8k_conv *conv = &op->as.native.conv;
  void *memory;
  const enum xnx_status status = xnx_place_packed(operands, op, i8k_conv_packed_size(conv), &memory);
  if (memory != NULL) i8k_conv_pack(conv, operands->inputs[1]->data, bias, scales, memory, operands->threads);
  return status;
}

enum xnx_status xnx_create_native(
    const struct xnx_operands *operands, const struct ds_window *window, struct xnx_quantization in,
    struct xnx_quantization out, struct xnx_bounds bounds, const float *scales, struct xnx_operator *op) {
  const enum xnx_kernels kernels = operands->options->kernels;
  const enum cpu_isa isa = i8k_isa();
  // With AVX2 alone the library is about twice as fast as ours.
  if (kernels == XNX_KERNELS_XNNPACK || (kernels == XNX_KERNELS_AUTO && isa != CPU_AVX512_VNNI)) return XNX_UNSUPPORTED;
  const struct ds_image *input = &op->input_image, *output = &op->output_image;
  const bool depthwise = window->groups > 1 && window->groups == input->channels;
  if (depthwise && output->channels != input->channels) return XNX_UNSUPPORTED;
  // The filters of a group are padded to 16: of fewer than 4 they would take more than the program's memory allows.
  if (window->groups > 1 && !depthwise && output->channels / window->groups < 4) return XNX_UNSUPPORTED;
  for (size_t i = 0; i < output->channels; i++) {
    if (scales[i] >= 1.0f) return XNX_UNSUPPORTED;  // the library takes them up to 256
  }
  struct xnx_native *native = &op->as.native;
  native->conv = (struct i8k_conv){
      .isa = isa,
      .depthwise = depthwise,
      .window = *window,
      .in_zero_point = in.zero_point,
      .out_zero_point = out.zero_point,
      .min = (int8_t)bounds.min,
      .max = (int8_t)bounds.max,
  };
  enum xnx_status status = xnx_reshape_native(op);
  if (status != XNX_OK) return status;
  op->is_native = true;
  op->setup = xnx_setup_native;
  op->kernel = run;
  const struct ds_value *bias = operands->inputs[2];
  return xnx_pack_native(operands, bias == NULL ? NULL : bias->data, scales, op);
}

void xnx_delete_native(struct xnx_operator *op) {
  if (!op->is_native) return;
  free(op->as.native.owned);
  free(op->as.native.scratch);
}

const void *xnx_operator_packed(const xnx_operator *op, size_t *size_out) {
  if (!op->is_native) return NULL;
  *size_out = op->as.native.packed_size;
  return op->as.native.packed;
}

void *xnx_operator_take_packed(xnx_operator *op) {
  if (!op->is_native) return NULL;
  void *owned = op->as.native.owned;
  op->as.native.owned = NULL;
  return owned;
}

int xnx_operator_is_native(const xnx_operator *op) { return op->kernel != NULL; }

const char *xnx_kernel_isa(void) { return cpu_isa_name(i8k_isa()); }

int xnx_packed_layout(void) { return I8K_PACKED_LAYOUT; }
