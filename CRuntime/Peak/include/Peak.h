// What the processor can do at most, for measuring: nothing that runs a model needs it.
#ifndef PEAK_H
#define PEAK_H

#include <stddef.h>
#include <stdint.h>

#include "Processor.h"

// Dense work on all threads at once: `amount` iterations for each thread, or a buffer of `amount` bytes shared between
// them. Returns the multiply-adds done, or the bytes read. The threads are this measurement's own, since all are to
// work; NULL, which creating gives when memory is lacking, is the caller's thread.
enum __attribute__((enum_extensibility(closed))) peak_kind { PEAK_INT8, PEAK_FLOAT, PEAK_READ };
struct pthreadpool *peak_threads_create(size_t thread_count);
void peak_threads_delete(struct pthreadpool *threads);
size_t peak_threads_count(struct pthreadpool *threads);
uint64_t peak_run(enum peak_kind kind, const void *buffer, size_t amount, struct pthreadpool *threads);

// The instruction set that it measures: the one that the int8 kernels use.
enum cpu_isa peak_isa(void);

// Arithmetic as dense as an instruction set allows, from registers, and reading of memory, on the caller's thread. They
// return the multiply-adds done, and the bytes read of a buffer aligned to 64.
uint64_t peak_int8(enum cpu_isa isa, size_t iterations);
uint64_t peak_float(enum cpu_isa isa, size_t iterations);
uint64_t peak_read(const void *buffer, size_t size);

#endif  // PEAK_H
