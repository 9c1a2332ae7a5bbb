// The builds of the kernels, by instruction set. Another is a file or folder beside this one, and a line here; the file
// says what it is preferred for.
#include "kernels.h"

static const struct f32k_kernels *const builds[CPU_ISA_COUNT] = {
    [CPU_PORTABLE] = &f32k_portable,
#if defined(__x86_64__)
    [CPU_AVX2] = &f32k_avx2,
    [CPU_AVX512] = &f32k_avx512,
#endif
};

bool f32k_isa_available(enum cpu_isa isa) {
  return isa < CPU_ISA_COUNT && builds[isa] != NULL && cpu_isa_available(isa);
}

enum cpu_isa f32k_isa(void) {
  enum cpu_isa isa = CPU_ISA_COUNT - 1;
  while (!f32k_isa_available(isa)) isa--;
  return isa;
}

const struct f32k_kernels *f32k_kernels_of(enum cpu_isa isa) { return builds[isa]; }

bool f32k_is_preferred(void) { return builds[f32k_isa()]->preferred; }
