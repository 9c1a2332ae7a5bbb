// What the builds of the kernels implement.
#ifndef F32K_KERNELS_H
#define F32K_KERNELS_H

#include "FloatKernels.h"

enum {
  F32K_MAX_LANES = 16,
  F32K_MAX_ROWS = 14,
  F32K_MAX_BLOCK = 2 * F32K_MAX_LANES,
  F32K_POINTS = 16,  // of a tile of 4 by 4 places, which Winograd's transformation takes to as many points
};

// Some rows (places of the output) by neighbouring blocks of output channels.
struct f32k_tile {
  size_t rows;                   // 1 to the build's max_rows
  size_t taps, depth;            // each tap reads `depth` consecutive elements of the input
  const float *const *pointers;  // (rows, taps), or NULL: one tap, row i at input + i * input_stride
  size_t offset;                 // added to the pointers
  const float *input;
  size_t input_stride;
  const float *bias, *weights;  // of the first channel; blocks of weights (taps, depth, width) follow each other
  size_t channels;              // to be written: any number with one row and one tap, else up to a block
  float *output;
  size_t output_stride;  // between rows
  float min, max;
  size_t ahead;  // elements from each weight to one that is wanted next, to be fetched from memory; or 0
};

// Up to two rows of the output of a depthwise convolution, over all columns and channels.
struct f32k_rows {
  // Of the input, or of zeros: tap y of output row i is rows[i * stride_height + y * dilation_height].
  const float *const *rows;
  size_t count;              // 1 or 2
  const struct f32k_conv *conv;
  const void *packed;
  float *output;
};

// Tiles of 4 by 4 places of the input, to be transformed, or points to be transformed to 2 by 2 places of the output.
struct f32k_winograd {
  const float *places[F32K_POINTS];  // of the input, or zeros; all channels
  float *outputs[4];                 // NULL: outside the output
  size_t channels;
  float *points;  // of this tile
  size_t point_stride;
  const float *bias;
  float min, max;
};

struct f32k_kernels {
  bool preferred;  // to XNNPACK's of Debian 12, for processors whose best build this is
  size_t lanes, max_rows;  // a block is two vectors of `lanes` output channels; the last may be one
  void (*gemm)(const struct f32k_tile *tile);
  void (*depthwise)(const struct f32k_rows *rows);
  void (*winograd_input)(const struct f32k_winograd *tile);   // writes whole vectors of points
  void (*winograd_output)(const struct f32k_winograd *tile);
};

extern const struct f32k_kernels f32k_portable, f32k_avx2, f32k_avx512;

const struct f32k_kernels *f32k_kernels_of(enum cpu_isa isa);

static inline size_t f32k_round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
static inline size_t f32k_divided(size_t a, size_t b) { return (a + b - 1) / b; }
static inline size_t f32k_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t f32k_max(size_t a, size_t b) { return a > b ? a : b; }

// Packed weights are the biases, each group's rounded up to whole vectors, then blocks; depthwise: for each vector of
// channels its biases and taps.

// winograd.c
size_t f32k_winograd_scratch_size(const struct f32k_conv *conv, size_t threads);
void f32k_winograd_run(
    const struct f32k_conv *conv, const float *packed, const float *input, float *output, void *scratch,
    struct thr_pool *threads);

#endif  // F32K_KERNELS_H
