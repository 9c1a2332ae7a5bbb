// Which builds this processor runs.
#include "kernels.h"

bool f32k_isa_available(enum f32k_isa isa) {
  switch (isa) {
    case F32K_PORTABLE: return true;
#if defined(__x86_64__)
    case F32K_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case F32K_AVX512: return __builtin_cpu_supports("avx512f");
#else
    case F32K_AVX2:
    case F32K_AVX512: return false;
#endif
    case F32K_ISA_COUNT: return false;
  }
  return false;
}

enum f32k_isa f32k_isa(void) {
  if (f32k_isa_available(F32K_AVX512)) return F32K_AVX512;
  return f32k_isa_available(F32K_AVX2) ? F32K_AVX2 : F32K_PORTABLE;
}

const char *f32k_isa_name(enum f32k_isa isa) {
  switch (isa) {
    case F32K_PORTABLE: return "portable";
    case F32K_AVX2: return "avx2";
    case F32K_AVX512: return "avx512";
    case F32K_ISA_COUNT: break;
  }
  return "unknown";
}

const struct f32k_kernels *f32k_kernels_of(enum f32k_isa isa) {
#if defined(__x86_64__)
  if (isa == F32K_AVX512) return &f32k_avx512;
  if (isa == F32K_AVX2) return &f32k_avx2;
#endif
  (void)isa;
  return &f32k_portable;
}
