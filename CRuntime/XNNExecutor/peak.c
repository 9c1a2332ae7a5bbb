// Runs the peak loops of Int8Kernels on several threads at once.
#include <pthreadpool.h>
#include <stdatomic.h>

#include "Int8Kernels.h"
#include "XNNExecutor.h"

struct peak {
  enum xnx_peak kind;
  const char *buffer;
  size_t amount;
  _Atomic uint64_t done;
};

static void run(void *context, size_t thread) {
  struct peak *peak = context;
  uint64_t done = 0;
  switch (peak->kind) {
    case XNX_PEAK_INT8: done = i8k_peak_int8(i8k_isa(), peak->amount); break;
    case XNX_PEAK_FLOAT: done = i8k_peak_float(i8k_isa(), peak->amount); break;
    case XNX_PEAK_READ: done = i8k_peak_read(peak->buffer + thread * peak->amount, peak->amount); break;
  }
  atomic_fetch_add(&peak->done, done);
}

struct pthreadpool *xnx_peak_threads_create(size_t thread_count) {
  return thread_count > 1 ? pthreadpool_create(thread_count) : NULL;
}

void xnx_peak_threads_delete(struct pthreadpool *threads) { pthreadpool_destroy(threads); }

size_t xnx_peak_threads_count(struct pthreadpool *threads) { return pthreadpool_get_threads_count(threads); }

uint64_t xnx_peak_run(enum xnx_peak kind, const void *buffer, size_t amount, struct pthreadpool *threads) {
  const size_t count = pthreadpool_get_threads_count(threads);
  // Each thread's part of the buffer stays aligned.
  struct peak peak = {kind, buffer, kind == XNX_PEAK_READ ? amount / count / 64 * 64 : amount, 0};
  pthreadpool_parallelize_1d(threads, run, &peak, count, 0);
  return atomic_load(&peak.done);
}
