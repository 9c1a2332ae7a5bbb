// The build for AVX2 with FMA.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline, target("avx2,fma")))

// 12 sums, 2 vectors of weights and an input: of 16 registers.
enum { LANES = 8, MAX_ROWS = 6 };
#define GEMM_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)

typedef __m256 vec;

INLINE __m256i lanes(size_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vec load(const float *x) { return _mm256_loadu_ps(x); }
INLINE vec load_part(const float *x, size_t count) { return _mm256_maskload_ps(x, lanes(count)); }
INLINE void store(float *y, vec x) { _mm256_storeu_ps(y, x); }
INLINE void store_part(float *y, vec x, size_t count) { _mm256_maskstore_ps(y, lanes(count), x); }
INLINE vec broadcast(float x) { return _mm256_set1_ps(x); }
INLINE vec multiply_add(vec a, vec b, vec sum) { return _mm256_fmadd_ps(a, b, sum); }
// The second operand where one is NaN.
INLINE vec at_least(vec x, vec min) { return _mm256_max_ps(min, x); }
INLINE vec at_most(vec x, vec max) { return _mm256_min_ps(max, x); }

#include "body.h"

const struct f32k_kernels f32k_avx2 = {
    .preferred = false,  // not shown to be faster than XNNPACK's for AVX2 with FMA
    .lanes = LANES, .max_rows = MAX_ROWS, .gemm = gemm, .depthwise = depthwise, .winograd_input = winograd_input,
    .winograd_output = winograd_output};
#endif
