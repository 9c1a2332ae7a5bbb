// The builds of the kernels, by instruction set. Another is a file or folder beside this one, and a line here; the file
// says what it is preferred for.
#include "kernels.h"

static const struct i8k_kernels *const builds[CPU_ISA_COUNT] = {
    [CPU_PORTABLE] = &i8k_portable,
#if defined(__x86_64__)
    [CPU_AVX2] = &i8k_avx2,
    [CPU_AVX512_VNNI] = &i8k_avx512_vnni,
#endif
};

bool i8k_isa_available(enum cpu_isa isa) {
  return isa < CPU_ISA_COUNT && builds[isa] != NULL && cpu_isa_available(isa);
}

enum cpu_isa i8k_isa(void) {
  enum cpu_isa isa = CPU_ISA_COUNT - 1;
  while (!i8k_isa_available(isa)) isa--;
  return isa;
}

const struct i8k_kernels *i8k_kernels_of(enum cpu_isa isa) { return builds[isa]; }

bool i8k_is_preferred(unsigned kernels) { return (builds[i8k_isa()]->preferred & kernels) != 0; }
