// f32 convolutions of our own: one output is bias + sum(x * w), clamped. The order of summation is fixed by channels
// and window alone, so that neither threads nor the sizes of images change a bit. Allocates nothing: the caller owns
// buffers.
#ifndef FLOAT_KERNELS_H
#define FLOAT_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "DelegateSchema.h"
#include "Processor.h"
#include "Threads.h"

// There are builds of the kernels for some instruction sets. Packed weights belong to the build they were packed for.
// Builds differ in the last bits.
bool f32k_isa_available(enum cpu_isa isa);

// Of the best build that this processor runs.
enum cpu_isa f32k_isa(void);

// Whether that build is faster than XNNPACK's on the processors it is for. The builds say so,
// with the reason.
bool f32k_is_preferred(void);

// The shape of a convolution as the kernels see it.
struct f32k_shape {
  size_t groups, outputs, packed_outputs;  // outputs of each; with whole vectors
  size_t taps, depth;
  bool direct;    // one tap, rows one after another
  bool by_lines;  // few channels: a tap is a line of the window
  // Winograd's F(2x2, 3x3), with 16 products for four outputs in place of 36: its error is a few times that of the sum
  // of products. Depends on channels and window alone.
  bool winograd;
  size_t pixels;  // places of the output, over the batch
};

// A convolution of (N, H, W, C) with filter (O, H, W, I), in groups of channels, or depthwise: a group for each
// channel, whatever the window says. Sizes are at least 1 and consistent. Padding is filled with zeros; below and
// on the right it reaches as far as the output's sizes say. NaN stays NaN.
struct f32k_conv {
  enum cpu_isa isa;
  bool depthwise;
  struct ds_image in, out;
  struct ds_window window;
  float min, max;
  struct f32k_shape shape;  // f32k_conv_plan sets it
};

// Whether there is a kernel for it whose buffers are of reasonable size; sets its shape. To be called before all
// others, and again when sizes have changed.
bool f32k_conv_plan(struct f32k_conv *conv);

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
    struct thr_pool *threads);

#endif  // FLOAT_KERNELS_H
