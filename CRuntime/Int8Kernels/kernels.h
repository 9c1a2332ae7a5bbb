// What the builds of the kernels implement.
#ifndef I8K_KERNELS_H
#define I8K_KERNELS_H

#include "Int8Kernels.h"

enum {
  I8K_BLOCK = 32,                       // output channels of a packed block; the last may have I8K_HALF_BLOCK
  I8K_HALF_BLOCK = I8K_SUMS_MULTIPLE,
  I8K_ADDED = 4 * I8K_BLOCK,  // channels that a sum takes at once
  I8K_DEPTHWISE_BLOCK = 64,   // channels
  I8K_DEPTHWISE_ROWS = 4,     // of the output: what a tile has is best a multiple
};

struct i8k_requantize {
  float min, max;  // bounds less the output's zero point
  int32_t zero_point;
  int8_t lower, upper;  // bounds
};

// Some rows (places of the output) by one block of channels.
struct i8k_tile {
  size_t rows;                    // 1 to the build's max_rows
  size_t taps, depth;             // each tap reads `depth` consecutive bytes of the input
  const int8_t *const *pointers;  // (rows, taps), or NULL: one tap, row i at input + i * input_stride
  size_t offset;                  // added to the pointers
  const int8_t *input;
  size_t input_stride;
  const void *block;
  size_t channels;  // to be written
  int8_t *output;
  size_t output_stride;  // between rows
  int32_t *sums;         // in place of `output`, whole blocks; or NULL
  size_t sums_stride;
  const struct i8k_requantize *requantize;
};

// Some rows of the output of one image by some blocks of channels of a depthwise convolution.
struct i8k_depthwise_tile {
  const struct i8k_conv *conv;
  const struct i8k_requantize *requantize;
  const void *packed;
  const int8_t *input;  // the image
  const int8_t *zero;   // a row of the image that has the zero point everywhere
  int8_t *output;       // the image
  size_t first_row, end_row;
  size_t first_channel, end_channel;  // whole blocks, but for the last channels
};

// Rows of both operands of a sum and of the output, with the bytes between their starts.
struct i8k_rows {
  const int8_t *a, *b;
  int8_t *output;
  size_t a_stride, b_stride, output_stride, count, length;
};

// A block is bias (int32), scales (float), then weights, each for `width` channels.
//   gemm: (taps, depth / 4 rounded up, width, 4) int8.
//   depthwise: (taps, 64) int8, or with `interleaved` (groups of 4 taps, 4, 16, 4): lane i of vector q is byte
//   i / 4 * 16 + q * 4 + i % 4 of 64, which is where unpacking bytes within 128 bits puts it. The bytes are channels,
//   those of a last block of at most 32 twice, of at most 16 four times: for as many rows of the output. The last group
//   is filled up with zeros; for 3 x 3 and 5 x 5 taps are in order of columns, and each column begins a group.
struct i8k_kernels {
  unsigned preferred;  // I8K_CONVOLUTIONS, I8K_SUMS: to XNNPACK's of Debian 12, for processors whose best build this is
  size_t max_rows;
  int32_t input_offset;  // added to each input by the kernels; the bias takes it back
  bool interleaved;
  void (*gemm)(const struct i8k_tile *tile);
  void (*row)(const struct i8k_tile *tile);  // one row, without pointers, by any channels; or NULL
  void (*depthwise)(const struct i8k_depthwise_tile *tile);
  void (*add)(const struct i8k_add *add, const struct i8k_rows *rows);
};

extern const struct i8k_kernels i8k_portable, i8k_avx2, i8k_avx512_vnni;

const struct i8k_kernels *i8k_kernels_of(enum cpu_isa isa);

static inline size_t i8k_round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
static inline size_t i8k_divided(size_t a, size_t b) { return (a + b - 1) / b; }  // rounded up
static inline size_t i8k_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t i8k_block_width(size_t channels) {
  return channels > I8K_HALF_BLOCK ? I8K_BLOCK : I8K_HALF_BLOCK;
}

// Whether columns of a depthwise window begin groups of interleaved taps.
static inline bool i8k_by_columns(const struct i8k_conv *conv) {
  const size_t height = conv->window.kernel_height, width = conv->window.kernel_width;
  return height == width && (width == 3 || width == 5);
}

// Packed bytes of a channel of a depthwise block.
static inline size_t i8k_depthwise_bytes(const struct i8k_conv *conv, bool interleaved) {
  const size_t height = conv->window.kernel_height, width = conv->window.kernel_width;
  if (!interleaved) return 8 + height * width;
  return 8 + (i8k_by_columns(conv) ? i8k_round_up(height, 4) * width : i8k_round_up(height * width, 4));
}

// Rows of the output that share the vectors of an interleaved block of so many channels.
static inline size_t i8k_depthwise_fold(size_t channels) { return channels > 32 ? 1 : channels > 16 ? 2 : 4; }

// `zero`: what a tile has.
void i8k_depthwise_run(
    const struct i8k_conv *conv, const struct i8k_requantize *requantize, const void *packed, const int8_t *input,
    int8_t *output, const int8_t *zero, struct thr_pool *threads);

void i8k_avx512_vnni_depthwise(const struct i8k_depthwise_tile *tile);
void i8k_avx512_vnni_add(const struct i8k_add *add, const struct i8k_rows *rows);

#endif  // I8K_KERNELS_H
