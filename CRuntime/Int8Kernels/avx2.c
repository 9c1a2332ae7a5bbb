// The build for AVX2: products of int16, pairs of them added in int32 (vpmaddwd), which is exact.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "generic.h"

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE static inline __attribute__((always_inline, target("avx2")))

enum { MAX_ROWS = 3 };

// Four bytes as int16, four times.
AVX2_INLINE __m256i broadcast(const int8_t *x) {
  int32_t bytes;
  memcpy(&bytes, x, sizeof bytes);
  return _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(bytes)));
}

AVX2_INLINE __m128i requantize(__m256i sums, const float *scales, const struct i8k_requantize *q) {
  __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(scales));
  x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(q->min)), _mm256_set1_ps(q->max));
  const __m256i y = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(q->zero_point));
  return _mm_packs_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
}

// `rows` rows by 16 channels of the block from channel c0 on. A vector holds two sums for each of four channels.
AVX2_INLINE void gemm_rows(const struct i8k_tile *t, size_t c0, const int rows) {
  const size_t width = i8k_block_width(t->channels), depth = i8k_round_up(t->depth, 4);
  const int32_t *bias = (const int32_t *)t->block + c0;
  const float *scales = (const float *)t->block + width + c0;
  const int8_t *w = (const int8_t *)t->block + width * 8 + c0 * 4;
  __m256i sums[MAX_ROWS][4];
  for (int m = 0; m < rows; m++) {
    for (int i = 0; i < 4; i++) sums[m][i] = _mm256_setzero_si256();
  }
  for (size_t tap = 0; tap < t->taps; tap++) {
    const int8_t *x[MAX_ROWS];
    for (int m = 0; m < rows; m++) {
      x[m] = t->pointers ? t->pointers[(size_t)m * t->taps + tap] + t->offset : t->input + (size_t)m * t->input_stride;
    }
    for (size_t k = 0; k < depth; k += 4, w += width * 4) {
      __m256i v[MAX_ROWS];
      for (int m = 0; m < rows; m++) v[m] = broadcast(x[m] + k);
      for (int i = 0; i < 4; i++) {
        const __m256i weights = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(w + i * 16)));
        for (int m = 0; m < rows; m++) {
          sums[m][i] = _mm256_add_epi32(sums[m][i], _mm256_madd_epi16(v[m], weights));
        }
      }
    }
  }
  const size_t count = i8k_min(t->channels - c0, 16);
  for (int m = 0; m < rows; m++) {
    __m128i words[2] = {0};
    for (int i = 0; i < 2; i++) {
      const __m256i pairs = _mm256_hadd_epi32(sums[m][2 * i], sums[m][2 * i + 1]);
      const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(bias + i * 8));
      const __m256i whole = _mm256_add_epi32(_mm256_permute4x64_epi64(pairs, 0xD8), b);
      if (t->sums != NULL) {
        int32_t *target = t->sums + (size_t)m * t->sums_stride + c0 + (size_t)i * 8;
        _mm256_storeu_si256((__m256i *)(void *)target, whole);
      } else {
        words[i] = requantize(whole, scales + i * 8, t->requantize);
      }
    }
    if (t->sums != NULL) continue;
    int8_t bytes[16];
    _mm_storeu_si128((__m128i *)(void *)bytes, _mm_packs_epi16(words[0], words[1]));
    memcpy(t->output + (size_t)m * t->output_stride + c0, bytes, count);
  }
}

AVX2 static void gemm(const struct i8k_tile *t) {
  for (size_t c0 = 0; c0 < t->channels; c0 += 16) {
    if (t->rows == 3) {
      gemm_rows(t, c0, 3);
    } else if (t->rows == 2) {
      gemm_rows(t, c0, 2);
    } else {
      gemm_rows(t, c0, 1);
    }
  }
}

AVX2 static void depthwise(const struct i8k_depthwise_tile *tile) { i8k_generic_depthwise(tile); }
AVX2 static void add(const struct i8k_add *a, const struct i8k_rows *rows) { i8k_generic_add(a, rows); }

const struct i8k_kernels i8k_avx2 = {
    .preferred = 0,  // XNNPACK's convolutions for AVX2 are about twice as fast, its sums as fast
    .max_rows = MAX_ROWS, .input_offset = 0, .interleaved = false, .gemm = gemm, .depthwise = depthwise,
    .add = add};
#endif
