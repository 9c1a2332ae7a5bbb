// The kernels, for any vector. The file that includes this defines: TARGET, INLINE; LANES, MAX_ROWS, GEMM_ROWS(X),
// which is X(1) to X(MAX_ROWS); vec, a clang vector of LANES floats; and load, load_part, store, store_part, broadcast,
// multiply_add(a, b, sum), at_least and at_most, which keep NaN. The parts are `count` lanes, 1 to LANES.
#ifndef F32K_BODY_H
#define F32K_BODY_H

#include <string.h>

#include "kernels.h"

#define UNROLL _Pragma("clang loop unroll(full)")

INLINE vec clamp(vec x, float min, float max) { return at_most(at_least(x, broadcast(min)), broadcast(max)); }

INLINE void store_up_to(float *output, vec x, size_t count) {
  if (count >= LANES) {
    store(output, x);
  } else {
    store_part(output, x, count);
  }
}

// `rows` rows by `vectors` vectors of channels.
INLINE void gemm_of(const struct f32k_tile *t, const int rows, const int vectors) {
  const size_t depth = t->depth, taps = t->taps, ahead = t->ahead;
  const float *w = t->weights;
  vec sums[MAX_ROWS][2];
  UNROLL for (int v = 0; v < vectors; v++) {
    UNROLL for (int m = 0; m < rows; m++) sums[m][v] = load(t->bias + v * LANES);
  }
  for (size_t tap = 0; tap < taps; tap++) {
    const float *x[MAX_ROWS];
    UNROLL for (int m = 0; m < rows; m++) {
      x[m] = t->pointers ? t->pointers[(size_t)m * taps + tap] + t->offset : t->input + (size_t)m * t->input_stride;
    }
    for (size_t k = 0; k < depth; k++, w += vectors * LANES) {
      vec weights[2];
      UNROLL for (int v = 0; v < vectors; v++) weights[v] = load(w + v * LANES);
      UNROLL for (int v = 0; v < vectors; v++) __builtin_prefetch(w + ahead + v * LANES, 0, 2);
      UNROLL for (int m = 0; m < rows; m++) {
        const vec input = broadcast(x[m][k]);
        UNROLL for (int v = 0; v < vectors; v++) sums[m][v] = multiply_add(input, weights[v], sums[m][v]);
      }
    }
  }
  const float min = t->min, max = t->max;
  UNROLL for (int v = 0; v < vectors; v++) {
    const size_t count = t->channels - (size_t)v * LANES;
    UNROLL for (int m = 0; m < rows; m++) {
      store_up_to(t->output + (size_t)m * t->output_stride + v * LANES, clamp(sums[m][v], min, max), count);
    }
  }
}

// One row and one tap by `blocks` whole blocks: so many sums that memory is the limit, not their latency.
INLINE void row_of(const struct f32k_tile *t, size_t channel, const int blocks) {
  const size_t depth = t->depth;
  const float *x = t->input, *w = t->weights + channel * depth;
  vec sums[4][2];
  UNROLL for (int b = 0; b < blocks; b++) {
    UNROLL for (int v = 0; v < 2; v++) sums[b][v] = load(t->bias + channel + (b * 2 + v) * LANES);
  }
  for (size_t k = 0; k < depth; k++, w += 2 * LANES) {
    const vec input = broadcast(x[k]);
    UNROLL for (int b = 0; b < blocks; b++) {
      UNROLL for (int v = 0; v < 2; v++) {
        sums[b][v] = multiply_add(input, load(w + (size_t)b * depth * 2 * LANES + v * LANES), sums[b][v]);
      }
    }
  }
  UNROLL for (int b = 0; b < blocks; b++) {
    UNROLL for (int v = 0; v < 2; v++) {
      store(t->output + channel + (b * 2 + v) * LANES, clamp(sums[b][v], t->min, t->max));
    }
  }
}

#define DEFINE_GEMM(rows)                                                                   \
  TARGET static void gemm_##rows##_half(const struct f32k_tile *t) { gemm_of(t, rows, 1); }  \
  TARGET static void gemm_##rows##_whole(const struct f32k_tile *t) { gemm_of(t, rows, 2); }
GEMM_ROWS(DEFINE_GEMM)

TARGET static void gemm(const struct f32k_tile *tile) {
#define GEMM_ENTRY(rows) {gemm_##rows##_half, gemm_##rows##_whole},
  static void (*const functions[MAX_ROWS][2])(const struct f32k_tile *) = {GEMM_ROWS(GEMM_ENTRY)};
  if (tile->rows > 1 || tile->taps > 1 || tile->pointers != NULL) {
    functions[tile->rows - 1][tile->channels > LANES](tile);
    return;
  }
  const size_t block = 2 * LANES;
  size_t c = 0;
  for (; c + 4 * block <= tile->channels; c += 4 * block) row_of(tile, c, 4);
  for (; c + block <= tile->channels; c += block) row_of(tile, c, 1);
  if (c < tile->channels) {
    struct f32k_tile rest = *tile;
    rest.channels -= c;
    rest.bias += c;
    rest.weights += c * tile->depth;
    rest.output += c;
    functions[0][rest.channels > LANES](&rest);
  }
}

