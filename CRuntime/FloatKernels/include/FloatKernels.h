// f32 convolutions of our own: one output is bias + sum(x * w), clamped. The order of summation is fixed by channels
// and window alone, so that neither threads nor the sizes of images change a bit. Allocates nothing: the caller owns
// buffers.
#ifndef FLOAT_KERNELS_H
#define FLOAT_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "Int8Threads.h"

// One build of the kernels for each. Packed weights belong to the build they were packed for. Builds differ in the last
// bits.
enum f32k_isa { F32K_PORTABLE, F32K_AVX2, F32K_AVX512, F32K_ISA_COUNT };

// The best build that this processor runs.
enum f32k_isa f32k_isa(void);
bool f32k_isa_available(enum f32k_isa isa);
const char *f32k_isa_name(enum f32k_isa isa);

// A convolution of (N, H, W, C) with filter (O, H, W, I), in groups of channels, or depthwise (a group for each
// channel, in_channels == out_channels; `groups` is not looked at). Sizes are at least 1 and consistent, channels are
// multiples of `groups`; padding is filled with zeros. NaN stays NaN.
struct f32k_conv {
  enum f32k_isa isa;
  bool depthwise;
  size_t batch, in_height, in_width, in_channels, out_height, out_width, out_channels;
  size_t groups, kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width;
  size_t pad_top, pad_left;
  float min, max;
};

// Whether there is a kernel for it whose buffers are of reasonable size. The functions below require it.
bool f32k_conv_supports(const struct f32k_conv *conv);

// Whether it is computed by Winograd's F(2x2, 3x3), with 16 products for four outputs in place of 36: its error is a
// few times that of the sum of products. Depends on channels and window alone.
bool f32k_conv_is_winograd(const struct f32k_conv *conv);

// Changes with what f32k_conv_pack writes, so that weights packed by an older build are not used.
enum { F32K_PACKED_LAYOUT = 1 };

// Packed weights in bytes: position independent, to be aligned to 64 bytes.
size_t f32k_conv_packed_size(const struct f32k_conv *conv);

// Whether weights packed for one serve the other: convolutions that differ in the sizes of their images.
bool f32k_conv_packs_alike(const struct f32k_conv *a, const struct f32k_conv *b);

// bias may be NULL.
void f32k_conv_pack(const struct f32k_conv *conv, const float *filter, const float *bias, void *packed);

// Working memory in bytes of one convolution on so many threads, aligned to 64 bytes.
size_t f32k_conv_scratch_size(const struct f32k_conv *conv, size_t threads);

// Once for the scratch memory, which takes zeros.
void f32k_conv_setup(const struct f32k_conv *conv, void *scratch);

// After setup with the same scratch memory, made for at least the number of `threads`. threads may be NULL.
void f32k_conv_run(
    const struct f32k_conv *conv, const void *packed, const float *input, float *output, void *scratch,
    struct i8k_threads *threads);

#endif  // FLOAT_KERNELS_H
