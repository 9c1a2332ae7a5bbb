// The build for any processor: vectors of 16 bytes, which the compiler has instructions for or does without.
#include <string.h>

#include "kernels.h"

#define TARGET
#define INLINE static inline __attribute__((always_inline))

enum { LANES = 4, MAX_ROWS = 4 };
#define GEMM_ROWS(X) X(1) X(2) X(3) X(4)

typedef float vec __attribute__((vector_size(16)));

INLINE vec load(const float *x) {
  vec y;
  memcpy(&y, x, sizeof y);
  return y;
}
INLINE vec load_part(const float *x, size_t count) {
  vec y = {0};
  memcpy(&y, x, count * sizeof *x);
  return y;
}
INLINE void store(float *y, vec x) { memcpy(y, &x, sizeof x); }
INLINE void store_part(float *y, vec x, size_t count) { memcpy(y, &x, count * sizeof *y); }
INLINE vec broadcast(float x) { return (vec){x, x, x, x}; }
INLINE vec multiply_add(vec a, vec b, vec sum) { return a * b + sum; }
INLINE vec at_least(vec x, vec min) {
  for (int i = 0; i < LANES; i++) x[i] = x[i] < min[i] ? min[i] : x[i];
  return x;
}
INLINE vec at_most(vec x, vec max) {
  for (int i = 0; i < LANES; i++) x[i] = x[i] > max[i] ? max[i] : x[i];
  return x;
}

#include "body.h"

const struct f32k_kernels f32k_portable = {
    .preferred = false,  // compiled for any processor, where XNNPACK has its own for many
    .lanes = LANES, .max_rows = MAX_ROWS, .gemm = gemm, .depthwise = depthwise, .winograd_input = winograd_input,
    .winograd_output = winograd_output};