// Output rows by neighbouring columns by one vector of channels, of which `count` are there. Each element of the input
// is read once for all sums that it is in. `checked`: some columns under the windows may be outside the image, some
// channels not there.
INLINE void columns_of(
    const struct f32k_rows *d, const float *weights, size_t x, size_t channel, size_t count, const int rows,
    const int columns, const int kernel, const int stride, const bool checked) {
  const struct f32k_conv *conv = d->conv;
  const size_t c = conv->in.channels, start = x * (size_t)stride - conv->window.pad_left;
  vec sums[2][4], w[25];
  UNROLL for (int i = 0; i < rows; i++) {
    UNROLL for (int j = 0; j < columns; j++) sums[i][j] = load(weights);
  }
  UNROLL for (int i = 0; i < kernel * kernel; i++) w[i] = load(weights + (1 + i) * LANES);
  UNROLL for (int column = 0; column < (columns - 1) * stride + kernel; column++) {
    const size_t in_x = start + (size_t)column;
    if (checked && in_x >= conv->in.width) continue;
    UNROLL for (int y = 0; y < (rows - 1) * stride + kernel; y++) {
      const float *at = d->rows[y] + in_x * c + channel;
      const vec input = checked && count < LANES ? load_part(at, count) : load(at);
      UNROLL for (int i = 0; i < rows; i++) {
        UNROLL for (int j = 0; j < columns; j++) {
          const int ky = y - i * stride, kx = column - j * stride;
          if (ky < 0 || ky >= kernel || kx < 0 || kx >= kernel) continue;
          sums[i][j] = multiply_add(input, w[ky * kernel + kx], sums[i][j]);
        }
      }
    }
  }
  float *output = d->output + x * c + channel;
  const float min = conv->min, max = conv->max;
  UNROLL for (int i = 0; i < rows; i++) {
    UNROLL for (int j = 0; j < columns; j++) {
      float *at = output + ((size_t)i * conv->out.width + (size_t)j) * c;
      if (checked) {
        store_up_to(at, clamp(sums[i][j], min, max), count);
      } else {
        store(at, clamp(sums[i][j], min, max));
      }
    }
  }
}

// All channels of neighbouring columns: they lie one after the other in memory.
INLINE void group_of(
    const struct f32k_rows *d, size_t x, const bool inside, const int rows, const int columns, const int kernel,
    const int stride) {
  const size_t channels = d->conv->in.channels, block = (size_t)(LANES * (1 + kernel * kernel));
  const float *weights = d->packed;
  size_t c = 0;
  if (inside && columns == 4) {
    for (; c + LANES <= channels; c += LANES, weights += block) {
      columns_of(d, weights, x, c, LANES, rows, columns, kernel, stride, false);
    }
  }
  for (; c < channels; c += LANES, weights += block) {
    columns_of(d, weights, x, c, f32k_min(LANES, channels - c), rows, columns, kernel, stride, true);
  }
}

INLINE void window_of(const struct f32k_rows *d, const int rows, const int kernel, const int stride) {
  const struct f32k_conv *conv = d->conv;
  for (size_t x = 0; x < conv->out.width; x += 4) {
    const size_t start = x * (size_t)stride, end = start + (size_t)(3 * stride + kernel);
    const bool inside = start >= conv->window.pad_left && end <= conv->window.pad_left + conv->in.width;
    const size_t left = conv->out.width - x;
    if (left >= 4) {
      group_of(d, x, inside, rows, 4, kernel, stride);
    } else if (left == 3) {
      group_of(d, x, inside, rows, 3, kernel, stride);
    } else if (left == 2) {
      group_of(d, x, inside, rows, 2, kernel, stride);
    } else {
      group_of(d, x, inside, rows, 1, kernel, stride);
    }
  }
}

TARGET static void window_3_1_2(const struct f32k_rows *d) { window_of(d, 2, 3, 1); }
TARGET static void window_3_1_1(const struct f32k_rows *d) { window_of(d, 1, 3, 1); }
TARGET static void window_3_2_2(const struct f32k_rows *d) { window_of(d, 2, 3, 2); }
TARGET static void window_3_2_1(const struct f32k_rows *d) { window_of(d, 1, 3, 2); }
TARGET static void window_5_1_2(const struct f32k_rows *d) { window_of(d, 2, 5, 1); }
TARGET static void window_5_1_1(const struct f32k_rows *d) { window_of(d, 1, 5, 1); }
TARGET static void window_5_2_2(const struct f32k_rows *d) { window_of(d, 2, 5, 2); }
TARGET static void window_5_2_1(const struct f32k_rows *d) { window_of(d, 1, 5, 2); }

