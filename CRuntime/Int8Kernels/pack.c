// Packing weights into the blocks that kernels.h describes.
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__) && defined(__linux__)
#define I8K_DISPATCHED __attribute__((target_clones("avx512bw", "avx2", "default")))
#else
#define I8K_DISPATCHED
#endif

enum {
  PARALLEL_BYTES = 1 << 16,  // of a filter; below, waking the threads costs more than they save
  BY_ROWS_MARK = 64,         // zeros behind filters that are packed by rows: given weights are told by their size
};

size_t i8k_conv_packed_size(const struct i8k_conv *conv) {
  const struct i8k_shape *shape = &conv->shape;
  if (conv->depthwise) {
    return i8k_round_up(conv->out.channels, I8K_DEPTHWISE_BLOCK) *
           i8k_depthwise_bytes(conv, i8k_kernels_of(conv->isa)->interleaved);
  }
  const size_t size =
      shape->groups * i8k_round_up(shape->outputs, I8K_HALF_BLOCK) * (8 + shape->taps * i8k_round_up(shape->depth, 4));
  return shape->by_rows ? size + BY_ROWS_MARK : size;
}

// bias - (offset + zero point) * sum of the weights, in two's complement.
static int32_t folded(int32_t bias, int32_t offset, uint32_t sum) {
  return (int32_t)((uint32_t)bias - (uint32_t)offset * sum);
}

// Four bytes of a channel's filter are one element; a filter has `groups` of them: to[group][channel] =
// from[channel][group], for groups from `first` to `end`.
typedef int32_t quad __attribute__((vector_size(16), aligned(4), may_alias));

static void transpose_quads(const int8_t *from, size_t stride, int8_t *to, size_t width) {
  quad rows[4];
  for (size_t i = 0; i < 4; i++) memcpy(&rows[i], from + i * stride, sizeof rows[i]);
  const quad a = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
  const quad b = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
  const quad c = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
  const quad d = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
  const quad columns[4] = {
      __builtin_shufflevector(a, b, 0, 1, 4, 5), __builtin_shufflevector(a, b, 2, 3, 6, 7),
      __builtin_shufflevector(c, d, 0, 1, 4, 5), __builtin_shufflevector(c, d, 2, 3, 6, 7)};
  for (size_t i = 0; i < 4; i++) memcpy(to + i * width * 4, &columns[i], sizeof columns[i]);
}

static void transpose_groups(
    const int8_t *from, int8_t *to, size_t count, size_t width, size_t groups, size_t first, size_t end) {
  const size_t stride = groups * 4, whole_channels = count / 4 * 4, whole_groups = first + (end - first) / 4 * 4;
  for (size_t c = 0; c < whole_channels; c += 4) {
    for (size_t g = first; g < whole_groups; g += 4) {
      transpose_quads(from + c * stride + g * 4, stride, to + (g * width + c) * 4, width);
    }
  }
  for (size_t c = 0; c < count; c++) {
    for (size_t g = c < whole_channels ? whole_groups : first; g < end; g++) {
      memcpy(to + (g * width + c) * 4, from + c * stride + g * 4, 4);
    }
  }
}

// Sums of pairs stay in int16 for so many groups.
enum { SUMMED_GROUPS = 64 };

I8K_DISPATCHED static void sum_weights(
    const int8_t *restrict weights, uint32_t *restrict sums, size_t width, size_t groups) {
  int16_t pairs[2 * I8K_BLOCK] = {0};
  for (size_t g = 0; g < groups; g++) {
    int16_t loaded[2 * I8K_BLOCK];
    memcpy(loaded, weights + g * width * 4, width * 4);
    for (size_t i = 0; i < 2 * width; i++) {
      const int16_t high = (int16_t)(loaded[i] >> 8), low = (int8_t)loaded[i];
      pairs[i] = (int16_t)(pairs[i] + high + low);
    }
  }
  for (size_t c = 0; c < width; c++) sums[c] += (uint32_t)(pairs[2 * c] + pairs[2 * c + 1]);
}

