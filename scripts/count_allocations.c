// Preloaded into a process, counts its heap allocations and prints the number when it ends.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long count;

void *malloc(size_t size) {
  static void *(*next)(size_t);
  if (next == NULL) next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
  __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
  return next(size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
  static int (*next)(void **, size_t, size_t);
  if (next == NULL) next = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
  __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
  return next(result, alignment, size);
}

__attribute__((destructor)) static void report(void) { fprintf(stderr, "%lu allocations\n", count); }
