// The build for AVX-512.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"

#define TARGET __attribute__((target("avx512f")))
#define INLINE static inline __attribute__((always_inline, target("avx512f")))

// 28 sums, 2 vectors of weights and an input: of 32 registers.
enum { LANES = 16, MAX_ROWS = 14 };
#define GEMM_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)

typedef __m512 vec;

INLINE __mmask16 lanes(size_t count) { return (__mmask16)((1u << count) - 1); }
INLINE vec load(const float *x) { return _mm512_loadu_ps(x); }
INLINE vec load_part(const float *x, size_t count) { return _mm512_maskz_loadu_ps(lanes(count), x); }
INLINE void store(float *y, vec x) { _mm512_storeu_ps(y, x); }
INLINE void store_part(float *y, vec x, size_t count) { _mm512_mask_storeu_ps(y, lanes(count), x); }
INLINE vec broadcast(float x) { return _mm512_set1_ps(x); }
INLINE vec multiply_add(vec a, vec b, vec sum) { return _mm512_fmadd_ps(a, b, sum); }
// The second operand where one is NaN.
INLINE vec at_least(vec x, vec min) { return _mm512_max_ps(min, x); }
INLINE vec at_most(vec x, vec max) { return _mm512_min_ps(max, x); }

#include "body.h"

const struct f32k_kernels f32k_avx512 = {
    .preferred = true,  // XNNPACK's are far from the processor's peak, and have no Winograd
    .lanes = LANES, .max_rows = MAX_ROWS, .gemm = gemm, .depthwise = depthwise, .winograd_input = winograd_input,
    .winograd_output = winograd_output};
#endif
