// The densest arithmetic of this processor, from registers: what the kernels' speed is compared with.
#include "kernels.h"

#define UNROLL _Pragma("clang loop unroll(full)")
// The compiler must not know a value: else equal products, or those of every iteration, become one.
#define OPAQUE(value) __asm__ volatile("" : "+x"(value))

static volatile int32_t sink;

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define AVX2 __attribute__((target("avx2,fma")))

enum { WIDE_SUMS = 20, ROWS = 3, COLUMNS = 4 };

AVX512 static uint64_t int8_avx512(size_t iterations) {
  __m512i sums[WIDE_SUMS], x = _mm512_set1_epi8(3), w = _mm512_set1_epi8(-5);
  UNROLL for (int i = 0; i < WIDE_SUMS; i++) sums[i] = _mm512_set1_epi32(i);
  for (size_t n = 0; n < iterations; n++) {
    __asm__ volatile("" : "+v"(x), "+v"(w));
    UNROLL for (int i = 0; i < WIDE_SUMS; i++) sums[i] = _mm512_dpbusd_epi32(sums[i], x, w);
  }
  UNROLL for (int i = 1; i < WIDE_SUMS; i++) sums[0] = _mm512_xor_si512(sums[0], sums[i]);
  sink = _mm512_cvtsi512_si32(sums[0]);
  return (uint64_t)iterations * WIDE_SUMS * 64;
}

AVX512 static uint64_t float_avx512(size_t iterations) {
  __m512 sums[WIDE_SUMS], x = _mm512_set1_ps(0.5f), w = _mm512_set1_ps(0.25f);
  UNROLL for (int i = 0; i < WIDE_SUMS; i++) sums[i] = _mm512_set1_ps((float)i);
  for (size_t n = 0; n < iterations; n++) {
    __asm__ volatile("" : "+v"(x), "+v"(w));
    UNROLL for (int i = 0; i < WIDE_SUMS; i++) sums[i] = _mm512_fmadd_ps(x, w, sums[i]);
  }
  UNROLL for (int i = 1; i < WIDE_SUMS; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  sink = _mm512_cvtsi512_si32(_mm512_castps_si512(sums[0]));
  return (uint64_t)iterations * WIDE_SUMS * 16;
}

AVX2 static uint64_t int8_avx2(size_t iterations) {
  __m256i sums[ROWS][COLUMNS], x[ROWS], w[COLUMNS];
  UNROLL for (int m = 0; m < ROWS; m++) {
    x[m] = _mm256_set1_epi16((short)(m + 1));
    UNROLL for (int i = 0; i < COLUMNS; i++) sums[m][i] = _mm256_set1_epi32(m);
  }
  UNROLL for (int i = 0; i < COLUMNS; i++) w[i] = _mm256_set1_epi16((short)(i - 7));
  for (size_t n = 0; n < iterations; n++) {
    UNROLL for (int i = 0; i < COLUMNS; i++) OPAQUE(w[i]);
    UNROLL for (int m = 0; m < ROWS; m++) {
      UNROLL for (int i = 0; i < COLUMNS; i++) {
        sums[m][i] = _mm256_add_epi32(sums[m][i], _mm256_madd_epi16(x[m], w[i]));
      }
    }
  }
  UNROLL for (int m = 0; m < ROWS; m++) {
    UNROLL for (int i = 0; i < COLUMNS; i++) sums[0][0] = _mm256_xor_si256(sums[0][0], sums[m][i]);
  }
  sink = _mm_cvtsi128_si32(_mm256_castsi256_si128(sums[0][0]));
  return (uint64_t)iterations * ROWS * COLUMNS * 16;
}

AVX2 static uint64_t float_avx2(size_t iterations) {
  __m256 sums[ROWS][COLUMNS], x[ROWS], w[COLUMNS];
  UNROLL for (int m = 0; m < ROWS; m++) {
    x[m] = _mm256_set1_ps((float)m);
    UNROLL for (int i = 0; i < COLUMNS; i++) sums[m][i] = _mm256_set1_ps((float)(m - i));
  }
  UNROLL for (int i = 0; i < COLUMNS; i++) w[i] = _mm256_set1_ps(0.25f);
  for (size_t n = 0; n < iterations; n++) {
    UNROLL for (int i = 0; i < COLUMNS; i++) OPAQUE(w[i]);
    UNROLL for (int m = 0; m < ROWS; m++) {
      UNROLL for (int i = 0; i < COLUMNS; i++) sums[m][i] = _mm256_fmadd_ps(x[m], w[i], sums[m][i]);
    }
  }
  UNROLL for (int m = 0; m < ROWS; m++) {
    UNROLL for (int i = 0; i < COLUMNS; i++) sums[0][0] = _mm256_add_ps(sums[0][0], sums[m][i]);
  }
  sink = _mm_cvtsi128_si32(_mm_castps_si128(_mm256_castps256_ps128(sums[0][0])));
  return (uint64_t)iterations * ROWS * COLUMNS * 8;
}
#endif

enum { PORTABLE = 256 };

static uint64_t int8_portable(size_t iterations) {
  int8_t x[PORTABLE], w[PORTABLE];
  for (int i = 0; i < PORTABLE; i++) {
    x[i] = (int8_t)(i - 100);
    w[i] = (int8_t)(50 - i / 2);
  }
  uint32_t sum = 0;
  for (size_t n = 0; n < iterations; n++) {
    __asm__ volatile("" : : "r"(x), "r"(w) : "memory");
    for (int i = 0; i < PORTABLE; i++) sum += (uint32_t)(x[i] * w[i]);
  }
  sink = (int32_t)sum;
  return (uint64_t)iterations * PORTABLE;
}

static uint64_t float_portable(size_t iterations) {
  float x[PORTABLE], sums[PORTABLE] = {0};
  for (int i = 0; i < PORTABLE; i++) x[i] = (float)i;
  for (size_t n = 0; n < iterations; n++) {
    __asm__ volatile("" : : "r"(x) : "memory");
    for (int i = 0; i < PORTABLE; i++) sums[i] += x[i] * 0.25f;
  }
  sink = (int32_t)sums[(size_t)sink % PORTABLE];
  return (uint64_t)iterations * PORTABLE;
}

uint64_t i8k_peak_int8(enum i8k_isa isa, size_t iterations) {
#if defined(__x86_64__)
  if (isa == I8K_AVX512_VNNI) return int8_avx512(iterations);
  if (isa == I8K_AVX2) return int8_avx2(iterations);
#endif
  (void)isa;
  return int8_portable(iterations);
}

uint64_t i8k_peak_float(enum i8k_isa isa, size_t iterations) {
#if defined(__x86_64__)
  if (isa == I8K_AVX512_VNNI) return float_avx512(iterations);
  if (isa == I8K_AVX2 && __builtin_cpu_supports("fma")) return float_avx2(iterations);
#endif
  (void)isa;
  return float_portable(iterations);
}

#if defined(__x86_64__) && defined(__linux__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
uint64_t
i8k_peak_read(const void *buffer, size_t size) {
  enum { WORDS = 64 };
  const uint64_t *words = buffer;
  uint64_t sums[WORDS] = {0};
  const size_t lines = size / sizeof sums;
  for (size_t n = 0; n < lines; n++, words += WORDS) {
    for (int i = 0; i < WORDS; i++) sums[i] ^= words[i];
  }
  for (int i = 1; i < WORDS; i++) sums[0] ^= sums[i];
  sink = (int32_t)sums[0];
  return (uint64_t)lines * sizeof sums;
}