static void pack_block(
    const struct i8k_shape *shape, const int8_t *filter, const int32_t *bias, const float *scales, int32_t offset,
    size_t count, size_t width, void *block) {
  int32_t *biases = block;
  float *block_scales = (float *)(biases + width);
  int8_t *weights = (int8_t *)(block_scales + width);
  const size_t groups = i8k_round_up(shape->depth, 4) / 4, all = shape->taps * groups;
  const bool whole = shape->depth % 4 == 0;
  if (!whole || count < width) memset(weights, 0, all * width * 4);
  if (!whole) {
    for (size_t c = 0; c < count; c++) {
      for (size_t tap = 0; tap < shape->taps; tap++) {
        const int8_t *source = filter + (c * shape->taps + tap) * shape->depth;
        int8_t *target = weights + (tap * groups * width + c) * 4;
        for (size_t k = 0; k < shape->depth; k++) target[k / 4 * width * 4 + k % 4] = source[k];
      }
    }
  }
  uint32_t sums[I8K_BLOCK] = {0};
  for (size_t g = 0; g < all; g += SUMMED_GROUPS) {
    const size_t end = i8k_min(all, g + SUMMED_GROUPS);
    // Summed while they are in the cache.
    if (whole) {
      for (size_t line = g; line < end; line += 16) {
        transpose_groups(filter, weights, count, width, all, line, i8k_min(end, line + 16));
      }
    }
    sum_weights(weights + g * width * 4, sums, width, end - g);
  }
  for (size_t c = 0; c < width; c++) {
    biases[c] = folded(c < count && bias != NULL ? bias[c] : 0, offset, sums[c]);
    block_scales[c] = c < count ? scales[c] : 0;
  }
}

static void pack_depthwise_block(
    const struct i8k_conv *conv, const int8_t *filter, const int32_t *bias, const float *scales, int32_t offset,
    size_t count, void *block) {
  const size_t height = conv->window.kernel_height, width = conv->window.kernel_width, taps = height * width;
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
  const size_t height = conv->window.kernel_height, width = conv->window.kernel_width, taps = height * width;
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

struct packing {
  const struct i8k_shape *shape;
  const int8_t *filter;
  const int32_t *bias;
  const float *scales;
  int32_t offset;
  size_t group_blocks;
  char *packed;
};

static void pack_block_at(void *context, size_t index) {
  const struct packing *p = context;
  const struct i8k_shape *shape = p->shape;
  const size_t group = index / p->group_blocks, of_group = index % p->group_blocks * I8K_BLOCK;
  const size_t c = group * shape->outputs + of_group, count = i8k_min(I8K_BLOCK, shape->outputs - of_group);
  const size_t packed_channel = group * i8k_round_up(shape->outputs, I8K_HALF_BLOCK) + of_group;
  pack_block(
      shape, p->filter + c * shape->taps * shape->depth, p->bias == NULL ? NULL : p->bias + c, p->scales + c, p->offset,
      count, i8k_block_width(count), p->packed + packed_channel * (8 + shape->taps * i8k_round_up(shape->depth, 4)));
}

void i8k_conv_pack(
    const struct i8k_conv *conv, const int8_t *filter, const int32_t *bias, const float *scales, void *packed,
    struct thr_pool *threads) {
  const struct i8k_shape *shape = &conv->shape;
  const struct i8k_kernels *kernels = i8k_kernels_of(conv->isa);
  const int32_t offset = kernels->input_offset + conv->in_zero_point;
  if (!conv->depthwise) {
    struct packing packing = {
        .shape = shape, .filter = filter, .bias = bias, .scales = scales, .offset = offset,
        .group_blocks = i8k_divided(shape->outputs, I8K_BLOCK), .packed = packed};
    const bool is_small = i8k_conv_packed_size(conv) < PARALLEL_BYTES;
    thr_parallelize(is_small ? NULL : threads, shape->groups * packing.group_blocks, pack_block_at, &packing);
    if (shape->by_rows) memset((char *)packed + i8k_conv_packed_size(conv) - BY_ROWS_MARK, 0, BY_ROWS_MARK);
    return;
  }
  char *block = packed;
  size_t count;
  for (size_t c = 0; c < conv->out.channels; c += count) {
    count = i8k_min(I8K_DEPTHWISE_BLOCK, conv->out.channels - c);
    const int32_t *block_bias = bias == NULL ? NULL : bias + c;
    (kernels->interleaved ? pack_interleaved_block : pack_depthwise_block)(
        conv, filter + c * shape->taps, block_bias, scales + c, offset, count, block);
    block += I8K_DEPTHWISE_BLOCK * i8k_depthwise_bytes(conv, kernels->interleaved);
  }
}
