// Sums of int8 tensors, in the fixed point of XNNPACK's: rounded half up.
#include <math.h>

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

void i8k_add_run(
    enum cpu_isa isa, const struct i8k_add *add, const int8_t *a, const int8_t *b, int8_t *output, size_t count) {
  const struct i8k_rows rows = {.a = a, .b = b, .output = output, .count = 1, .length = count};
  i8k_kernels_of(isa)->add(add, &rows);
}
