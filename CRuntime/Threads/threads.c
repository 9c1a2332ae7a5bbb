// A pool whose helpers join a job while it is open. The indices are dealt out to all threads in equal ranges; who has
// done its own takes from the ends of the others', so that the caller can finish alone.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "Threads.h"

enum {
  CACHE_LINE = 64,
  HELPER_SPIN = 200000,  // ns: longer than what the caller does alone between two operators
  CALLER_SPIN = 50000,   // ns: longer than a call of a task takes on a thread that runs
  ALONE = 8,             // times as long as it was held up does the caller go on alone, but no longer than
  MAX_ALONE = 50000000,  // ns
  MAX_THREADS = 1 << 10,
};

// [begin, end) in the low and high half.
struct range {
  _Alignas(CACHE_LINE) _Atomic uint64_t bounds;
};

struct helper {
  struct thr_pool *threads;
  size_t index;  // of its range; the caller has 0
  pthread_t thread;
};

struct thr_pool {
  _Alignas(CACHE_LINE) _Atomic uint32_t job;  // a number, odd while the job is open
  _Atomic uint32_t sleepers;
  atomic_bool stopping;
  _Alignas(CACHE_LINE) _Atomic uint32_t active;  // helpers that look for work
  atomic_bool caller_sleeps;
  _Alignas(CACHE_LINE) atomic_flag taken;
  // Written while the job is closed and nobody is active.
  void (*task)(void *context, size_t index);
  void *context;
  int64_t alone_until;
  size_t count;  // threads
  struct range *ranges;
  struct helper *helpers;
};

static void sleep_while(_Atomic uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0); }

static void pause_briefly(void) {
  for (int i = 0; i < 4; i++) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }
}

static int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool take(struct range *range, bool first, uint32_t *index) {
  uint64_t bounds = atomic_load(&range->bounds);
  for (;;) {
    const uint32_t begin = (uint32_t)bounds, end = (uint32_t)(bounds >> 32);
    if (begin >= end) return false;
    *index = first ? begin : end - 1;
    const uint64_t left = first ? bounds + 1 : bounds - (UINT64_C(1) << 32);
    if (atomic_compare_exchange_weak(&range->bounds, &bounds, left)) return true;
  }
}

static void work(struct thr_pool *threads, size_t self) {
  uint32_t index;
  for (size_t i = 0; i < threads->count; i++) {
    struct range *range = &threads->ranges[(self + i) % threads->count];
    while (take(range, i == 0, &index)) threads->task(threads->context, index);
  }
}

// The number of an open job other than `done`; an even one when the threads are to end.
static uint32_t next_job(struct thr_pool *threads, uint32_t done) {
  int64_t limit = nanoseconds() + HELPER_SPIN;
  for (;;) {
    const uint32_t job = atomic_load(&threads->job);
    if (atomic_load(&threads->stopping)) return 0;
    if (job % 2 == 1 && job != done) return job;
    if (nanoseconds() < limit) {
      pause_briefly();
      continue;
    }
    // Counted before the kernel compares `job`: who opens one sees the sleeper, or the sleeper sees the job.
    atomic_fetch_add(&threads->sleepers, 1);
    sleep_while(&threads->job, job);
    atomic_fetch_sub(&threads->sleepers, 1);
    limit = nanoseconds() + HELPER_SPIN;
  }
}

static void *help(void *argument) {
  struct helper *helper = argument;
  struct thr_pool *threads = helper->threads;
  uint32_t job = 0;
  while ((job = next_job(threads, job)) % 2 == 1) {
    // Active before looking again: a job that is still open then is not closed behind this thread's back.
    atomic_fetch_add(&threads->active, 1);
    if (atomic_load(&threads->job) == job) work(threads, helper->index);
    if (atomic_fetch_sub(&threads->active, 1) == 1 && atomic_load(&threads->caller_sleeps)) wake(&threads->active);
  }
  return NULL;
}

