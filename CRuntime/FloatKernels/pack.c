// Packing weights into the blocks that kernels.h describes.
#include <string.h>

#include "kernels.h"

enum { STEP = 16, WINOGRAD_STEP = 8 };  // elements of the filters that are moved together

size_t f32k_conv_packed_size(const struct f32k_conv *conv) {
  const struct f32k_shape *shape = &conv->shape;
  const size_t products = shape->taps * (conv->depthwise ? 1 : shape->depth);
  const size_t depth = shape->winograd ? F32K_POINTS * shape->depth : products;
  return shape->groups * shape->packed_outputs * (1 + depth) * sizeof(float);
}

// to[k][channel] = from[channel][k], of `count` channels in rows of `width`.
static void pack_block(const float *filter, float *to, size_t count, size_t width, size_t depth) {
  if (count < width) memset(to, 0, width * depth * sizeof *to);
  for (size_t k0 = 0; k0 < depth; k0 += STEP) {
    const size_t length = f32k_min(STEP, depth - k0);
    for (size_t c = 0; c < count; c++) {
      const float *source = filter + c * depth + k0;
      float *target = to + k0 * width + c;
      for (size_t k = 0; k < length; k++) target[k * width] = source[k];
    }
  }
}

static inline void filter_points(const float g[3], float u[4]) {
  u[0] = g[0];
  u[1] = 0.5f * (g[0] + g[1] + g[2]);
  u[2] = 0.5f * (g[0] - g[1] + g[2]);
  u[3] = g[2];
}

// G g G^T of each filter: to[point][k][channel] from[channel][3][3][k]. By way of a buffer, since the points lie at
// distances that share sets of the cache.
static void pack_winograd_block(const float *filter, float *to, size_t count, size_t width, size_t depth) {
  float buffer[F32K_POINTS][WINOGRAD_STEP * F32K_MAX_BLOCK] = {{0}};
  for (size_t k0 = 0; k0 < depth; k0 += WINOGRAD_STEP) {
    const size_t length = f32k_min(WINOGRAD_STEP, depth - k0);
    for (size_t c = 0; c < count; c++) {
      const float *source = filter + c * 9 * depth + k0;
      for (size_t k = 0; k < length; k++) {
        float columns[3][4];
        for (size_t x = 0; x < 3; x++) {
          const float *g = source + x * depth + k;
          filter_points((const float[3]){g[0], g[3 * depth], g[6 * depth]}, columns[x]);
        }
        for (size_t y = 0; y < 4; y++) {
          float row[4];
          filter_points((const float[3]){columns[0][y], columns[1][y], columns[2][y]}, row);
          for (size_t x = 0; x < 4; x++) buffer[y * 4 + x][k * width + c] = row[x];
        }
      }
    }
    for (size_t p = 0; p < F32K_POINTS; p++) {
      memcpy(to + (p * depth + k0) * width, buffer[p], length * width * sizeof *to);
    }
  }
}

static void pack_depthwise(
    const struct f32k_conv *conv, size_t taps, const float *filter, const float *bias, float *packed) {
  const size_t lanes = f32k_kernels_of(conv->isa)->lanes;
  for (size_t c0 = 0; c0 < conv->out.channels; c0 += lanes, packed += lanes * (1 + taps)) {
    const size_t count = f32k_min(lanes, conv->out.channels - c0);
    memset(packed, 0, lanes * (1 + taps) * sizeof *packed);
    for (size_t c = 0; c < count; c++) {
      packed[c] = bias != NULL ? bias[c0 + c] : 0;
      for (size_t tap = 0; tap < taps; tap++) packed[(1 + tap) * lanes + c] = filter[(c0 + c) * taps + tap];
    }
  }
}

void f32k_conv_pack(const struct f32k_conv *conv, const float *filter, const float *bias, void *packed) {
  const struct f32k_shape *shape = &conv->shape;
  if (conv->depthwise) {
    pack_depthwise(conv, shape->taps, filter, bias, packed);
    return;
  }
  const size_t lanes = f32k_kernels_of(conv->isa)->lanes, depth = shape->taps * shape->depth;
  float *biases = packed, *weights = biases + shape->groups * shape->packed_outputs;
  for (size_t group = 0; group < shape->groups; group++, biases += shape->packed_outputs) {
    memset(biases, 0, shape->packed_outputs * sizeof *biases);
    if (bias != NULL) memcpy(biases, bias + group * shape->outputs, shape->outputs * sizeof *biases);
    size_t count;
    for (size_t c = 0; c < shape->outputs; c += count, filter += count * depth) {
      count = f32k_min(2 * lanes, shape->outputs - c);
      const size_t width = f32k_round_up(count, lanes);
      if (shape->winograd) {
        pack_winograd_block(filter, weights, count, width, shape->depth);
      } else {
        pack_block(filter, weights, count, width, depth);
      }
      weights += width * (shape->winograd ? F32K_POINTS * shape->depth : depth);
    }
  }
}
