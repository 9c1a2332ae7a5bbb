// What this processor can do, told once for all kernels.
#ifndef PROCESSOR_H
#define PROCESSOR_H

#include <stdbool.h>

// Instruction sets that kernels are built for. A set of kernels has builds for some, and takes the last that the
// processor has. X(NAME, name as printed and in caches of packed weights, whether this processor has it).
//
// To add one: a line here, and in each set that is to have it a file or folder of its own with its line in builds.c.
#define CPU_ISAS(X)                                                                                 \
  X(PORTABLE, "portable", true)                                                                     \
  X(AVX2, "avx2", CPU_HAS("avx2") && CPU_HAS("fma"))                                                \
  X(AVX512, "avx512", CPU_HAS("avx512f"))                                                           \
  X(AVX512_VNNI, "avx512vnni",                                                                      \
    CPU_HAS("avx512f") && CPU_HAS("avx512bw") && CPU_HAS("avx512vl") && CPU_HAS("avx512vnni"))

#define CPU_ISA_MEMBER(name, text, available) CPU_##name,
enum cpu_isa { CPU_ISAS(CPU_ISA_MEMBER) CPU_ISA_COUNT };
#undef CPU_ISA_MEMBER

bool cpu_isa_available(enum cpu_isa isa);
const char *cpu_isa_name(enum cpu_isa isa);

#endif  // PROCESSOR_H
