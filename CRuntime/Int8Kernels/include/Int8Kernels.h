// int8 convolutions of our own: one output is acc = bias + sum((x - x_zp) * w) in int32, float(acc) * scale[channel],
// clamped, rounded half to even, + y_zp. Every build gives the same bytes. Allocates nothing: the caller owns buffers.
#ifndef INT8_KERNELS_H
#define INT8_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "Int8Threads.h"

// One build of the kernels for each. Packed weights belong to the build they were packed for.
enum i8k_isa { I8K_PORTABLE, I8K_AVX2, I8K_AVX512_VNNI, I8K_ISA_COUNT };

// The best build that this processor runs.
enum i8k_isa i8k_isa(void);
bool i8k_isa_available(enum i8k_isa isa);
const char *i8k_isa_name(enum i8k_isa isa);

// A convolution of (N, H, W, C) with filter (O, H, W, I), in groups of channels, or depthwise (a group for each channel,
// in_channels == out_channels; `groups` is not looked at). Sizes are at least 1 and consistent, channels are multiples of
// `groups`; padding is filled with the zero point.
struct i8k_conv {
  enum i8k_isa isa;
  bool depthwise;
  size_t batch, in_height, in_width, in_channels, out_height, out_width, out_channels;
  size_t groups, kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width;
  size_t pad_top, pad_left;
  size_t out_stride;  // bytes between places of the output, at least out_channels; 0: out_channels. Not depthwise, nor with a sum
  int8_t in_zero_point, out_zero_point, min, max;
};

// Whether there is a kernel for it whose buffers are of reasonable size. The functions below require it.
bool i8k_conv_supports(const struct i8k_conv *conv);

// Changes with what i8k_conv_pack writes, so that weights packed by an older build are not used.
enum { I8K_PACKED_LAYOUT = 4 };

// Packed weights: position independent, to be aligned to 64 bytes.
size_t i8k_conv_packed_size(const struct i8k_conv *conv);

// Whether weights packed for one serve the other: convolutions that differ in the sizes of their images.
bool i8k_conv_packs_alike(const struct i8k_conv *a, const struct i8k_conv *b);

// bias may be NULL; scales has x_scale * w_scale / y_scale for each output channel, positive and below 1. threads may be
// NULL.
void i8k_conv_pack(
    const struct i8k_conv *conv, const int8_t *filter, const int32_t *bias, const float *scales, void *packed,
    struct i8k_threads *threads);

// Working memory of one convolution, aligned to 64 bytes: addresses of the input, and for few channels a padded copy.
size_t i8k_conv_scratch_size(const struct i8k_conv *conv);

// Once for each address of the input or the scratch memory. The input is readable 16 bytes past its end.
void i8k_conv_setup(const struct i8k_conv *conv, const int8_t *input, void *scratch);

// After setup with the same input and scratch. threads may be NULL.
void i8k_conv_run(
    const struct i8k_conv *conv, const void *packed, const int8_t *input, int8_t *output, void *scratch,
    struct i8k_threads *threads);

// The sum of two int8 tensors with parameters of their own, in the fixed point of XNNPACK's:
// clamp(((bias + a * a_multiplier + b * b_multiplier) >> shift) + zero_point).
struct i8k_add {
  int32_t bias, a_multiplier, b_multiplier;
  uint32_t shift;
  int8_t zero_point, min, max;
};

// The parameters of a, b and the output; false where a ratio of scales to the output's lies outside [2^-10, 2^8).
bool i8k_add_init(
    struct i8k_add *add, const float scales[3], const int8_t zero_points[3], int8_t min, int8_t max);

// The output may lie where an operand lies.
void i8k_add_run(
    enum i8k_isa isa, const struct i8k_add *add, const int8_t *a, const int8_t *b, int8_t *output, size_t count);

// i8k_conv_run, and the sum of its output, which is a, and `other` of the same sizes. The output may lie where `other`
// lies, but not where the input does. Not depthwise.
void i8k_conv_run_sum(
    const struct i8k_conv *conv, const void *packed, const int8_t *input, const struct i8k_add *add,
    const int8_t *other, int8_t *output, void *scratch, struct i8k_threads *threads);

// i8k_conv_run up to the sums with bias, which nothing scales: `stride` int32 for each place of the output, a multiple of
// I8K_SUMS_MULTIPLE that has room for the output channels; what is behind those is undefined. One group.
enum { I8K_SUMS_MULTIPLE = 16 };
void i8k_conv_sums(
    const struct i8k_conv *conv, const void *packed, const int8_t *input, int32_t *sums, size_t stride, void *scratch,
    struct i8k_threads *threads);

// Arithmetic as dense as an instruction set allows, from registers, and reading of memory, on the caller's thread: for
// measuring what the processor can do. They return the multiply-adds done, and the bytes read of a buffer aligned to 64.
uint64_t i8k_peak_int8(enum i8k_isa isa, size_t iterations);
uint64_t i8k_peak_float(enum i8k_isa isa, size_t iterations);
uint64_t i8k_peak_read(const void *buffer, size_t size);

#endif  // INT8_KERNELS_H
