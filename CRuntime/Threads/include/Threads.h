// Threads that help the caller's: a helper that is not running when there is work is not waited for, so that a busy
// machine takes away what the helpers save, and little more. One job at a time; a caller that finds the threads taken
// does its work alone. Linux (futex).
#ifndef THREADS_H
#define THREADS_H

#include <stddef.h>

struct thr_pool;

// `count` with the caller's own, at least 1. NULL when memory or threads are lacking.
struct thr_pool *thr_pool_create(size_t count);

// While no job runs. NULL is nothing.
void thr_pool_delete(struct thr_pool *threads);

// With the caller's own; 1 for NULL.
size_t thr_pool_count(const struct thr_pool *threads);

// Calls task(context, i) once for each i below `count`, and returns when all calls have. `threads` NULL: on the
// caller's thread, in order. Neighbouring indices go to one thread where the threads keep pace. Allocates nothing, and
// blocks only while a helper finishes a call.
void thr_parallelize(
    struct thr_pool *threads, size_t count, void (*task)(void *context, size_t index), void *context);

#endif  // THREADS_H
