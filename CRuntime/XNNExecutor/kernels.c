// The executor's own kernels, for what the library lacks. int8 results are exact: float operations one at a time in the
// order written, rounding half to even in the default floating-point mode.
#include <string.h>

#include "operator.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// The processors that have AVX-512 have fused multiplications and additions too, which round otherwise.
#pragma STDC FP_CONTRACT OFF

// XNX_DISPATCHED with AVX-512 besides, where loops are long enough for it.
#if defined(__x86_64__) && defined(__linux__)
#define XNX_DISPATCHED_WIDE __attribute__((target_clones("avx512bw", "avx2", "default")))
#else
#define XNX_DISPATCHED_WIDE
#endif

// Elements of an operator in pieces.
struct pieces {
  const struct xnx_operator *op;
  void (*function)(const struct xnx_operator *op, size_t start, size_t count);
  size_t count;
};

enum { PIECE = XNX_PARALLEL_ELEMENTS / 4 };

static void run_piece(void *context, size_t index) {
  const struct pieces *pieces = context;
  const size_t start = index * PIECE, left = pieces->count - start;
  pieces->function(pieces->op, start, left < PIECE ? left : PIECE);
}

// Calls function(op, start, length) over [0, count), in pieces on the threads when that pays.
static void run_elements(
    const struct xnx_operator *op, void (*function)(const struct xnx_operator *op, size_t start, size_t count),
    size_t count, struct thr_pool *threads) {
  if (count < XNX_PARALLEL_ELEMENTS) {
    function(op, 0, count);
  } else {
    struct pieces pieces = {op, function, count};
    thr_parallelize(threads, (count + PIECE - 1) / PIECE, run_piece, &pieces);
  }
}

#if defined(__x86_64__)
// 64 elements at a time: the table's halves are two pairs of registers, the sign bit chooses. Returns the number done.
__attribute__((target("avx512vbmi,avx512bw"))) static size_t look_up_vectors(
    const uint8_t *table, const uint8_t *input, uint8_t *output, size_t count) {
  const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i x = _mm512_loadu_si512(input + i);
    const __m512i low = _mm512_permutex2var_epi8(t0, x, t1), high = _mm512_permutex2var_epi8(t2, x, t3);
    _mm512_storeu_si512(output + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high));
  }
  return i;
}

static bool has_vector_look_up(void) {
  return __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw");
}
#else
static size_t look_up_vectors(const uint8_t *table, const uint8_t *input, uint8_t *output, size_t count) {
  (void)table, (void)input, (void)output, (void)count;
  return 0;
}

static bool has_vector_look_up(void) { return false; }
#endif

static void look_up(const struct xnx_operator *op, size_t start, size_t count) {
  const uint8_t *table = op->as.table, *input = (const uint8_t *)op->inputs[0] + start;
  uint8_t *output = (uint8_t *)op->output + start;
  size_t i = has_vector_look_up() ? look_up_vectors(table, input, output, count) : 0;
  for (; i < count; i++) output[i] = table[input[i]];
}

void xnx_kernel_lookup_table(const struct xnx_operator *op, struct thr_pool *threads) {
  run_elements(op, look_up, op->elements, threads);
}

// Half to even for |x| < 2^22: the sum leaves no bits below one.
static inline int32_t round_even(float x) {
  const float magic = 12582912.0f;
  const float shifted = x + magic;
  return (int32_t)(shifted - magic);
}

XNX_DISPATCHED_WIDE static void quantize_elements(
    const float *restrict input, int8_t *restrict output, size_t count, struct xnx_quantize q) {
  const float min = (float)(-128 - q.zero_point), max = (float)(127 - q.zero_point);
  for (size_t i = 0; i < count; i++) {
    float x = input[i] * q.inverse_scale;
    x = x != x ? 0.0f : x;
    x = x < min ? min : x;
    x = x > max ? max : x;
    output[i] = (int8_t)(round_even(x) + q.zero_point);
  }
}

void xnx_quantize_elements(const float *input, int8_t *output, size_t count, struct xnx_quantize quantize) {
  quantize_elements(input, output, count, quantize);
}

static void quantize(const struct xnx_operator *op, size_t start, size_t count) {
  quantize_elements((const float *)op->inputs[0] + start, (int8_t *)op->output + start, count, op->as.quantize);
}

void xnx_kernel_quantize(const struct xnx_operator *op, struct thr_pool *threads) {
  run_elements(op, quantize, op->elements, threads);
}

