// Packing weights into the blocks that kernels.h describes.
#include <string.h>

#include "kernels.h"

size_t i8k_conv_packed_size(const struct i8k_conv *conv) {
  const struct i8k_shape shape = i8k_shape_of(conv);
  if (conv->depthwise) {
    return i8k_round_up(conv->out_channels, I8K_DEPTHWISE_BLOCK) *
           i8k_depthwise_bytes(conv, i8k_kernels_of(conv->isa)->interleaved);
  }
  return shape.groups * i8k_round_up(shape.outputs, I8K_HALF_BLOCK) * (8 + shape.taps * i8k_round_up(shape.depth, 4));
}

// bias - (offset + zero point) * sum of the weights, in two's complement.
static int32_t folded(int32_t bias, int32_t offset, uint32_t sum) {
  return (int32_t)((uint32_t)bias - (uint32_t)offset * sum);
}

// `count` channels of filters of `groups` times four bytes: to[group][channel] = from[channel][group].
static void transpose_groups(const int8_t *from, int8_t *to, size_t count, size_t width, size_t groups) {
  for (size_t g0 = 0; g0 < groups; g0 += 16) {
    const size_t length = i8k_min(16, groups - g0);
    for (size_t c = 0; c < count; c++) {
      const int8_t *source = from + (c * groups + g0) * 4;
      int8_t *target = to + (g0 * width + c) * 4;
      for (size_t g = 0; g < length; g++) memcpy(target + g * width * 4, source + g * 4, 4);
    }
  }
}

static void sum_weights(const int8_t *restrict weights, uint32_t *restrict sums, size_t width, size_t groups) {
  for (size_t g = 0; g < groups; g++, weights += width * 4) {
    for (size_t c = 0; c < width; c++) {
      const int8_t *w = weights + c * 4;
      sums[c] += (uint32_t)(w[0] + w[1] + w[2] + w[3]);
    }
  }
}

static void pack_block(
    const struct i8k_shape *shape, const int8_t *filter, const int32_t *bias, const float *scales, int32_t offset,
    size_t count, size_t width, void *block) {
  int32_t *biases = block;
  float *block_scales = (float *)(biases + width);
  int8_t *weights = (int8_t *)(block_scales + width);
  const size_t groups = i8k_round_up(shape->depth, 4) / 4;
  if (shape->depth % 4 == 0 && count == width) {
    transpose_groups(filter, weights, count, width, shape->taps * groups);
  } else {
    memset(weights, 0, shape->taps * groups * width * 4);
    for (size_t c = 0; c < count; c++) {
      for (size_t tap = 0; tap < shape->taps; tap++) {
        const int8_t *source = filter + (c * shape->taps + tap) * shape->depth;
        int8_t *target = weights + (tap * groups * width + c) * 4;
        for (size_t k = 0; k < shape->depth; k++) target[k / 4 * width * 4 + k % 4] = source[k];
      }
    }
  }
  uint32_t sums[I8K_BLOCK] = {0};
  sum_weights(weights, sums, width, shape->taps * groups);
  for (size_t c = 0; c < width; c++) {
    biases[c] = folded(c < count && bias != NULL ? bias[c] : 0, offset, sums[c]);
    block_scales[c] = c < count ? scales[c] : 0;
  }
}

static void pack_depthwise_block(
    const struct i8k_conv *conv, const int8_t *filter, const int32_t *bias, const float *scales, int32_t offset,
    size_t count, void *block) {
  const size_t height = conv->kernel_height, width = conv->kernel_width, taps = height * width;
  int32_t *biases = block;
  float *block_scales = (float *)(biases + I8K_DEPTHWISE_BLOCK);
  int8_t *weights = (int8_t *)(block_scales + I8K_DEPTHWISE_BLOCK);
  memset(block, 0, I8K_DEPTHWISE_BLOCK * i8k_depthwise_bytes(conv, false));
  for (size_t c = 0; c < count; c++) {
    uint32_t sum = 0;
    for (size_t tap = 0; tap < taps; tap++) {
      weights[tap * I8K_DEPTHWISE_BLOCK + c] = filter[c * taps + tap];
      sum += (uint32_t)filter[c * taps + tap];
    }
    biases[c] = folded(bias != NULL ? bias[c] : 0, offset, sum);
    block_scales[c] = scales[c];
  }
}

static void pack_interleaved_block(
    const struct i8k_conv *conv, const int8_t *filter, const int32_t *bias, const float *scales, int32_t offset,
    size_t count, void *block) {
  const size_t height = conv->kernel_height, width = conv->kernel_width, taps = height * width;
  const bool by_columns = i8k_by_columns(conv);
  const size_t part = I8K_DEPTHWISE_BLOCK / i8k_depthwise_fold(count);
  int32_t *biases = block;
  float *block_scales = (float *)(biases + I8K_DEPTHWISE_BLOCK);
  int8_t *weights = (int8_t *)(block_scales + I8K_DEPTHWISE_BLOCK);
  memset(block, 0, I8K_DEPTHWISE_BLOCK * i8k_depthwise_bytes(conv, true));
  for (size_t byte = 0; byte < I8K_DEPTHWISE_BLOCK; byte++) {
    const size_t c = byte % part, lane = byte / 4 % 4 * 16 + byte / 16 * 4 + byte % 4;
    if (c >= count) continue;
    uint32_t sum = 0;
    for (size_t ky = 0; ky < height; ky++) {
      for (size_t kx = 0; kx < width; kx++) {
        const int8_t w = filter[c * taps + ky * width + kx];
        const size_t tap = by_columns ? kx * i8k_round_up(height, 4) + ky : ky * width + kx;
        weights[(tap / 4 * I8K_DEPTHWISE_BLOCK + lane) * 4 + tap % 4] = w;
        sum += (uint32_t)w;
      }
    }
    biases[lane] = folded(bias != NULL ? bias[c] : 0, offset, sum);
    block_scales[lane] = scales[c];
  }
}

void i8k_conv_pack(
    const struct i8k_conv *conv, const int8_t *filter, const int32_t *bias, const float *scales, void *packed) {
  const struct i8k_shape shape = i8k_shape_of(conv);
  const struct i8k_kernels *kernels = i8k_kernels_of(conv->isa);
  const int32_t offset = kernels->input_offset + conv->in_zero_point;
  const size_t channels = conv->out_channels, step = conv->depthwise ? I8K_DEPTHWISE_BLOCK : I8K_BLOCK;
  char *block = packed;
  size_t count;
  for (size_t c = 0; c < channels; c += count) {
    count = i8k_min(step, shape.outputs - c % shape.outputs);
    const int32_t *block_bias = bias == NULL ? NULL : bias + c;
    if (conv->depthwise) {
      (kernels->interleaved ? pack_interleaved_block : pack_depthwise_block)(
          conv, filter + c * shape.taps, block_bias, scales + c, offset, count, block);
      block += step * i8k_depthwise_bytes(conv, kernels->interleaved);
    } else {
      const size_t width = i8k_block_width(count), depth = i8k_round_up(shape.depth, 4);
      pack_block(
          &shape, filter + c * shape.taps * shape.depth, block_bias, scales + c, offset, count, width, block);
      block += width * (8 + shape.taps * depth);
    }
  }
}
