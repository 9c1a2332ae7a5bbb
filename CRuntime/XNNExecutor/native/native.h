// What the kernels of ours share.
#ifndef XNX_NATIVE_H
#define XNX_NATIVE_H

#include "FloatKernels.h"
#include "Int8Kernels.h"
#include "operator.h"

// The processors that have AVX-512 have fused multiplications and additions too, which round otherwise.
#pragma STDC FP_CONTRACT OFF

// Compiled for more than one instruction set, the right one chosen at load: SwiftPM builds for the oldest x86-64. Wide:
// where loops are long enough for AVX-512.
#if defined(__x86_64__) && defined(__linux__)
#define XNX_DISPATCHED __attribute__((target_clones("avx2", "default")))
#define XNX_DISPATCHED_WIDE __attribute__((target_clones("avx512bw", "avx2", "default")))
#else
#define XNX_DISPATCHED
#define XNX_DISPATCHED_WIDE
#endif

// Memory that grows, aligned to 64 bytes.
struct xnx_buffer {
  void *data;
  size_t size;
};
enum xnx_status xnx_reserve(struct xnx_buffer *buffer, size_t size);

// Sets where the operator's packed weights are: those that were given where they fit, and then `*memory_out` is NULL;
// else memory of the options' or the operator's own, which is to be filled.
enum xnx_status xnx_place_packed(
    const struct xnx_operands *operands, struct xnx_operator *op, size_t size, void **memory_out);
// Packs an int8 filter, where weights were not given.
enum xnx_status xnx_pack(
    const struct xnx_operands *operands, const struct i8k_conv *conv, const void *filter, const int32_t *bias,
    const float *scales, struct xnx_operator *op);

// Whether kernels of ours may run the convolution: the filters of a group are padded to 16, and those of fewer than 4
// would take more than the program's memory allows.
bool xnx_native_packs(const struct xnx_convolution *convolution);

// Half to even for |x| < 2^22: the sum leaves no bits below one.
static inline int32_t xnx_round_even(float x) {
  const float magic = 12582912.0f;
  const float shifted = x + magic;
  return (int32_t)(shifted - magic);
}

// To int8: x * factor, half to even, + zero point, within int8; NaN gives the zero point. To f32: (q - zero point) *
// factor.
struct xnx_conversion {
  float factor;
  int32_t zero_point;
};
// For the node's types, one of which is int8 and the other f32.
enum xnx_status xnx_conversion_of(const struct xnx_operands *operands, struct xnx_conversion *conversion);
void xnx_quantize_elements(const float *input, int8_t *output, size_t count, struct xnx_conversion conversion);
void xnx_dequantize_elements(const int8_t *input, float *output, size_t count, struct xnx_conversion conversion);

// Pooling keeps a struct xnx_pooling.
enum xnx_status xnx_reshape_native_pooling(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_run_rows(const struct xnx_operator *op, void (*row)(void *context, size_t index));
#define XNX_NATIVE_POOLING(run) \
  {sizeof(struct xnx_pooling), XNX_PARALLEL_ELEMENTS, xnx_reshape_native_pooling, NULL, NULL, run, NULL}

extern const struct xnx_functions xnx_native_convolution, xnx_native_convolution_add, xnx_native_convolution_cat;
extern const struct xnx_functions xnx_native_convolution_float, xnx_native_dynamic_linear;
extern const struct xnx_functions xnx_native_max_pooling, xnx_native_average_pooling;  // int8
extern const struct xnx_functions xnx_native_max_pooling_float, xnx_native_average_pooling_float;
extern const struct xnx_functions xnx_native_add, xnx_native_lookup_table, xnx_native_convert;  // add: int8
extern const struct xnx_functions xnx_native_convert_transpose, xnx_native_transpose, xnx_native_concatenate;

#endif  // XNX_NATIVE_H
