// int8 convolutions of our own: one output is acc = bias + sum((x - x_zp) * w) in int32, float(acc) * scale[channel],
// clamped, rounded half to even, + y_zp. Every build gives the same bytes. Allocates nothing: the caller owns buffers.
#ifndef INT8_KERNELS_H
#define INT8_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "DelegateSchema.h"
#include "Processor.h"
#include "Threads.h"

// There are builds of the kernels for some instruction sets. Packed weights belong to the build they were packed for.
bool i8k_isa_available(enum cpu_isa isa);

// Of the best build that this processor runs.
enum cpu_isa i8k_isa(void);

// Whether that build's convolutions, or its sums, are faster than XNNPACK's on the processors it is for. The builds say
// so, with the reason.
enum { I8K_CONVOLUTIONS = 1, I8K_SUMS = 2 };
bool i8k_is_preferred(unsigned kernels);

// The shape of a convolution as the kernels see it.
struct i8k_shape {
  size_t groups, outputs;  // outputs of each; depthwise: all in one
  size_t taps, depth;
  bool by_rows;   // a tap is a row of the window: its pixels are consecutive in the (padded) image
  bool copied;    // by_rows, and the image needs padding
  bool direct;    // one tap, rows one after another: no pointers
  size_t pixels;  // places of the output, over the batch
  size_t images;  // that there are pointers for; those of the others are `images` images further
  size_t unit;    // places of the output in these images
  size_t padded_height, padded_width;
};

// A convolution of (N, H, W, C) with filter (O, H, W, I), in groups of channels, or depthwise: a group for each
// channel, whatever the window says. Sizes are at least 1 and consistent. Padding is filled with the zero point; below and
// on the right it reaches as far as the output's sizes say.
struct i8k_conv {
  enum cpu_isa isa;
  bool depthwise;
  struct ds_image in, out;
  struct ds_window window;
  size_t out_stride;  // bytes between places of the output, or 0: out.channels. Not depthwise, nor with a sum
  int8_t in_zero_point, out_zero_point, min, max;
  struct i8k_shape shape;  // i8k_conv_plan sets it
};

// Whether there is a kernel for it whose buffers are of reasonable size; sets its shape. To be called before all
// others, and again when sizes have changed.
bool i8k_conv_plan(struct i8k_conv *conv);

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
    struct thr_pool *threads);

// Working memory of one convolution, aligned to 64 bytes: addresses of the input, and for few channels a padded copy.
size_t i8k_conv_scratch_size(const struct i8k_conv *conv);

// Once for each address of the input or the scratch memory. The input is readable 16 bytes past its end.
void i8k_conv_setup(const struct i8k_conv *conv, const int8_t *input, void *scratch);

// After setup with the same input and scratch. threads may be NULL.
void i8k_conv_run(
    const struct i8k_conv *conv, const void *packed, const int8_t *input, int8_t *output, void *scratch,
    struct thr_pool *threads);

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
    enum cpu_isa isa, const struct i8k_add *add, const int8_t *a, const int8_t *b, int8_t *output, size_t count);

// i8k_conv_run, and the sum of its output, which is a, and `other` of the same sizes. The output may lie where `other`
// lies, but not where the input does. Not depthwise.
void i8k_conv_run_sum(
    const struct i8k_conv *conv, const void *packed, const int8_t *input, const struct i8k_add *add,
    const int8_t *other, int8_t *output, void *scratch, struct thr_pool *threads);

// i8k_conv_run up to the sums with bias, which nothing scales: `stride` int32 for each place of the output, a multiple of
// I8K_SUMS_MULTIPLE that has room for the output channels; what is behind those is undefined. One group.
enum { I8K_SUMS_MULTIPLE = 16 };
void i8k_conv_sums(
    const struct i8k_conv *conv, const void *packed, const int8_t *input, int32_t *sums, size_t stride, void *scratch,
    struct thr_pool *threads);

#endif  // INT8_KERNELS_H
