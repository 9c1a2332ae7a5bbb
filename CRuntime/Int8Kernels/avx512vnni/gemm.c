// The build for AVX-512 with VNNI. vpdpbusd adds four products of uint8 and int8 to an int32, without saturation:
// inputs become uint8 by flipping their sign bit, that is by adding 128.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "../kernels.h"

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

// As a value that the compiler does not know: it would flip the bits before it spreads them, two more instructions.
VNNI_INLINE __m512i sign_bits(void) {
  __m512i bits = _mm512_set1_epi8((char)0x80);
  __asm__("" : "+v"(bits));
  return bits;
}

// Four vectors of sums become one of bytes, each vector's 16 in a row: clamped, rounded half to even, plus zero point.
// The definition clamps before it rounds; bounds are integers, so that it makes no difference. Saturated to int16, and
// again with the zero point added, quanta beyond int8 stay beyond it. The conversion to integers would turn 2^31 and
// more into negative numbers, but scales below 1 leave less of any int32.
struct narrowing {
  __m512i zero_point, lower, upper, order;
};

VNNI_INLINE struct narrowing narrowing_of(const struct i8k_requantize *q) {
  return (struct narrowing){
      .zero_point = _mm512_set1_epi16((short)q->zero_point),
      .lower = _mm512_set1_epi8(q->lower),
      .upper = _mm512_set1_epi8(q->upper),
      .order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)};
}

VNNI_INLINE __m512i quanta(__m512i sums, __m512 scales) {
  return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales));
}

VNNI_INLINE __m512i narrowed(__m512i a, __m512i b, __m512i c, __m512i d, const struct narrowing *n) {
  const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(a, b), n->zero_point);
  const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(c, d), n->zero_point);
  const __m512i bytes = _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(low, high), n->lower), n->upper);
  return _mm512_permutexvar_epi32(n->order, bytes);
}

VNNI_INLINE void store_rows_of_32(const struct i8k_tile *t, __m512i sums[MAX_ROWS][2], const int rows) {
  const struct narrowing n = narrowing_of(t->requantize);
  const float *scales = (const float *)t->block + I8K_BLOCK;
  const __m512 scale0 = _mm512_load_ps(scales), scale1 = _mm512_load_ps(scales + 16);
  const bool whole = t->channels == I8K_BLOCK;
  const __mmask32 mask = ~UINT32_C(0) >> (I8K_BLOCK - t->channels);
  int8_t *output = t->output;
  const size_t stride = t->output_stride;  // a store might change the tile, for all that the compiler knows
  UNROLL for (int m = 0; m < rows; m += 2) {
    const int next = m + 1 < rows ? m + 1 : m;
    const __m512i bytes = narrowed(
        quanta(sums[m][0], scale0), quanta(sums[m][1], scale1), quanta(sums[next][0], scale0),
        quanta(sums[next][1], scale1), &n);
    UNROLL for (int i = m; i <= next; i++, output += stride) {
      const __m256i row = i == m ? _mm512_castsi512_si256(bytes) : _mm512_extracti64x4_epi64(bytes, 1);
      if (whole) {
        _mm256_storeu_si256((__m256i *)(void *)output, row);
      } else {
        _mm256_mask_storeu_epi8(output, mask, row);
      }
    }
  }
}

VNNI_INLINE void store_rows_of_16(const struct i8k_tile *t, __m512i sums[MAX_ROWS][2], const int rows) {
  const struct narrowing n = narrowing_of(t->requantize);
  const __m512 scale = _mm512_load_ps((const float *)t->block + I8K_HALF_BLOCK);
  const bool whole = t->channels == I8K_HALF_BLOCK;
  const __mmask16 mask = (__mmask16)(0xFFFFu >> (I8K_HALF_BLOCK - t->channels));
  int8_t *output = t->output;
  const size_t stride = t->output_stride;
  UNROLL for (int m = 0; m < rows; m += 4) {
    const int last = rows - 1;
    const int row[4] = {m, m + 1 < rows ? m + 1 : last, m + 2 < rows ? m + 2 : last, m + 3 < rows ? m + 3 : last};
    const __m512i bytes = narrowed(
        quanta(sums[row[0]][0], scale), quanta(sums[row[1]][0], scale), quanta(sums[row[2]][0], scale),
        quanta(sums[row[3]][0], scale), &n);
    const __m128i parts[4] = {
        _mm512_castsi512_si128(bytes), _mm512_extracti32x4_epi32(bytes, 1), _mm512_extracti32x4_epi32(bytes, 2),
        _mm512_extracti32x4_epi32(bytes, 3)};
    UNROLL for (int i = 0; i < 4 && m + i < rows; i++, output += stride) {
      if (whole) {
        _mm_storeu_si128((__m128i *)(void *)output, parts[i]);
      } else {
        _mm_mask_storeu_epi8(output, mask, parts[i]);
      }
    }
  }
}

// One step of a tile: four bytes of every row by `vectors` * 16 channels.
VNNI_INLINE void add_products(
    __m512i sums[MAX_ROWS][2], const int8_t *const x[MAX_ROWS], size_t k, const char *w, __m512i sign,
    const int rows, const int vectors) {
  __m512i weights[2];
  UNROLL for (int v = 0; v < vectors; v++) weights[v] = _mm512_load_si512(w + v * 64);
  UNROLL for (int m = 0; m < rows; m++) {
    const __m512i input = _mm512_xor_si512(broadcast(x[m] + k), sign);
    UNROLL for (int v = 0; v < vectors; v++) sums[m][v] = _mm512_dpbusd_epi32(sums[m][v], input, weights[v]);
  }
}

