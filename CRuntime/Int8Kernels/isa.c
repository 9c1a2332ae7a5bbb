// Which builds this processor runs.
#include "kernels.h"

bool i8k_isa_available(enum i8k_isa isa) {
  switch (isa) {
    case I8K_PORTABLE: return true;
#if defined(__x86_64__)
    case I8K_AVX2: return __builtin_cpu_supports("avx2");
    case I8K_AVX512_VNNI:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#else
    case I8K_AVX2:
    case I8K_AVX512_VNNI: return false;
#endif
    case I8K_ISA_COUNT: return false;
  }
  return false;
}

enum i8k_isa i8k_isa(void) {
  if (i8k_isa_available(I8K_AVX512_VNNI)) return I8K_AVX512_VNNI;
  return i8k_isa_available(I8K_AVX2) ? I8K_AVX2 : I8K_PORTABLE;
}

const char *i8k_isa_name(enum i8k_isa isa) {
  switch (isa) {
    case I8K_PORTABLE: return "portable";
    case I8K_AVX2: return "avx2";
    case I8K_AVX512_VNNI: return "avx512vnni";
    case I8K_ISA_COUNT: break;
  }
  return "unknown";
}

const struct i8k_kernels *i8k_kernels_of(enum i8k_isa isa) {
#if defined(__x86_64__)
  if (isa == I8K_AVX512_VNNI) return &i8k_avx512_vnni;
  if (isa == I8K_AVX2) return &i8k_avx2;
#endif
  (void)isa;
  return &i8k_portable;
}
