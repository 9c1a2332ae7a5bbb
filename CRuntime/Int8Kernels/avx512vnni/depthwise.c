// Depthwise convolutions for AVX-512 with VNNI: vpdpbusd adds four products of uint8 and int8 to an int32. The four are
// of taps of one column of the window, so that the bytes of a column of the image, once they stand together, serve
// every place of the output whose window has it.
#if defined(__x86_64__)
#include <immintrin.h>

#include "../kernels.h"

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define VNNI_INLINE static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define UNROLL _Pragma("clang loop unroll(full)")

enum { MAX_FOLD = 4, MAX_SIDE = 5 };

// `fold` rows of the output by 64 / fold channels, each row in its part of the vectors. The functions below work on a
// copy of their own: what is read again after a store of bytes, which could be to anything, is a third of their time.
struct line {
  const struct i8k_conv *conv;
  const int8_t *rows[MAX_FOLD * MAX_SIDE];  // of the image, (fold, kernel height), at the first channel
  const int8_t *image, *zero;               // at the first channel
  const char *block;
  int8_t *output;  // of the first row, at the first channel
  size_t output_pitch;
  size_t y, lines;  // first row of the output; those to be written
  size_t in_width, out_width, pad_left, image_channels;
  __mmask64 mask;  // of the block's channels
  int8_t pad, zero_point, min, max;
};

// rows[f * stride] + offset for each fold; channels that there are not become 0. Inputs become uint8 by adding 128.
VNNI_INLINE __m512i load(
    const int8_t *const *rows, size_t stride, size_t offset, const int fold, const bool whole, __mmask64 mask) {
  __m512i x;
  if (fold == 1) {
    const int8_t *a = rows[0] + offset;
    x = whole ? _mm512_loadu_si512(a) : _mm512_maskz_loadu_epi8(mask, a);
  } else if (fold == 2) {
    const __mmask32 half = (__mmask32)mask;
    x = _mm512_castsi256_si512(_mm256_maskz_loadu_epi8(half, rows[0] + offset));
    x = _mm512_inserti64x4(x, _mm256_maskz_loadu_epi8(half, rows[stride] + offset), 1);
  } else {
    const __mmask16 part = (__mmask16)mask;
    x = _mm512_castsi128_si512(_mm_maskz_loadu_epi8(part, rows[0] + offset));
    x = _mm512_inserti32x4(x, _mm_maskz_loadu_epi8(part, rows[stride] + offset), 1);
    x = _mm512_inserti32x4(x, _mm_maskz_loadu_epi8(part, rows[2 * stride] + offset), 2);
    x = _mm512_inserti32x4(x, _mm_maskz_loadu_epi8(part, rows[3 * stride] + offset), 3);
  }
  return _mm512_xor_si512(x, _mm512_set1_epi8((char)0x80));
}