// `rows` rows by `vectors` * 16 channels. A sum waits for the one before it: few rows have several of each, to be added
// up at the end.
VNNI_INLINE void gemm_of(const struct i8k_tile *t, const int rows, const int vectors) {
  const int parts = rows == 1 ? 4 : rows < 4 ? 2 : 1;
  const size_t depth = i8k_round_up(t->depth, 4), taps = t->taps, step = (size_t)vectors * 64;
  const size_t unrolled = parts == 4 ? 16 : 8;  // bytes: addresses of the rows are loaded once for these
  const char *block = t->block;
  const char *w = block + vectors * 128;
  const __m512i sign = sign_bits();
  __m512i sums[4][MAX_ROWS][2];
  UNROLL for (int v = 0; v < vectors; v++) {
    UNROLL for (int m = 0; m < rows; m++) sums[0][m][v] = _mm512_load_si512(block + v * 64);
    UNROLL for (int p = 1; p < parts; p++) {
      UNROLL for (int m = 0; m < rows; m++) sums[p][m][v] = _mm512_setzero_si512();
    }
  }
  for (size_t tap = 0; tap < taps; tap++) {
    const int8_t *x[MAX_ROWS];
    if (t->pointers != NULL) {
      UNROLL for (int m = 0; m < rows; m++) x[m] = t->pointers[(size_t)m * taps + tap] + t->offset;
    } else {
      UNROLL for (int m = 0; m < rows; m++) x[m] = t->input + (size_t)m * t->input_stride;
    }
    size_t k = 0;
    for (; k + unrolled <= depth; k += unrolled) {
      UNROLL for (size_t i = 0; i < unrolled / 4; i++, w += step) {
        add_products(sums[i % (size_t)parts], x, k + i * 4, w, sign, rows, vectors);
      }
    }
    for (; k < depth; k += 4, w += step) add_products(sums[0], x, k, w, sign, rows, vectors);
  }
  UNROLL for (int p = 1; p < parts; p++) {
    UNROLL for (int m = 0; m < rows; m++) {
      UNROLL for (int v = 0; v < vectors; v++) sums[0][m][v] = _mm512_add_epi32(sums[0][m][v], sums[p][m][v]);
    }
  }
  if (t->sums != NULL) {
    UNROLL for (int v = 0; v < vectors; v++) {
      UNROLL for (int m = 0; m < rows; m++) {
        _mm512_storeu_si512(t->sums + (size_t)m * t->sums_stride + v * 16, sums[0][m][v]);
      }
    }
  } else if (vectors == 2) {
    store_rows_of_32(t, sums[0], rows);
  } else {
    store_rows_of_16(t, sums[0], rows);
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

// One row by whole blocks of channels, the rest by gemm. Reading is what takes time here: the input is read 16 bytes at
// a time, and each four of these are spread by a shuffle.
VNNI static void row(const struct i8k_tile *tile) {
  struct i8k_tile t = *tile;
  const size_t depth = i8k_round_up(t.depth, 4);
  const __m512i sign = sign_bits();
  const struct narrowing n = narrowing_of(t.requantize);
  const char *w = t.block;
  for (; t.channels >= I8K_BLOCK; t.channels -= I8K_BLOCK, t.output += I8K_BLOCK) {
    const __m512 scale0 = _mm512_load_ps(w + 128), scale1 = _mm512_load_ps(w + 192);
    __m512i sums[4][2] = {{_mm512_load_si512(w), _mm512_load_si512(w + 64)}};
    UNROLL for (int i = 1; i < 4; i++) sums[i][0] = sums[i][1] = _mm512_setzero_si512();
    w += 256;
    size_t k = 0;
    for (; k + 16 <= depth; k += 16, w += 512) {
      const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(t.input + k));
      const __m512i x = _mm512_xor_si512(_mm512_broadcast_i32x4(bytes), sign);
      const __m512i inputs[4] = {
          _mm512_shuffle_epi32(x, 0x00), _mm512_shuffle_epi32(x, 0x55), _mm512_shuffle_epi32(x, 0xAA),
          _mm512_shuffle_epi32(x, 0xFF)};
      UNROLL for (int i = 0; i < 4; i++) {
        sums[i][0] = _mm512_dpbusd_epi32(sums[i][0], inputs[i], _mm512_load_si512(w + i * 128));
        sums[i][1] = _mm512_dpbusd_epi32(sums[i][1], inputs[i], _mm512_load_si512(w + i * 128 + 64));
      }
    }
    for (; k < depth; k += 4, w += 128) {
      const __m512i input = _mm512_xor_si512(broadcast(t.input + k), sign);
      sums[0][0] = _mm512_dpbusd_epi32(sums[0][0], input, _mm512_load_si512(w));
      sums[0][1] = _mm512_dpbusd_epi32(sums[0][1], input, _mm512_load_si512(w + 64));
    }
    UNROLL for (int v = 0; v < 2; v++) {
      sums[0][v] = _mm512_add_epi32(
          _mm512_add_epi32(sums[0][v], sums[1][v]), _mm512_add_epi32(sums[2][v], sums[3][v]));
    }
    const __m512i a = quanta(sums[0][0], scale0), b = quanta(sums[0][1], scale1);
    _mm256_storeu_si256(
        (__m256i *)(void *)t.output, _mm512_castsi512_si256(narrowed(a, b, a, b, &n)));
  }
  t.block = w;
  if (t.channels > 0) gemm(&t);
}

const struct i8k_kernels i8k_avx512_vnni = {
    .preferred = I8K_CONVOLUTIONS | I8K_SUMS,  // XNNPACK has no kernels for VNNI: every shape measured was faster
    .max_rows = MAX_ROWS, .input_offset = 128, .interleaved = true, .gemm = gemm, .row = row,
    .depthwise = i8k_avx512_vnni_depthwise, .add = i8k_avx512_vnni_add};
#endif
