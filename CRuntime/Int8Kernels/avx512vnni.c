// The build for AVX-512 with VNNI. vpdpbusd adds four products of uint8 and int8 to an int32, without saturation:
// inputs become uint8 by flipping their sign bit, that is by adding 128.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "kernels.h"

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define VNNI_INLINE static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define UNROLL _Pragma("clang loop unroll(full)")

// 28 sums, 2 vectors of weights, an input and the sign bits: the 32 registers.
enum { MAX_ROWS = 14 };

VNNI_INLINE __m512i broadcast(const int8_t *x) {
  int32_t bytes;
  memcpy(&bytes, x, sizeof bytes);
  return _mm512_set1_epi32(bytes);
}

VNNI_INLINE __m512i requantize(__m512i sums, __m512 scales, const struct i8k_requantize *q) {
  __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales);
  x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(q->min)), _mm512_set1_ps(q->max));
  return _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(q->zero_point));
}

VNNI_INLINE void store(int8_t *output, __m512i quanta, size_t count) {
  const __m128i bytes = _mm512_cvtepi32_epi8(quanta);
  if (count >= 16) {
    _mm_storeu_si128((__m128i *)(void *)output, bytes);
  } else {
    _mm_mask_storeu_epi8(output, (__mmask16)((1u << count) - 1), bytes);
  }
}

// `rows` rows by `vectors` * 16 channels.
VNNI_INLINE void gemm_of(const struct i8k_tile *t, const int rows, const int vectors) {
  const size_t depth = i8k_round_up(t->depth, 4), taps = t->taps;
  const char *block = t->block;
  const char *w = block + vectors * 128;
  const __m512i sign = _mm512_set1_epi8((char)0x80);
  __m512i sums[MAX_ROWS][2];
  UNROLL for (int v = 0; v < vectors; v++) {
    UNROLL for (int m = 0; m < rows; m++) sums[m][v] = _mm512_load_si512(block + v * 64);
  }
  for (size_t tap = 0; tap < taps; tap++) {
    const int8_t *x[MAX_ROWS];
    UNROLL for (int m = 0; m < rows; m++) {
      x[m] = t->pointers ? t->pointers[(size_t)m * taps + tap] + t->offset : t->input + (size_t)m * t->input_stride;
    }
    for (size_t k = 0; k < depth; k += 4, w += vectors * 64) {
      __m512i weights[2];
      UNROLL for (int v = 0; v < vectors; v++) weights[v] = _mm512_load_si512(w + v * 64);
      UNROLL for (int m = 0; m < rows; m++) {
        const __m512i input = _mm512_xor_si512(broadcast(x[m] + k), sign);
        UNROLL for (int v = 0; v < vectors; v++) sums[m][v] = _mm512_dpbusd_epi32(sums[m][v], input, weights[v]);
      }
    }
  }
  if (t->sums != NULL) {
    UNROLL for (int v = 0; v < vectors; v++) {
      UNROLL for (int m = 0; m < rows; m++) {
        _mm512_storeu_si512(t->sums + (size_t)m * t->sums_stride + v * 16, sums[m][v]);
      }
    }
    return;
  }
  const struct i8k_requantize q = *t->requantize;
  UNROLL for (int v = 0; v < vectors; v++) {
    const __m512 scales = _mm512_load_ps(block + vectors * 64 + v * 64);
    const size_t count = t->channels - (size_t)v * 16;
    UNROLL for (int m = 0; m < rows; m++) {
      store(t->output + (size_t)m * t->output_stride + v * 16, requantize(sums[m][v], scales, &q), count);
    }
  }
}

#define GEMM_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define DEFINE_GEMM(rows)                                                                 \
  VNNI static void gemm_##rows##_half(const struct i8k_tile *t) { gemm_of(t, rows, 1); }  \
  VNNI static void gemm_##rows##_whole(const struct i8k_tile *t) { gemm_of(t, rows, 2); }
GEMM_ROWS(DEFINE_GEMM)

static void gemm(const struct i8k_tile *t) {
#define GEMM_ENTRY(rows) {gemm_##rows##_half, gemm_##rows##_whole},
  static void (*const functions[MAX_ROWS][2])(const struct i8k_tile *) = {GEMM_ROWS(GEMM_ENTRY)};
  functions[t->rows - 1][t->channels > I8K_HALF_BLOCK](t);
}

const struct i8k_kernels i8k_avx512_vnni = {
    .max_rows = MAX_ROWS, .input_offset = 128, .interleaved = true, .gemm = gemm,
    .depthwise = i8k_avx512_vnni_depthwise};
#endif
