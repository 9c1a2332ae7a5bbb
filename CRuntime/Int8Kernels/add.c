// Sums of int8 tensors, in the fixed point of XNNPACK's: rounded half up.
#include <math.h>
#include <string.h>

#include "kernels.h"

bool i8k_add_init(
    struct i8k_add *add, const float scales[3], const int8_t zero_points[3], int8_t min, int8_t max) {
  const float a = scales[0] / scales[2], b = scales[1] / scales[2];
  if (!(a >= 0x1p-10f && a < 256.0f && b >= 0x1p-10f && b < 256.0f)) return false;
  const int shift = 20 - ilogbf(a > b ? a : b);  // 12 to 30
  add->a_multiplier = (int32_t)lrintf(ldexpf(a, shift));  // at most 2^21, as b's
  add->b_multiplier = (int32_t)lrintf(ldexpf(b, shift));
  add->shift = (uint32_t)shift;
  // Of at most 2 * 128 * 2^21 + 2^29, so that sums stay below 2^31.
  add->bias = (int32_t)(UINT32_C(1) << (shift - 1)) - zero_points[0] * add->a_multiplier -
              zero_points[1] * add->b_multiplier;
  add->zero_point = zero_points[2];
  add->min = min;
  add->max = max;
  return true;
}

// Rows of the three, with the bytes between their starts.
struct rows {
  const int8_t *a, *b;
  int8_t *output;
  size_t a_stride, b_stride, output_stride, count, length;
};

// Not restrict: the output may lie where an operand does.
static inline __attribute__((always_inline)) void add_generic(const struct i8k_add *add, const struct rows *rows) {
  const struct i8k_add q = *add;
  const int32_t min = q.min - q.zero_point, max = q.max - q.zero_point;
  enum { PART = 64 };
  for (size_t row = 0; row < rows->count; row++) {
    const int8_t *a = rows->a + row * rows->a_stride, *b = rows->b + row * rows->b_stride;
    int8_t *output = rows->output + row * rows->output_stride;
    for (size_t first = 0; first < rows->length; first += PART) {
      const size_t count = i8k_min(PART, rows->length - first);
      int8_t part[PART];
      for (size_t i = 0; i < count; i++) {
        int32_t x = (q.bias + a[first + i] * q.a_multiplier + b[first + i] * q.b_multiplier) >> q.shift;
        x = x < min ? min : x;
        x = x > max ? max : x;
        part[i] = (int8_t)(x + q.zero_point);
      }
      memcpy(output + first, part, count);
    }
  }
}

static void add_portable(const struct i8k_add *add, const struct rows *rows) { add_generic(add, rows); }

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2"))) static void add_avx2(const struct i8k_add *add, const struct rows *rows) {
  add_generic(add, rows);
}

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

VNNI static void add_vnni(const struct i8k_add *add, const struct rows *rows) {
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

static void add_rows(enum i8k_isa isa, const struct i8k_add *add, const struct rows *rows) {
#if defined(__x86_64__)
  if (isa == I8K_AVX512_VNNI) {
    add_vnni(add, rows);
    return;
  }
  if (isa == I8K_AVX2) {
    add_avx2(add, rows);
    return;
  }
#endif
  (void)isa;
  add_portable(add, rows);
}

void i8k_add_run(
    enum i8k_isa isa, const struct i8k_add *add, const int8_t *a, const int8_t *b, int8_t *output, size_t count) {
  const struct rows rows = {.a = a, .b = b, .output = output, .count = 1, .length = count};
  add_rows(isa, add, &rows);
}

void i8k_add_rows(
    enum i8k_isa isa, const struct i8k_add *add, const int8_t *products, size_t products_stride, const int8_t *other,
    int8_t *output, size_t stride, size_t count, size_t channels) {
  if (products_stride == channels && stride == channels) {
    i8k_add_run(isa, add, products, other, output, count * channels);
    return;
  }
  const struct rows rows = {
      .a = products, .a_stride = products_stride, .b = other, .b_stride = stride, .output = output,
      .output_stride = stride, .count = count, .length = channels};
  add_rows(isa, add, &rows);
}