// The output of the library's convolution, or the first operand, and the second.
static void add(const struct xnx_operator *op, size_t start, size_t count) {
  const int8_t *a = op->sums != NULL ? op->sums : op->inputs[0], *b = op->inputs[1];
  i8k_add_run(i8k_isa(), &op->add, a + start, b + start, (int8_t *)op->output + start, count);
}

void xnx_kernel_add(const struct xnx_operator *op, struct thr_pool *threads) {
  run_elements(op, add, op->elements, threads);
}

XNX_DISPATCHED_WIDE static void dequantize_elements(
    const int8_t *restrict input, float *restrict output, size_t count, float scale, int32_t zero_point) {
  for (size_t i = 0; i < count; i++) output[i] = (float)(input[i] - zero_point) * scale;
}

void xnx_dequantize_elements(const int8_t *input, float *output, size_t count, float scale, int32_t zero_point) {
  dequantize_elements(input, output, count, scale, zero_point);
}

static void dequantize(const struct xnx_operator *op, size_t start, size_t count) {
  const int8_t *input = (const int8_t *)op->inputs[0] + start;
  dequantize_elements(input, (float *)op->output + start, count, op->as.convert.factor, op->as.convert.zero_point);
}

void xnx_kernel_dequantize(const struct xnx_operator *op, struct thr_pool *threads) {
  run_elements(op, dequantize, op->elements, threads);
}

enum { AVERAGED_CHANNELS = 256 };

XNX_DISPATCHED_WIDE static void add_channels(int32_t *restrict sums, const int8_t *restrict input, size_t channels) {
  for (size_t c = 0; c < channels; c++) sums[c] += input[c];
}

XNX_DISPATCHED static void requantize_channels(
    const int32_t *restrict sums, int8_t *restrict output, size_t channels, const struct xnx_average *a) {
  const int32_t zero_point = a->output_zero_point;
  const float scale = a->scale, min = a->min - (float)zero_point, max = a->max - (float)zero_point;
  for (size_t c = 0; c < channels; c++) {
    float x = (float)sums[c] * scale;
    x = x < min ? min : x;
    x = x > max ? max : x;
    output[c] = (int8_t)(round_even(x) + zero_point);
  }
}

// One row of the output, all channels: (out_width, channels).
static void average_row(void *context, size_t index) {
  const struct xnx_operator *op = context;
  const struct xnx_average *a = &op->as.average;
  const struct ds_image *in = &op->input_image, *out = &op->output_image;
  const size_t batch = index / out->height, out_y = index % out->height;
  const size_t channels = in->channels;
  const int8_t *image = (const int8_t *)op->inputs[0] + batch * in->height * in->width * channels;
  int8_t *row = (int8_t *)op->output + (batch * out->height + out_y) * out->width * channels;
  const struct xnx_span y = xnx_clipped(out_y, a->window.stride_height, a->window.pad_top, a->window.kernel_height, in->height);
  for (size_t out_x = 0; out_x < out->width; out_x++) {
    const struct xnx_span x =
        xnx_clipped(out_x, a->window.stride_width, a->window.pad_left, a->window.kernel_width, in->width);
    const int32_t bias = -(int32_t)((y.end - y.begin) * (x.end - x.begin)) * a->input_zero_point;
    for (size_t c = 0; c < channels; c += AVERAGED_CHANNELS) {
      const size_t length = channels - c < AVERAGED_CHANNELS ? channels - c : AVERAGED_CHANNELS;
      int32_t sums[AVERAGED_CHANNELS];
      for (size_t i = 0; i < length; i++) sums[i] = bias;
      for (size_t iy = y.begin; iy < y.end; iy++) {
        for (size_t ix = x.begin; ix < x.end; ix++) {
          add_channels(sums, image + (iy * in->width + ix) * channels + c, length);
        }
      }
      requantize_channels(sums, row + out_x * channels + c, length, a);
    }
  }
}

void xnx_kernel_average_pooling(const struct xnx_operator *op, struct thr_pool *threads) {
  const struct ds_image *in = &op->input_image, *out = &op->output_image;
  const bool small = in->batch * in->height * in->width * in->channels < XNX_PARALLEL_ELEMENTS;
  thr_parallelize(small ? NULL : threads, out->batch * out->height, average_row, (void *)(uintptr_t)op);
}

