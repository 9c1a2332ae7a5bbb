// The provider of XNNPACK's operators: what all of its kinds share.
#include "xnnpack/library.h"

#include <stdlib.h>

static const struct xnp_kind *const kinds[DS_KIND_COUNT] = {
    [DS_CONVOLUTION_2D] = &xnp_convolution,
    [DS_FULLY_CONNECTED] = &xnp_convolution,
    [DS_CONVOLUTION_2D_ADD] = &xnp_convolution_add,
    [DS_CONVOLUTION_2D_CAT] = &xnp_convolution_cat,
    [DS_ADD] = &xnp_binary,
    [DS_SUBTRACT] = &xnp_binary,
    [DS_MULTIPLY] = &xnp_binary,
    [DS_MAX_POOLING_2D] = &xnp_max_pooling,
    [DS_AVERAGE_POOLING_2D] = &xnp_average_pooling,
    [DS_GLOBAL_AVERAGE_POOLING] = &xnp_global_average_pooling,
    [DS_CLAMP] = &xnp_clamp,
    [DS_CONSTANT_PAD] = &xnp_constant_pad,
    [DS_CONCATENATE] = &xnp_concatenate,
};

const struct xnx_functions *xnx_xnnpack(const struct xnx_operands *operands) {
  const struct xnp_kind *kind = kinds[operands->node->kind];
  return kind == NULL ? NULL : &kind->functions;
}

const char *xnx_library_version(void) { return "2022-02"; }

enum xnx_status xnp_status(enum xnn_status status) {
  switch (status) {
    case xnn_status_success: return XNX_OK;
    case xnn_status_out_of_memory: return XNX_OUT_OF_MEMORY;
    case xnn_status_uninitialized:
    case xnn_status_unsupported_hardware: return XNX_LIBRARY_UNAVAILABLE;
    case xnn_status_invalid_parameter:
    case xnn_status_invalid_state:
    case xnn_status_unsupported_parameter: return XNX_UNSUPPORTED;
  }
  return XNX_UNSUPPORTED;
}

// Bytes that the library holds on behalf of this thread's current create call: it does not report them itself.
static _Thread_local size_t library_bytes;

static void *allocate(void *context, size_t size) {
  (void)context;
  return malloc(size);
}

static void *reallocate(void *context, void *pointer, size_t size) {
  (void)context;
  return realloc(pointer, size);
}

static void release(void *context, void *pointer) {
  (void)context;
  free(pointer);
}

// Packed weights and the operators themselves come from here.
static void *allocate_aligned(void *context, size_t alignment, size_t size) {
  (void)context;
  const size_t rounded = (size + alignment - 1) & ~(alignment - 1);
  if (rounded < size) return NULL;
  library_bytes += rounded;
  return aligned_alloc(alignment, rounded);
}

static const struct xnn_allocator allocator = {
    .allocate = allocate,
    .reallocate = reallocate,
    .deallocate = release,
    .aligned_allocate = allocate_aligned,
    .aligned_deallocate = release,
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static enum xnx_status library_status;

static void initialize_library(void) { library_status = xnp_status(xnn_initialize(&allocator)); }

static const struct xnp_kind *kind_of(const struct xnx_operator *op) { return (const struct xnp_kind *)op->functions; }

enum xnx_status xnp_create(const struct xnx_operands *operands, struct xnx_operator *op) {
  pthread_once(&library_once, initialize_library);
  if (library_status != XNX_OK) return library_status;
  struct xnp_parts *parts = XNX_STATE(op, xnp_parts);
  parts->count = 1;
  // What is left to the library where convolutions are ours is smaller than waking its threads is worth.
  parts->use_own_threads =
      !kind_of(op)->is_product && (op->type != DS_FLOAT32 || xnx_has_float_convolutions(operands->options));
  library_bytes = 0;
  const enum xnx_status status = kind_of(op)->create(operands, op);
  op->packed_bytes = library_bytes;
  return status;
}

enum xnx_status xnp_setup(struct xnx_operator *op, struct xnx_threads *threads) {
  struct xnp_parts *parts = XNX_STATE(op, xnp_parts);
  parts->threads = NULL;
  if (!op->is_small && !parts->use_own_threads && threads->count > 1) {
    pthread_mutex_lock(&threads->mutex);
    if (threads->library == NULL) threads->library = pthreadpool_create(threads->count);
    pthread_mutex_unlock(&threads->mutex);
    parts->threads = threads->library;
    if (parts->threads == NULL) return XNX_OUT_OF_MEMORY;
  }
  return xnp_status(kind_of(op)->setup(op, parts));
}

void xnx_library_threads_delete(struct xnx_threads *threads) { pthreadpool_destroy(threads->library); }

struct work {
  const struct xnp_parts *parts;
  _Atomic enum xnn_status status;
};

static void run_part(void *context, size_t index) {
  struct work *work = context;
  const enum xnn_status status = xnn_run_operator(work->parts->parts[index], work->parts->threads);
  if (status != xnn_status_success) work->status = status;
}

enum xnx_status xnp_run(const struct xnx_operator *op) {
  const struct xnp_parts *parts = XNX_STATE(op, xnp_parts);
  if (parts->count == 1) return xnp_status(xnn_run_operator(parts->parts[0], parts->threads));
  struct work work = {.parts = parts, .status = xnn_status_success};
  thr_parallelize(parts->use_own_threads ? op->threads : NULL, parts->count, run_part, &work);
  return xnp_status(work.status);
}

void xnp_destroy(struct xnx_operator *op) {
  struct xnp_parts *parts = XNX_STATE(op, xnp_parts);
  for (size_t i = 0; i < DS_MAX_INPUTS; i++) {
    if (parts->parts[i] != NULL) xnn_delete_operator(parts->parts[i]);
  }
}