// Four vectors of 64 channels become four of 16 channels by 4 bytes.
VNNI_INLINE void transpose(const __m512i x[4], __m512i y[4]) {
  const __m512i low01 = _mm512_unpacklo_epi8(x[0], x[1]), high01 = _mm512_unpackhi_epi8(x[0], x[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(x[2], x[3]), high23 = _mm512_unpackhi_epi8(x[2], x[3]);
  y[0] = _mm512_unpacklo_epi16(low01, low23);
  y[1] = _mm512_unpackhi_epi16(low01, low23);
  y[2] = _mm512_unpacklo_epi16(high01, high23);
  y[3] = _mm512_unpackhi_epi16(high01, high23);
}

VNNI_INLINE void add(__m512i sums[4], const __m512i x[4], const __m512i w[4]) {
  UNROLL for (int q = 0; q < 4; q++) sums[q] = _mm512_dpbusd_epi32(sums[q], x[q], w[q]);
}

VNNI_INLINE void add_from(__m512i sums[4], const __m512i x[4], const char *w) {
  UNROLL for (int q = 0; q < 4; q++) sums[q] = _mm512_dpbusd_epi32(sums[q], x[q], _mm512_load_si512(w + q * 64));
}

VNNI_INLINE void load_bias(const struct line *line, __m512i sums[4]) {
  UNROLL for (int q = 0; q < 4; q++) sums[q] = _mm512_load_si512(line->block + q * 64);
}

// Place x of the line from its sums. Bounds are integers, so that clamping after rounding is the definition's clamping
// before it. Scales below 1 leave less than 2^31 of any int32, which the conversion to integers does not overflow.
// Saturated to int16, then with the zero point added, quanta beyond int8 stay beyond it and meet a bound.
VNNI_INLINE void finish(
    const struct line *line, size_t x, const __m512i sums[4], const int fold, const bool whole) {
  __m512i y[4];
  UNROLL for (int q = 0; q < 4; q++) {
    const __m512 scales = _mm512_load_ps(line->block + 256 + q * 64);
    y[q] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[q]), scales));
  }
  const __m512i zero_point = _mm512_set1_epi16(line->zero_point);
  const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(y[0], y[1]), zero_point);
  const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(y[2], y[3]), zero_point);
  __m512i bytes = _mm512_max_epi8(_mm512_packs_epi16(low, high), _mm512_set1_epi8(line->min));
  bytes = _mm512_min_epi8(bytes, _mm512_set1_epi8(line->max));
  int8_t *output = line->output + x * line->image_channels;
  const __mmask64 mask = line->mask;
  if (fold == 1) {
    if (whole) {
      _mm512_storeu_si512(output, bytes);
    } else {
      _mm512_mask_storeu_epi8(output, mask, bytes);
    }
  } else if (fold == 2) {
    _mm256_mask_storeu_epi8(output, (__mmask32)mask, _mm512_castsi512_si256(bytes));
    if (line->lines > 1) {
      _mm256_mask_storeu_epi8(output + line->output_pitch, (__mmask32)mask, _mm512_extracti64x4_epi64(bytes, 1));
    }
  } else {
    _mm_mask_storeu_epi8(output, (__mmask16)mask, _mm512_castsi512_si128(bytes));
    output += line->output_pitch;
    if (line->lines > 1) _mm_mask_storeu_epi8(output, (__mmask16)mask, _mm512_extracti32x4_epi32(bytes, 1));
    output += line->output_pitch;
    if (line->lines > 2) _mm_mask_storeu_epi8(output, (__mmask16)mask, _mm512_extracti32x4_epi32(bytes, 2));
    output += line->output_pitch;
    if (line->lines > 3) _mm_mask_storeu_epi8(output, (__mmask16)mask, _mm512_extracti32x4_epi32(bytes, 3));
  }
}

// Column `t` of the padded image.
VNNI_INLINE void column3(const struct line *line, size_t t, __m512i y[4], const int fold, const bool whole) {
  const size_t ix = t - line->pad_left;
  if (ix < line->in_width) {
    const size_t offset = ix * line->image_channels;
    __m512i x[4];
    UNROLL for (int ky = 0; ky < 3; ky++) {
      x[ky] = load(line->rows + ky, 3, offset, fold, whole, line->mask);
    }
    x[3] = x[2];  // its weights are zero
    transpose(x, y);
  } else {
    const __m512i pad = _mm512_set1_epi8(line->pad);
    UNROLL for (int q = 0; q < 4; q++) y[q] = pad;
  }
}

// A window of 3 x 3.
VNNI_INLINE void line3(const struct line *line, const int stride, const int fold, const bool whole) {
  const size_t out_width = line->out_width;
  __m512i w[3][4], columns[3][4];
  UNROLL for (int k = 0; k < 3; k++) {
    UNROLL for (int q = 0; q < 4; q++) w[k][q] = _mm512_load_si512(line->block + 512 + (k * 4 + q) * 64);
  }
  UNROLL for (int k = 0; k < 3 - stride; k++) column3(line, (size_t)k, columns[k], fold, whole);
  for (size_t x0 = 0;; x0 += 3) {
    UNROLL for (int r = 0; r < 3; r++) {
      const size_t x = x0 + (size_t)r;
      if (x >= out_width) return;
      UNROLL for (int k = 3 - stride; k < 3; k++) {
        column3(line, x * (size_t)stride + (size_t)k, columns[(r * stride + k) % 3], fold, whole);
      }
      __m512i sums[4];
      load_bias(line, sums);
      UNROLL for (int k = 0; k < 3; k++) add(sums, columns[(r * stride + k) % 3], w[k]);
      finish(line, x, sums, fold, whole);
    }
  }
}