// A helper that lost its core within a call holds up the caller until it has it back. It will happen again while
// the machine is busy, and costs more than helpers save: the caller then does without them for a while. `began` is when
// the job did: a helper's last call takes no longer than all that the caller has done.
static void wait_for_helpers(struct thr_pool *threads, int64_t began) {
  if (atomic_load(&threads->active) == 0) return;
  const int64_t start = nanoseconds(), limit = start + CALLER_SPIN;
  while (atomic_load(&threads->active) != 0) {
    if (nanoseconds() < limit) {
      pause_briefly();
      continue;
    }
    atomic_store(&threads->caller_sleeps, true);
    const uint32_t active = atomic_load(&threads->active);
    if (active != 0) sleep_while(&threads->active, active);
  }
  atomic_store(&threads->caller_sleeps, false);
  const int64_t end = nanoseconds(), waited = end - start;
  const int64_t alone = waited > MAX_ALONE / ALONE ? MAX_ALONE : ALONE * waited;
  if (waited > CALLER_SPIN && waited > start - began) threads->alone_until = end + alone;
}

static void deal(struct thr_pool *threads, size_t count) {
  for (size_t i = 0; i < threads->count; i++) {
    const uint64_t begin = count * i / threads->count, end = count * (i + 1) / threads->count;
    atomic_store_explicit(&threads->ranges[i].bounds, end << 32 | begin, memory_order_relaxed);
  }
}

static void share(
    struct thr_pool *threads, size_t count, void (*task)(void *context, size_t index), void *context,
    int64_t began) {
  threads->task = task;
  threads->context = context;
  deal(threads, count);
  atomic_fetch_add(&threads->job, 1);
  if (atomic_load(&threads->sleepers) > 0) wake(&threads->job);
  work(threads, 0);
  atomic_fetch_add(&threads->job, 1);
  wait_for_helpers(threads, began);
}

void thr_parallelize(
    struct thr_pool *threads, size_t count, void (*task)(void *context, size_t index), void *context) {
  const bool divisible = threads != NULL && threads->count > 1 && count > 1 && count <= UINT32_MAX / MAX_THREADS;
  if (divisible && !atomic_flag_test_and_set(&threads->taken)) {
    const int64_t now = nanoseconds();
    const bool shared = now >= threads->alone_until;
    if (shared) share(threads, count, task, context, now);
    atomic_flag_clear(&threads->taken);
    if (shared) return;
  }
  for (size_t i = 0; i < count; i++) task(context, i);
}

struct thr_pool *thr_pool_create(size_t count) {
  if (count > MAX_THREADS) count = MAX_THREADS;
  struct thr_pool *threads = aligned_alloc(CACHE_LINE, sizeof *threads);
  struct range *ranges = aligned_alloc(CACHE_LINE, count * sizeof *ranges);
  struct helper *helpers = calloc(count, sizeof *helpers);
  if (threads == NULL || ranges == NULL || helpers == NULL) {
    free(threads);
    free(ranges);
    free(helpers);
    return NULL;
  }
  *threads = (struct thr_pool){.taken = ATOMIC_FLAG_INIT, .count = count, .ranges = ranges, .helpers = helpers};
  for (size_t i = 1; i < count; i++) {
    helpers[i] = (struct helper){threads, i, 0};
    if (pthread_create(&helpers[i].thread, NULL, help, &helpers[i]) != 0) {
      threads->count = i;
      thr_pool_delete(threads);
      return NULL;
    }
  }
  return threads;
}

size_t thr_pool_count(const struct thr_pool *threads) { return threads == NULL ? 1 : threads->count; }

void thr_pool_delete(struct thr_pool *threads) {
  if (threads == NULL) return;
  atomic_store(&threads->stopping, true);
  atomic_fetch_add(&threads->job, 2);
  wake(&threads->job);
  for (size_t i = 1; i < threads->count; i++) pthread_join(threads->helpers[i].thread, NULL);
  free(threads->ranges);
  free(threads->helpers);
  free(threads);
}
