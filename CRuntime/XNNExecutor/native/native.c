// The provider of kernels of ours: what they run, and when they are taken in XNNPACK's place.
#include "native/native.h"

#include <stdlib.h>

// What each set of kernels says of its build for this processor, with its reason (`preferred` in the build's file).
static bool int8_convolutions(void) { return i8k_is_preferred(I8K_CONVOLUTIONS); }
static bool int8_sums(void) { return i8k_is_preferred(I8K_SUMS); }
static bool float_kernels(void) { return f32k_is_preferred(); }
// XNNPACK has no such operator: where its kernels are asked for, the portable kernel runs the node.
static bool always(void) { return true; }

static const struct row {
  uint32_t kind;
  enum ds_type type;  // of the first activation
  const struct xnx_functions *functions;
  // By XNX_KERNELS_AUTO. NULL: whatever is asked for, since XNNPACK has none, or none as exact or as fast.
  bool (*is_preferred)(void);
} rows[] = {
    {DS_CONVOLUTION_2D, DS_INT8, &xnx_native_convolution, int8_convolutions},
    {DS_FULLY_CONNECTED, DS_INT8, &xnx_native_convolution, int8_convolutions},
    {DS_CONVOLUTION_2D_ADD, DS_INT8, &xnx_native_convolution_add, int8_convolutions},
    {DS_CONVOLUTION_2D_CAT, DS_INT8, &xnx_native_convolution_cat, int8_convolutions},
    {DS_ADD, DS_INT8, &xnx_native_add, int8_sums},
    {DS_CONVOLUTION_2D, DS_FLOAT32, &xnx_native_convolution_float, float_kernels},
    {DS_FULLY_CONNECTED, DS_FLOAT32, &xnx_native_convolution_float, float_kernels},
    // So that a program whose convolutions are ours needs no other threads than ours.
    {DS_MAX_POOLING_2D, DS_FLOAT32, &xnx_native_max_pooling_float, float_kernels},
    {DS_AVERAGE_POOLING_2D, DS_FLOAT32, &xnx_native_average_pooling_float, float_kernels},
    {DS_GLOBAL_AVERAGE_POOLING, DS_FLOAT32, &xnx_native_average_pooling_float, float_kernels},
    {DS_DYNAMIC_LINEAR, DS_FLOAT32, &xnx_native_dynamic_linear, always},
    {DS_MAX_POOLING_2D, DS_INT8, &xnx_native_max_pooling, NULL},
    {DS_AVERAGE_POOLING_2D, DS_INT8, &xnx_native_average_pooling, NULL},
    {DS_LOOKUP_TABLE, DS_INT8, &xnx_native_lookup_table, NULL},
    {DS_CONVERT, DS_FLOAT32, &xnx_native_convert, NULL},  // XNNPACK gives 127 for NaN
    {DS_CONVERT, DS_INT8, &xnx_native_convert, NULL},
    {DS_CONVERT_TRANSPOSE, DS_FLOAT32, &xnx_native_convert_transpose, NULL},
    {DS_CONVERT_TRANSPOSE, DS_INT8, &xnx_native_convert_transpose, NULL},
    {DS_CONCATENATE, DS_INT8, &xnx_native_concatenate, NULL},
    {DS_TRANSPOSE, DS_FLOAT32, &xnx_native_transpose, NULL},
    {DS_TRANSPOSE, DS_INT8, &xnx_native_transpose, NULL},
    {DS_TRANSPOSE, DS_INT32, &xnx_native_transpose, NULL},
};

static bool is_taken(enum xnx_kernels kernels, bool (*is_preferred)(void)) {
  return is_preferred == NULL || kernels == XNX_KERNELS_NATIVE || (kernels == XNX_KERNELS_AUTO && is_preferred());
}

const struct xnx_functions *xnx_native(const struct xnx_operands *operands) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (rows[i].kind != operands->node->kind || (uint32_t)rows[i].type != operands->inputs[0]->type) continue;
    return is_taken(operands->options->kernels, rows[i].is_preferred) ? rows[i].functions : NULL;
  }
  return NULL;
}

bool xnx_has_float_convolutions(const struct xnx_options *options) { return is_taken(options->kernels, float_kernels); }

// Bytes for aligned_alloc: a multiple of the alignment, and not nothing.
static size_t rounded(size_t size) { return (size + 64) / 64 * 64; }

enum xnx_status xnx_reserve(struct xnx_buffer *buffer, size_t size) {
  size = rounded(size);
  if (size <= buffer->size) return XNX_OK;
  void *data = aligned_alloc(64, size);
  if (data == NULL) return XNX_OUT_OF_MEMORY;
  free(buffer->data);
  *buffer = (struct xnx_buffer){data, size};
  return XNX_OK;
}

enum xnx_status xnx_place_packed(
    const struct xnx_operands *operands, struct xnx_operator *op, size_t size, void **memory_out) {
  const struct xnx_options *options = operands->options;
  op->packed_size = size;
  *memory_out = NULL;
  if (options->packed != NULL && options->packed_size == size && (uintptr_t)options->packed % 64 == 0) {
    op->packed = options->packed;
    return XNX_OK;
  }
  if (options->memory != NULL && options->memory_size >= size) {
    *memory_out = options->memory;
  } else {
    *memory_out = op->owned = aligned_alloc(64, rounded(size));
    if (op->owned == NULL) return XNX_OUT_OF_MEMORY;
  }
  op->packed = *memory_out;
  op->packed_bytes = size;
  return XNX_OK;
}

enum xnx_status xnx_pack(
    const struct xnx_operands *operands, const struct i8k_conv *conv, const void *filter, const int32_t *bias,
    const float *scales, struct xnx_operator *op) {
  const struct xnx_threads *threads = operands->options->threads;
  void *memory;
  const enum xnx_status status = xnx_place_packed(operands, op, i8k_conv_packed_size(conv), &memory);
  if (memory != NULL) i8k_conv_pack(conv, filter, bias, scales, memory, threads == NULL ? NULL : threads->own);
  return status;
}

bool xnx_native_packs(const struct xnx_convolution *c) {
  return c->window.groups == 1 || c->depthwise || c->out.channels / c->window.groups >= 4;
}

const char *xnx_kernel_isa(void) { return cpu_isa_name(i8k_isa()); }

int xnx_packed_layout(void) { return I8K_PACKED_LAYOUT; }

const char *xnx_float_kernel_isa(void) { return cpu_isa_name(f32k_isa()); }

int xnx_float_packed_layout(void) { return F32K_PACKED_LAYOUT; }
