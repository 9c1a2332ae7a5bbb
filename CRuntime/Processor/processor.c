#include "Processor.h"

#if defined(__x86_64__)
#define CPU_HAS(feature) __builtin_cpu_supports(feature)
#else
#define CPU_HAS(feature) false
#endif

bool cpu_isa_available(enum cpu_isa isa) {
#define AVAILABLE(name, text, available) \
  case CPU_##name: return available;
  switch (isa) {
    CPU_ISAS(AVAILABLE)
    case CPU_ISA_COUNT: break;
  }
  return false;
}

const char *cpu_isa_name(enum cpu_isa isa) {
#define NAME(name, text, available) text,
  static const char *const names[] = {CPU_ISAS(NAME)};
  return isa < CPU_ISA_COUNT ? names[isa] : "unknown";
}
