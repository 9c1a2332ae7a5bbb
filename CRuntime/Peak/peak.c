// The densest arithmetic of this processor, from registers: what the kernels' speed is compared with.
#include "Peak.h"

#include <pthreadpool.h>
#include <stdatomic.h>

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

enum cpu_isa peak_isa(void) {
  if (cpu_isa_available(CPU_AVX512_VNNI)) return CPU_AVX512_VNNI;
  return cpu_isa_available(CPU_AVX2) ? CPU_AVX2 : CPU_PORTABLE;
}

uint64_t peak_int8(enum cpu_isa isa, size_t iterations) {
#if defined(__x86_64__)
  if (isa == CPU_AVX512_VNNI) return int8_avx512(iterations);
  if (isa == CPU_AVX2) return int8_avx2(iterations);
#endif
  (void)isa;
  return int8_portable(iterations);
}

uint64_t peak_float(enum cpu_isa isa, size_t iterations) {
#if defined(__x86_64__)
  if (isa == CPU_AVX512_VNNI) return float_avx512(iterations);
  if (isa == CPU_AVX2) return float_avx2(iterations);
#endif
  (void)isa;
  return float_portable(iterations);
}

#if defined(__x86_64__) && defined(__linux__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
uint64_t
peak_read(const void *buffer, size_t size) {
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

struct peak {
  enum peak_kind kind;
  const char *buffer;
  size_t amount;
  _Atomic uint64_t done;
};

static void run(void *context, size_t thread) {
  struct peak *peak = context;
  uint64_t done = 0;
  switch (peak->kind) {
    case PEAK_INT8: done = peak_int8(peak_isa(), peak->amount); break;
    case PEAK_FLOAT: done = peak_float(peak_isa(), peak->amount); break;
    case PEAK_READ: done = peak_read(peak->buffer + thread * peak->amount, peak->amount); break;
  }
  atomic_fetch_add(&peak->done, done);
}

struct pthreadpool *peak_threads_create(size_t thread_count) {
  return thread_count > 1 ? pthreadpool_create(thread_count) : NULL;
}

void peak_threads_delete(struct pthreadpool *threads) { pthreadpool_destroy(threads); }

size_t peak_threads_count(struct pthreadpool *threads) { return pthreadpool_get_threads_count(threads); }

uint64_t peak_run(enum peak_kind kind, const void *buffer, size_t amount, struct pthreadpool *threads) {
  const size_t count = pthreadpool_get_threads_count(threads);
  // Each thread's part of the buffer stays aligned.
  struct peak peak = {kind, buffer, kind == PEAK_READ ? amount / count / 64 * 64 : amount, 0};
  pthreadpool_parallelize_1d(threads, run, &peak, count, 0);
  return atomic_load(&peak.done);
}