VNNI_INLINE void column5(const struct line *line, size_t t, __m512i y[2][4], const int fold, const bool whole) {
  const size_t ix = t - line->pad_left;
  if (ix < line->in_width) {
    const size_t offset = ix * line->image_channels;
    __m512i x[4];
    UNROLL for (int ky = 0; ky < 4; ky++) x[ky] = load(line->rows + ky, 5, offset, fold, whole, line->mask);
    transpose(x, y[0]);
    const __m512i last = load(line->rows + 4, 5, offset, fold, whole, line->mask);
    const __m512i low = _mm512_unpacklo_epi8(last, last), high = _mm512_unpackhi_epi8(last, last);
    y[1][0] = _mm512_unpacklo_epi16(low, low);
    y[1][1] = _mm512_unpackhi_epi16(low, low);
    y[1][2] = _mm512_unpacklo_epi16(high, high);
    y[1][3] = _mm512_unpackhi_epi16(high, high);
  } else {
    const __m512i pad = _mm512_set1_epi8(line->pad);
    UNROLL for (int q = 0; q < 4; q++) y[0][q] = y[1][q] = pad;
  }
}

// A window of 5 x 5: each column is added to the sums of the places that have it.
VNNI_INLINE void line5(const struct line *line, const int stride, const int fold, const bool whole) {
  const size_t out_width = line->out_width;
  const int slots = stride == 1 ? 5 : 3, period = stride * slots;
  const size_t end = (out_width - 1) * (size_t)stride + 5;
  __m512i sums[5][4];
  for (size_t t0 = 0;; t0 += (size_t)period) {
    UNROLL for (int r = 0; r < period; r++) {
      const size_t t = t0 + (size_t)r;
      if (t >= end) return;
      __m512i columns[2][4];
      column5(line, t, columns, fold, whole);
      UNROLL for (int kx = 0; kx < 5; kx++) {
        if ((r + period - kx) % stride != 0) continue;
        const int slot = (r + period - kx) / stride % slots;
        const size_t x = (t - (size_t)kx) / (size_t)stride;  // before the first it wraps around
        if (x >= out_width) continue;
        if (kx == 0) load_bias(line, sums[slot]);
        UNROLL for (int g = 0; g < 2; g++) {
          add_from(sums[slot], columns[g], line->block + 512 + (kx * 2 + g) * 256);
        }
        if (kx == 4) finish(line, x, sums[slot], fold, whole);
      }
    }
  }
}

// The same windows of any stride and dilation: each place has columns of its own.
VNNI_INLINE void line_of_columns(const struct line *line, const int side, const int fold, const bool whole) {
  const size_t stride = line->conv->window.stride_width, dilation = line->conv->window.dilation_width;
  for (size_t x = 0; x < line->out_width; x++) {
    __m512i sums[4], columns[2][4];
    load_bias(line, sums);
    UNROLL for (int kx = 0; kx < side; kx++) {
      const size_t t = x * stride + (size_t)kx * dilation;
      if (side == 3) {
        column3(line, t, columns[0], fold, whole);
        add_from(sums, columns[0], line->block + 512 + kx * 256);
      } else {
        column5(line, t, columns, fold, whole);
        add_from(sums, columns[0], line->block + 512 + kx * 512);
        add_from(sums, columns[1], line->block + 768 + kx * 512);
      }
    }
    finish(line, x, sums, fold, whole);
  }
}

// Any other window, four taps after another.
VNNI_INLINE void line_of_taps(const struct line *line, const int fold, const bool whole) {
  const struct ds_window window = line->conv->window;
  const size_t taps = line->conv->shape.taps, in_height = line->conv->in.height;
  const size_t pitch = line->in_width * line->image_channels;
  for (size_t x = 0; x < line->out_width; x++) {
    __m512i sums[4];
    load_bias(line, sums);
    const int8_t *rows[MAX_FOLD];
    size_t kx = window.kernel_width, ky = 0;
    const char *w = line->block + 512;
    for (size_t tap = 0; tap < taps; tap += 4, w += 256) {
      __m512i bytes[4], groups[4];
      UNROLL for (int i = 0; i < 4; i++) {
        if (kx == window.kernel_width) {
          if (ky == window.kernel_height) {  // weights are zero from here on
            bytes[i] = _mm512_setzero_si512();
            continue;
          }
          UNROLL for (int f = 0; f < fold; f++) {
            const size_t y = line->y + ((size_t)f < line->lines ? (size_t)f : 0);
            const size_t iy = y * window.stride_height + ky * window.dilation_height - window.pad_top;
            rows[f] = iy < in_height ? line->image + iy * pitch : line->zero;
          }
          kx = 0, ky++;
        }
        const size_t ix = x * window.stride_width + kx * window.dilation_width - line->pad_left;
        kx++;
        if (ix < line->in_width) {
          bytes[i] = load(rows, 1, ix * line->image_channels, fold, whole, line->mask);
        } else {
          bytes[i] = _mm512_set1_epi8(line->pad);
        }
      }
      transpose(bytes, groups);
      add_from(sums, groups, w);
    }
    finish(line, x, sums, fold, whole);
  }
}

