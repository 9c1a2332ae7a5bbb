// Runs the peak loops of Int8Kernels on all threads of a pool.
#include <pthreadpool.h>
#include <stdatomic.h>

#include "Int8Kernels.h"
#include "operator.h"

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

uint64_t xnx_peak_run(enum xnx_peak kind, const void *buffer, size_t amount, const xnx_threads *threads) {
  const pthreadpool_t pool = xnx_threads_pool(threads);
  const size_t count = pthreadpool_get_threads_count(pool);
  // Each thread's part of the buffer stays aligned.
  struct peak peak = {kind, buffer, kind == XNX_PEAK_READ ? amount / count / 64 * 64 : amount, 0};
  pthreadpool_parallelize_1d(pool, run, &peak, count, 0);
  return atomic_load(&peak.done);
}