// The window's part inside the image: rows, `row_stride` apart, of pixels of all channels.
struct window_part {
  const int8_t *first;
  size_t row_stride, channels;
};

// `count` bytes as one vector, so that the largest stay in registers; whole 3 x 3 windows without loops.
#define XNX_MAXIMUM_OF(count)                                                                              \
  typedef int8_t bytes_##count __attribute__((vector_size(count), aligned(1), may_alias));                 \
  static inline __attribute__((always_inline)) void maximum_of_##count(                                    \
      const struct window_part *w, size_t height, size_t width, int8_t *output, size_t c, int8_t min,      \
      int8_t max) {                                                                                        \
    bytes_##count largest = (bytes_##count){0} + min;                                                      \
    for (size_t y = 0; y < height; y++) {                                                                  \
      const int8_t *pixel = w->first + y * w->row_stride + c;                                              \
      for (size_t x = 0; x < width; x++, pixel += w->channels) {                                           \
        largest = __builtin_elementwise_max(largest, *(const bytes_##count *)(const void *)pixel);         \
      }                                                                                                    \
    }                                                                                                      \
    *(bytes_##count *)(void *)(output + c) = __builtin_elementwise_min(largest, (bytes_##count){0} + max); \
  }
XNX_MAXIMUM_OF(64)
XNX_MAXIMUM_OF(16)
XNX_MAXIMUM_OF(1)

static inline __attribute__((always_inline)) void maximum_of(
    const struct window_part *w, size_t height, size_t width, int8_t *output, int8_t min, int8_t max) {
  size_t c = 0;
  for (; c + 64 <= w->channels; c += 64) maximum_of_64(w, height, width, output, c, min, max);
  for (; c + 16 <= w->channels; c += 16) maximum_of_16(w, height, width, output, c, min, max);
  for (; c < w->channels; c++) maximum_of_1(w, height, width, output, c, min, max);
}

XNX_DISPATCHED_WIDE static void maximum_row(const struct xnx_operator *op, size_t index) {
  const struct xnx_maximum m = op->as.maximum;
  const struct ds_image *in = &op->input_image, *out = &op->output_image;
  const size_t batch = index / out->height, out_y = index % out->height, out_width = out->width;
  const int8_t *image = (const int8_t *)op->inputs[0] + batch * in->height * in->width * in->channels;
  const struct xnx_span y = xnx_clipped(out_y, m.window.stride_height, m.window.pad_top, m.window.kernel_height, in->height);
  struct window_part part = {.row_stride = in->width * in->channels, .channels = in->channels};
  int8_t *output = (int8_t *)op->output + index * out->width * part.channels;
  for (size_t out_x = 0; out_x < out_width; out_x++, output += part.channels) {
    const struct xnx_span x = xnx_clipped(out_x, m.window.stride_width, m.window.pad_left, m.window.kernel_width, in->width);
    part.first = image + y.begin * part.row_stride + x.begin * part.channels;
    const size_t height = y.end - y.begin, width = x.end - x.begin;
    if (height == 3 && width == 3) {
      maximum_of(&part, 3, 3, output, m.min, m.max);
    } else {
      maximum_of(&part, height, width, output, m.min, m.max);
    }
  }
}

static void run_maximum_row(void *context, size_t index) { maximum_row(context, index); }

void xnx_kernel_max_pooling(const struct xnx_operator *op, struct thr_pool *threads) {
  const struct ds_image *in = &op->input_image, *out = &op->output_image;
  const bool small = in->batch * in->height * in->width * in->channels < XNX_PARALLEL_ELEMENTS;
  thr_parallelize(small ? NULL : threads, out->batch * out->height, run_maximum_row, (void *)(uintptr_t)op);
}

// Rows of all parts. Those of the library's operator are of one part after another, far from their place in a cache.
enum { CONCATENATED_ROWS = 64 };

static void concatenate_rows(void *context, size_t index) {
  const struct xnx_operator *op = context;
  const struct xnx_columns *columns = &op->as.columns;
  const size_t first = index * CONCATENATED_ROWS, left = op->elements - first;
  const size_t end = first + (left < CONCATENATED_ROWS ? left : CONCATENATED_ROWS);
  for (size_t i = 0; i < columns->count; i++) {
    const size_t next = i + 1 < columns->count ? columns->offsets[i + 1] : columns->stride;
    const size_t length = next - columns->offsets[i];
    const int8_t *input = op->inputs[i];
    int8_t *output = (int8_t *)op->output + columns->offsets[i];
    for (size_t row = first; row < end; row++) {
      memcpy(output + row * columns->stride, input + row * length, length);
    }
  }
}

void xnx_kernel_concatenate(const struct xnx_operator *op, struct thr_pool *threads) {
  const bool small = op->elements * op->as.columns.stride < XNX_PARALLEL_ELEMENTS;
  const size_t pieces = (op->elements + CONCATENATED_ROWS - 1) / CONCATENATED_ROWS;
  thr_parallelize(small ? NULL : threads, pieces, concatenate_rows, (void *)(uintptr_t)op);
}

// Tiles of 16 x 16 elements keep both sides of a transpose in the first-level cache. Sizes that are constants at their
// call are compiled to vector code: whole tiles, and the three channels of an image.
enum { TILE = 16 };

#define XNX_TRANSPOSE_TILE(name, element)                                                                          \
  static inline __attribute__((always_inline)) void name##_of(                                                     \
      const element *restrict input, element *restrict output, size_t rows, size_t columns, size_t height,         \
      size_t width) {                                                                                              \
    for (size_t x = 0; x < width; x++) {                                                                           \
      for (size_t y = 0; y < height; y++) output[x * rows + y] = input[y * columns + x];                           \
    }                                                                                                              \
  }                                                                                                                \
  static void name(                                                                                                \
      const element *input, element *output, size_t rows, size_t columns, size_t height, size_t width) {           \
    if (height == TILE && width == TILE) {                                                                         \
      name##_of(input, output, rows, columns, TILE, TILE);                                                         \
    } else if (rows == 3 && width == TILE) {                                                                       \
      name##_of(input, output, 3, columns, 3, TILE);                                                               \
    } else {                                                                                                       \
      name##_of(input, output, rows, columns, height, width);                                                      \
    }                                                                                                              \
  }
XNX_TRANSPOSE_TILE(transpose_tile_1, uint8_t)
XNX_TRANSPOSE_TILE(transpose_tile_4, uint32_t)

// A band of TILE columns of the input's matrix `index`, all rows: it becomes TILE whole rows of the output.
static void transpose_band(const struct xnx_operator *op, size_t index, size_t band) {
  const struct xnx_matrices *m = &op->as.matrices;
  const size_t matrix = index * m->rows * m->columns, left = band * TILE;
  const size_t width = m->columns - left < TILE ? m->columns - left : TILE;
  for (size_t top = 0; top < m->rows; top += TILE) {
    const size_t height = m->rows - top < TILE ? m->rows - top : TILE;
    const size_t from = matrix + top * m->columns + left, to = matrix + left * m->rows + top;
    if (m->element_size == 1) {
      transpose_tile_1(
          (const uint8_t *)op->inputs[0] + from, (uint8_t *)op->output + to, m->rows, m->columns, height, width);
    } else {
      transpose_tile_4(
          (const uint32_t *)op->inputs[0] + from, (uint32_t *)op->output + to, m->rows, m->columns, height, width);
    }
  }
}

// As many bands as make a piece of work, of all matrices one after another.
struct bands {
  const struct xnx_operator *op;
  size_t of_matrix, count, step;
};

static void transpose_bands(void *context, size_t index) {
  const struct bands *bands = context;
  const size_t first = index * bands->step, left = bands->count - first;
  const size_t end = first + (left < bands->step ? left : bands->step);
  for (size_t i = first; i < end; i++) transpose_band(bands->op, i / bands->of_matrix, i % bands->of_matrix);
}

void xnx_kernel_transpose(const struct xnx_operator *op, struct thr_pool *threads) {
  const struct xnx_matrices *m = &op->as.matrices;
  const size_t bytes = m->rows * m->columns * m->element_size;
  if (m->rows == 1 || m->columns == 1) {
    memcpy(op->output, op->inputs[0], m->count * bytes);
    return;
  }
  const size_t of_matrix = (m->columns + TILE - 1) / TILE, band_bytes = m->rows * TILE * m->element_size;
  struct bands bands = {op, of_matrix, m->count * of_matrix, (PIECE + band_bytes - 1) / band_bytes};
  thr_parallelize(
      m->count * bytes < XNX_PARALLEL_ELEMENTS ? NULL : threads, (bands.count + bands.step - 1) / bands.step,
      transpose_bands, &bands);
}
