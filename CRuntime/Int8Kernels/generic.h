// The kernels in plain C: the definition, and what a build without better ones compiles for its instruction set.
#ifndef I8K_GENERIC_H
#define I8K_GENERIC_H

#include <string.h>

#include "kernels.h"

// Half to even for |x| < 2^22: the sum leaves no bits below one.
static inline __attribute__((always_inline)) int8_t i8k_requantize_one(
    int32_t sum, float scale, const struct i8k_requantize *q) {
  const float magic = 12582912.0f;
  float x = (float)sum * scale;
  x = x < q->min ? q->min : x;
  x = x > q->max ? q->max : x;
  const float shifted = x + magic;
  return (int8_t)((int32_t)(shifted - magic) + q->zero_point);
}

static inline __attribute__((always_inline)) void i8k_generic_gemm(const struct i8k_tile *t) {
  const size_t width = i8k_block_width(t->channels), depth = i8k_round_up(t->depth, 4);
  const int32_t *bias = t->block;
  const float *scales = (const float *)(bias + width);
  for (size_t row = 0; row < t->rows; row++) {
    const int8_t *w = (const int8_t *)(scales + width);
    uint32_t sums[I8K_BLOCK];
    for (size_t c = 0; c < width; c++) sums[c] = (uint32_t)bias[c];
    for (size_t tap = 0; tap < t->taps; tap++) {
      const int8_t *x = t->pointers ? t->pointers[row * t->taps + tap] + t->offset : t->input + row * t->input_stride;
      for (size_t k = 0; k < depth; k += 4, x += 4, w += width * 4) {
        for (size_t c = 0; c < width; c++) {
          const int8_t *v = w + c * 4;
          sums[c] += (uint32_t)(x[0] * v[0] + x[1] * v[1] + x[2] * v[2] + x[3] * v[3]);
        }
      }
    }
    if (t->sums != NULL) {
      memcpy(t->sums + row * t->sums_stride, sums, width * sizeof *sums);
      continue;
    }
    for (size_t c = 0; c < t->channels; c++) {
      t->output[row * t->output_stride + c] = i8k_requantize_one((int32_t)sums[c], scales[c], t->requantize);
    }
  }
}

// The channels from c0 on of one place of the output, at most a block.
static inline __attribute__((always_inline)) void i8k_generic_depthwise_place(
    const struct i8k_depthwise_tile *t, size_t y, size_t x, size_t c0) {
  const struct i8k_conv *conv = t->conv;
  const struct ds_window *window = &conv->window;
  const char *block = (const char *)t->packed + c0 * i8k_depthwise_bytes(conv, false);
  const int32_t *bias = (const int32_t *)(const void *)block;
  const float *scales = (const float *)(bias + I8K_DEPTHWISE_BLOCK);
  const int8_t *w = (const int8_t *)(scales + I8K_DEPTHWISE_BLOCK);
  const size_t count = i8k_min(I8K_DEPTHWISE_BLOCK, conv->out.channels - c0);
  uint32_t sums[I8K_DEPTHWISE_BLOCK];
  for (size_t c = 0; c < count; c++) sums[c] = (uint32_t)bias[c];
  for (size_t ky = 0; ky < window->kernel_height; ky++) {
    // Sizes before padding are unsigned: a place before the image wraps around to one far behind it.
    const size_t iy = y * window->stride_height + ky * window->dilation_height - window->pad_top;
    for (size_t kx = 0; kx < window->kernel_width; kx++, w += I8K_DEPTHWISE_BLOCK) {
      const size_t ix = x * window->stride_width + kx * window->dilation_width - window->pad_left;
      const bool inside = iy < conv->in.height && ix < conv->in.width;
      const int8_t *v = (inside ? t->input + (iy * conv->in.width + ix) * conv->in.channels : t->zero) + c0;
      for (size_t c = 0; c < count; c++) sums[c] += (uint32_t)(v[c] * w[c]);
    }
  }
  int8_t *output = t->output + (y * conv->out.width + x) * conv->out.channels + c0;
  for (size_t c = 0; c < count; c++) output[c] = i8k_requantize_one((int32_t)sums[c], scales[c], t->requantize);
}

static inline __attribute__((always_inline)) void i8k_generic_depthwise(const struct i8k_depthwise_tile *t) {
  for (size_t c0 = t->first_channel; c0 < t->end_channel; c0 += I8K_DEPTHWISE_BLOCK) {
    for (size_t y = t->first_row; y < t->end_row; y++) {
      for (size_t x = 0; x < t->conv->out.width; x++) i8k_generic_depthwise_place(t, y, x, c0);
    }
  }
}

// Not restrict: the output may lie where an operand does.
static inline __attribute__((always_inline)) void i8k_generic_add(
    const struct i8k_add *add, const struct i8k_rows *rows) {
  const struct i8k_add q = *add;
  const int32_t min = q.min - q.zero_point, max = q.max - q.zero_point;
  enum { PART = 64 };
  for (size_t row = 0; row < rows->count; row++) {
    const int8_t *a = rows->a + row * rows->a_stride, *b = rows->b + row * rows->b_stride;
    int8_t *output = rows->output + row * rows->output_stride;
    for (size_t first = 0; first < rows->length; first += PART) {
      const size_t count = i8k_min(PART, rows->length - first);
      int8_t part[PART];
      for (size_t i = 0; i < count; i++) {
        int32_t x = (q.bias + a[first + i] * q.a_multiplier + b[first + i] * q.b_multiplier) >> q.shift;
        x = x < min ? min : x;
        x = x > max ? max : x;
        part[i] = (int8_t)(x + q.zero_point);
      }
      memcpy(output + first, part, count);
    }
  }
}

#endif  // I8K_GENERIC_H