// What the functions of a line are for: windows of 3 x 3 and 5 x 5 of stride 1, 2 and any, other windows.
VNNI_INLINE void line_of(const struct line *given, int side, int stride, int fold, bool whole) {
  const struct line line = *given;
  if (side == 0) {
    line_of_taps(&line, fold, whole);
  } else if (stride == 0) {
    line_of_columns(&line, side, fold, whole);
  } else if (side == 3) {
    line3(&line, stride, fold, whole);
  } else {
    line5(&line, stride, fold, whole);
  }
}

typedef void line_function(const struct line *line);

#define WINDOWS(X) X(3, 0) X(3, 1) X(3, 2) X(5, 0) X(5, 1) X(5, 2) X(0, 0)
#define DEFINE(side, stride)                                                                                        \
  VNNI static void line_##side##_##stride##_whole(const struct line *line) { line_of(line, side, stride, 1, true); } \
  VNNI static void line_##side##_##stride##_1(const struct line *line) { line_of(line, side, stride, 1, false); }    \
  VNNI static void line_##side##_##stride##_2(const struct line *line) { line_of(line, side, stride, 2, false); }    \
  VNNI static void line_##side##_##stride##_4(const struct line *line) { line_of(line, side, stride, 4, false); }
WINDOWS(DEFINE)

static line_function *function_of(const struct i8k_conv *conv, size_t channels) {
#define ENTRY(side, stride)                                                                              \
  {line_##side##_##stride##_whole, line_##side##_##stride##_1, line_##side##_##stride##_2, \
   line_##side##_##stride##_4},
  static line_function *const functions[][4] = {WINDOWS(ENTRY)};
  const size_t fold = i8k_depthwise_fold(channels);
  const struct ds_window *w = &conv->window;
  const size_t stride = w->stride_width > 2 || w->dilation_width > 1 ? 0 : w->stride_width;
  const size_t window = !i8k_by_columns(conv) ? 6 : w->kernel_width == 3 ? stride : 3 + stride;
  return functions[window][channels == I8K_DEPTHWISE_BLOCK ? 0 : fold == 4 ? 3 : fold];
}

void i8k_avx512_vnni_depthwise(const struct i8k_depthwise_tile *t) {
  const struct i8k_conv *conv = t->conv;
  const struct ds_window *window = &conv->window;
  const size_t height = window->kernel_height, row_bytes = conv->in.width * conv->in.channels;
  struct line line = {
      .conv = conv,
      .output_pitch = conv->out.width * conv->out.channels,
      .in_width = conv->in.width,
      .out_width = conv->out.width,
      .pad_left = window->pad_left,
      .image_channels = conv->in.channels,
      .pad = (int8_t)(conv->in_zero_point ^ -128),
      .zero_point = conv->out_zero_point,
      .min = conv->min,
      .max = conv->max};
  for (size_t c0 = t->first_channel; c0 < t->end_channel; c0 += I8K_DEPTHWISE_BLOCK) {
    const size_t channels = i8k_min(I8K_DEPTHWISE_BLOCK, conv->out.channels - c0);
    line.mask = ~UINT64_C(0) >> (I8K_DEPTHWISE_BLOCK - channels);
    line.block = (const char *)t->packed + c0 * i8k_depthwise_bytes(conv, true);
    line.image = t->input + c0;
    line.zero = t->zero + c0;
    const size_t fold = i8k_depthwise_fold(channels);
    line_function *const function = function_of(conv, channels);
    for (line.y = t->first_row; line.y < t->end_row; line.y += fold) {
      line.lines = i8k_min(fold, t->end_row - line.y);
      line.output = t->output + line.y * line.output_pitch + c0;
      for (size_t f = 0; f < fold && height <= MAX_SIDE; f++) {
        const size_t y = line.y + (f < line.lines ? f : 0);
        for (size_t ky = 0; ky < height; ky++) {
          const size_t iy = y * window->stride_height + ky * window->dilation_height - window->pad_top;
          line.rows[f * height + ky] = iy < conv->in.height ? line.image + iy * row_bytes : line.zero;
        }
      }
      function(&line);
    }
  }
}
#endif
