// Sums for AVX-512 with VNNI, whose vpdpwssd multiplies and adds pairs of int16.
#if defined(__x86_64__)
#include <immintrin.h>

#include "../kernels.h"

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define VNNI_INLINE static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,avx512vnni")))

// Multipliers and bias are high * 2^SPLIT + low, so that vpdpwssd multiplies; elements are in an int16's upper byte:
// (bias + a * ma + b * mb) >> shift =
// (256 * (bh + a * ah + b * bh) + ((256 * (bl + a * al + b * bl)) >> SPLIT)) >> (shift + 8 - SPLIT).
enum { SPLIT = 11 };

struct vectors {
  __m512i low, high, low_bias, high_bias, shift, zero_point, min, max;
};

static int32_t low_part(int32_t x) { return x & ((1 << SPLIT) - 1); }

VNNI_INLINE __m512i sum_of(__m512i pairs, const struct vectors *v) {
  const __m512i low = _mm512_srai_epi32(_mm512_dpwssd_epi32(v->low_bias, pairs, v->low), SPLIT);
  const __m512i high = _mm512_dpwssd_epi32(v->high_bias, pairs, v->high);
  return _mm512_srav_epi32(_mm512_add_epi32(low, high), v->shift);
}

// Two vectors of pairs (a, b) from 32 of them. Narrowing saturates, which changes nothing within the bounds.
VNNI_INLINE __m512i words_of(__m512i pairs, const struct vectors *v) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i low = sum_of(_mm512_unpacklo_epi8(zero, pairs), v), high = sum_of(_mm512_unpackhi_epi8(zero, pairs), v);
  return _mm512_adds_epi16(_mm512_packs_epi32(low, high), v->zero_point);
}

// Packing undoes the order of unpacking.
VNNI_INLINE __m512i add_64(__m512i a, __m512i b, const struct vectors *v) {
  const __m512i low = words_of(_mm512_unpacklo_epi8(a, b), v), high = words_of(_mm512_unpackhi_epi8(a, b), v);
  return _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(low, high), v->min), v->max);
}

VNNI void i8k_avx512_vnni_add(const struct i8k_add *add, const struct i8k_rows *rows) {
  const int32_t a_multiplier = add->a_multiplier, b_multiplier = add->b_multiplier;
  const struct vectors v = {
      _mm512_set1_epi32(low_part(b_multiplier) << 16 | low_part(a_multiplier)),
      _mm512_set1_epi32((b_multiplier >> SPLIT) << 16 | (a_multiplier >> SPLIT)),
      _mm512_set1_epi32(low_part(add->bias) * 256), _mm512_set1_epi32((add->bias >> SPLIT) * 256),
      _mm512_set1_epi32((int32_t)add->shift + 8 - SPLIT), _mm512_set1_epi16(add->zero_point),
      _mm512_set1_epi8(add->min), _mm512_set1_epi8(add->max)};
  for (size_t row = 0; row < rows->count; row++) {
    const int8_t *a = rows->a + row * rows->a_stride, *b = rows->b + row * rows->b_stride;
    int8_t *output = rows->output + row * rows->output_stride;
    size_t i = 0;
    for (; i + 64 <= rows->length; i += 64) {
      _mm512_storeu_si512(output + i, add_64(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i), &v));
    }
    if (i == rows->length) continue;
    const __mmask64 mask = ~UINT64_C(0) >> (64 - (rows->length - i));
    const __m512i x = _mm512_maskz_loadu_epi8(mask, a + i), y = _mm512_maskz_loadu_epi8(mask, b + i);
    _mm512_mask_storeu_epi8(output + i, mask, add_64(x, y, &v));
  }
}
#endif