// One place of any window: taps in columns from `first` up to `end`.
INLINE void place_of(const struct f32k_rows *d, size_t x, size_t row, size_t first, size_t end) {
  const struct f32k_conv *conv = d->conv;
  const struct ds_window *w = &conv->window;
  const size_t c = conv->in.channels, start = x * w->stride_width - w->pad_left;
  const float *weights = d->packed;
  float *output = d->output + (row * conv->out.width + x) * c;
  for (size_t channel = 0; channel < c; channel += LANES) {
    const size_t count = f32k_min(LANES, c - channel);
    vec sum = load(weights);
    for (size_t kx = first; kx < end; kx++) {
      const size_t offset = (start + kx * w->dilation_width) * c + channel;
      for (size_t ky = 0; ky < w->kernel_height; ky++) {
        const float *at = d->rows[row * w->stride_height + ky * w->dilation_height] + offset;
        const vec input = count < LANES ? load_part(at, count) : load(at);
        sum = multiply_add(input, load(weights + (1 + ky * w->kernel_width + kx) * LANES), sum);
      }
    }
    store_up_to(output + channel, clamp(sum, conv->min, conv->max), count);
    weights += LANES * (1 + conv->shape.taps);
  }
}

TARGET static void any_window(const struct f32k_rows *d) {
  const struct f32k_conv *conv = d->conv;
  const struct ds_window *w = &conv->window;
  const size_t step = w->dilation_width, right = w->pad_left + conv->in.width;
  for (size_t x = 0; x < conv->out.width; x++) {
    const size_t left = x * w->stride_width;
    const size_t first = left < w->pad_left ? f32k_divided(w->pad_left - left, step) : 0;
    const size_t end = left < right ? f32k_min(w->kernel_width, f32k_divided(right - left, step)) : 0;
    for (size_t row = 0; row < d->count; row++) place_of(d, x, row, first, end);
  }
}

static void depthwise(const struct f32k_rows *d) {
  const struct ds_window *w = &d->conv->window;
  const size_t kernel = w->kernel_width, stride = w->stride_width;
  const bool square = w->kernel_height == kernel && w->stride_height == stride && w->dilation_height == 1 &&
                      w->dilation_width == 1;
  if (square && kernel == 3 && stride == 1) {
    (d->count == 2 ? window_3_1_2 : window_3_1_1)(d);
  } else if (square && kernel == 3 && stride == 2) {
    (d->count == 2 ? window_3_2_2 : window_3_2_1)(d);
  } else if (square && kernel == 5 && stride == 1) {
    (d->count == 2 ? window_5_1_2 : window_5_1_1)(d);
  } else if (square && kernel == 5 && stride == 2) {
    (d->count == 2 ? window_5_2_2 : window_5_2_1)(d);
  } else {
    any_window(d);
  }
}

// Winograd's F(2x2, 3x3), as by Lavin and Gray ("Fast Algorithms for Convolutional Neural Networks", 2015): the input
// is B^T d B, the output A^T m A.
INLINE void input_points(vec d[4]) {
  const vec a = d[0] - d[2], b = d[1] + d[2], c = d[2] - d[1], e = d[1] - d[3];
  d[0] = a, d[1] = b, d[2] = c, d[3] = e;
}

INLINE void input_vector(const struct f32k_winograd *t, size_t channel, const bool whole, size_t count) {
  vec d[4][4];  // columns, then rows
  UNROLL for (int x = 0; x < 4; x++) {
    UNROLL for (int y = 0; y < 4; y++) {
      const float *place = t->places[y * 4 + x] + channel;
      d[x][y] = whole ? load(place) : load_part(place, count);
    }
    input_points(d[x]);
  }
  UNROLL for (int y = 0; y < 4; y++) {
    vec row[4] = {d[0][y], d[1][y], d[2][y], d[3][y]};
    input_points(row);
    UNROLL for (int x = 0; x < 4; x++) store(t->points + (size_t)(y * 4 + x) * t->point_stride + channel, row[x]);
  }
}

TARGET static void winograd_input(const struct f32k_winograd *t) {
  size_t c = 0;
  for (; c + LANES <= t->channels; c += LANES) input_vector(t, c, true, LANES);
  if (c < t->channels) input_vector(t, c, false, t->channels - c);
}

TARGET static void winograd_output(const struct f32k_winograd *t) {
  for (size_t c = 0; c < t->channels; c += LANES) {
    vec s[2][4];
    UNROLL for (int x = 0; x < 4; x++) {
      vec m[4];
      UNROLL for (int y = 0; y < 4; y++) m[y] = load(t->points + (size_t)(y * 4 + x) * t->point_stride + c);
      s[0][x] = m[0] + m[1] + m[2];
      s[1][x] = m[1] - m[2] - m[3];
    }
    const vec bias = load(t->bias + c);
    UNROLL for (int y = 0; y < 2; y++) {
      const vec left = bias + s[y][0] + s[y][1] + s[y][2], right = bias + s[y][1] - s[y][2] - s[y][3];
      float *const *outputs = t->outputs + y * 2;
      if (outputs[0] != NULL) store_up_to(outputs[0] + c, clamp(left, t->min, t->max), t->channels - c);
      if (outputs[1] != NULL) store_up_to(outputs[1] + c, clamp(right, t->min, t->max), t->channels - c);
    }
  }
}

#endif  // F32K_BODY_H
