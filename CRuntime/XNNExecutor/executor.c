// Threads, the table of kinds, and the life of an operator.
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "xnn_compat.h"

// What creates a kind and what gives it other sizes, and how many inputs its nodes may have.
struct kind {
  xnx_create_fn create, reshape;
  uint32_t min_inputs, max_inputs;
  bool moves_int32;  // activations may be int32 too
};

static const struct kind kinds[DS_KIND_COUNT] = {
    [DS_CONVOLUTION_2D] = {xnx_create_convolution, xnx_reshape_convolution, 2, 3, false},
    [DS_FULLY_CONNECTED] = {xnx_create_fully_connected, xnx_reshape_fully_connected, 2, 3, false},
    [DS_ADD] = {xnx_create_add, xnx_reshape_binary, 2, 2, false},
    [DS_SUBTRACT] = {xnx_create_subtract, xnx_reshape_binary, 2, 2, false},
    [DS_MULTIPLY] = {xnx_create_multiply, xnx_reshape_binary, 2, 2, false},
    [DS_MAX_POOLING_2D] = {xnx_create_max_pooling, xnx_reshape_pooling, 1, 1, false},
    [DS_AVERAGE_POOLING_2D] = {xnx_create_average_pooling, xnx_reshape_pooling, 1, 1, false},
    [DS_GLOBAL_AVERAGE_POOLING] =
        {xnx_create_global_average_pooling, xnx_reshape_global_average_pooling, 1, 1, false},
    [DS_CLAMP] = {xnx_create_clamp, xnx_reshape_unary, 1, 1, false},
    [DS_CONSTANT_PAD] = {xnx_create_constant_pad, xnx_reshape_constant_pad, 1, 1, false},
    [DS_CONCATENATE] = {xnx_create_concatenate, xnx_reshape_concatenate, 1, DS_MAX_INPUTS, true},
    [DS_LOOKUP_TABLE] = {xnx_create_lookup_table, xnx_reshape_unary, 2, 2, false},
    [DS_CONVERT] = {xnx_create_convert, xnx_reshape_unary, 1, 1, false},
    [DS_TRANSPOSE] = {xnx_create_transpose, xnx_reshape_transpose, 1, 1, true},
    [DS_DYNAMIC_LINEAR] = {xnx_create_dynamic_linear, xnx_reshape_dynamic_linear, 2, 3, false},
    [DS_CONVOLUTION_2D_CAT] = {xnx_create_convolution_cat, xnx_reshape_convolution_cat, 2, 4, false},
    [DS_CONVOLUTION_2D_ADD] = {xnx_create_convolution_add, xnx_reshape_convolution_add, 3, 4, false},
    [DS_CONVERT_TRANSPOSE] = {xnx_create_convert_transpose, xnx_reshape_convert_transpose, 1, 1, false},
};

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

static void initialize_library(void) { library_status = xnc_status(xnn_initialize(&allocator)); }

// Threads of two kinds, since the library's operators take no others than pthreadpool's. Those spin for milliseconds
// after each operator, and wait for each other even where one has nothing to do: they are for the operators that cannot
// do without, and there are none before such an operator.
struct xnx_threads {
  size_t count;
  struct thr_pool *own;       // NULL: the caller's thread alone
  pthread_mutex_t mutex;         // of `pool` while it is NULL
  _Atomic(pthreadpool_t) pool;
};

static bool is_product(uint32_t kind) {
  return kind == DS_CONVOLUTION_2D || kind == DS_FULLY_CONNECTED || kind == DS_CONVOLUTION_2D_ADD ||
         kind == DS_CONVOLUTION_2D_CAT;
}

// What is left to the library where convolutions are ours is smaller than waking its threads is worth.
static bool needs_library_threads(const struct xnx_operator *op) { return op->kernel == NULL && !op->is_alone; }

static enum xnx_status create_library_threads(struct xnx_threads *threads) {
  if (threads->count == 1 || threads->pool != NULL) return XNX_OK;
  pthread_mutex_lock(&threads->mutex);
  if (threads->pool == NULL) threads->pool = pthreadpool_create(threads->count);
  pthread_mutex_unlock(&threads->mutex);
  return threads->pool == NULL ? XNX_OUT_OF_MEMORY : XNX_OK;
}

enum xnx_status xnx_threads_create(size_t thread_count, xnx_threads **threads_out) {
  struct xnx_threads *threads = calloc(1, sizeof *threads);
  if (threads == NULL) return XNX_OUT_OF_MEMORY;
  threads->count = thread_count > 1 ? thread_count : 1;
  pthread_mutex_init(&threads->mutex, NULL);
  if (thread_count > 1) {
    threads->own = thr_pool_create(thread_count);
    if (threads->own == NULL) {
      xnx_threads_delete(threads);
      return XNX_OUT_OF_MEMORY;
    }
  }
  *threads_out = threads;
  return XNX_OK;
}

void xnx_threads_delete(xnx_threads *threads) {
  if (threads == NULL) return;
  pthreadpool_destroy(threads->pool);
  thr_pool_delete(threads->own);
  pthread_mutex_destroy(&threads->mutex);
  free(threads);
}

// Makes the node's indices pointers, and checks what does not depend on its kind's parameters.
static enum xnx_status operands_of(
    const struct ds_node *node, const struct ds_value *values, size_t value_count, struct xnx_operands *operands) {
  if (node->kind >= DS_KIND_COUNT) return XNX_INVALID_NODE;
  const struct kind *kind = &kinds[node->kind];
  if (node->input_count < kind->min_inputs || node->input_count > kind->max_inputs) return XNX_INVALID_NODE;
  enum xnx_status status = xnx_resolve(node, values, value_count, operands);
  if (status != XNX_OK) return status;
  if (operands->inputs[0]->data != NULL) return XNX_UNSUPPORTED;
  if (operands->output->data != NULL) return XNX_INVALID_NODE;
  return operands->inputs[0]->type == DS_INT32 && !kind->moves_int32 ? XNX_UNSUPPORTED : XNX_OK;
}

// In float: the product of a hostile file's sizes may be beyond 64 bits.
static bool is_small(const struct xnx_operands *operands, const struct xnx_operator *op) {
  const struct ds_node *node = operands->node;
  const double elements = (double)XNX_PARALLEL_ELEMENTS;
  const double in = (double)xnx_element_count(operands->inputs[0]), out = (double)xnx_element_count(operands->output);
  if (is_product(node->kind)) {
    if (op->is_native && op->type == DS_FLOAT32) return false;  // its kernels decide
    const struct ds_value *filter = operands->inputs[node->kind == DS_CONVOLUTION_2D_ADD ? 2 : 1];
    const bool is_gemm = op->is_native && !op->as.native.conv.depthwise;
    const double products = (double)(is_gemm ? XNX_PARALLEL_NATIVE : XNX_PARALLEL_PRODUCTS);
    return out / filter->sizes[0] * (double)xnx_element_count(filter) < products;
  }
  if (node->kind == DS_MAX_POOLING_2D || node->kind == DS_AVERAGE_POOLING_2D) {
    return out * node->as.window.kernel_height * node->as.window.kernel_width < elements;
  }
  return (in > out ? in : out) < elements;
}

enum xnx_status xnx_operator_create(
    const struct ds_node *node, const struct ds_value *values, size_t value_count, const struct xnx_options *options,
    xnx_operator **operator_out) {
  pthread_once(&library_once, initialize_library);
  if (library_status != XNX_OK) return library_status;
  struct xnx_operands operands = {0};
  enum xnx_status status = operands_of(node, values, value_count, &operands);
  if (status != XNX_OK) return status;
  operands.options = options;
  operands.threads = options->threads == NULL ? NULL : options->threads->own;

  struct xnx_operator *op = calloc(1, sizeof *op);
  if (op == NULL) return XNX_OUT_OF_MEMORY;
  op->type = (enum ds_type)operands.inputs[0]->type;
  op->kind = node->kind;
  op->input_count = 1;
  library_bytes = 0;
  status = kinds[node->kind].create(&operands, op);
  if (status != XNX_OK) {
    xnx_operator_delete(op);
    return status;
  }
  op->packed_bytes += library_bytes;
  op->is_small = is_small(&operands, op);
  op->is_alone = !is_product(node->kind) && (op->type != DS_FLOAT32 || xnx_is_native_float(options));
  *operator_out = op;
  return XNX_OK;
}

enum xnx_status xnx_operator_resize(
    xnx_operator *op, const struct ds_node *node, const struct ds_value *values, size_t value_count) {
  struct xnx_operands operands = {0};
  enum xnx_status status = operands_of(node, values, value_count, &operands);
  if (status != XNX_OK) return status;
  if (node->kind != op->kind || operands.inputs[0]->type != (uint32_t)op->type) return XNX_INVALID_NODE;
  struct xnx_operator next = *op;
  status = kinds[node->kind].reshape(&operands, &next);
  if (status != XNX_OK) return status;
  // The library's operators are created for their channels.
  if (next.input_image.channels != op->input_image.channels ||
      next.output_image.channels != op->output_image.channels) {
    return XNX_UNSUPPORTED;
  }
  next.ready = false;
  next.is_small = is_small(&operands, &next);
  *op = next;
  return XNX_OK;
}

enum xnx_status xnx_operator_setup(
    xnx_operator *op, const void *const *inputs, void *output, void *scratch, xnx_threads *threads) {
  for (size_t i = 0; i < op->input_count; i++) op->inputs[i] = inputs[i];
  op->output = output;
  op->sums = xnx_operator_scratch_bytes(op) > 0 ? scratch : NULL;
  op->ready = false;
  op->own = op->is_small ? NULL : threads->own;
  op->pool = NULL;
  if (!op->is_small && needs_library_threads(op)) {
    const enum xnx_status status = create_library_threads(threads);
    if (status != XNX_OK) return status;
    op->pool = threads->pool;
  }
  if (op->setup != NULL) {
    const enum xnx_status status = op->setup(op, op->pool);
    if (status != XNX_OK) return status;
  }
  op->ready = true;
  return XNX_OK;
}

struct parts {
  const struct xnx_operator *op;
  _Atomic enum xnx_status status;
};

static void run_part(void *context, size_t index) {
  struct parts *parts = context;
  const enum xnx_status status = xnc_status(xnn_run_operator(parts->op->parts[index], NULL));
  if (status != XNX_OK) parts->status = status;
}

enum xnx_status xnx_operator_run(xnx_operator *op) {
  if (!op->ready) return XNX_INVALID_NODE;
  if (op->kernel != NULL) {
    op->kernel(op, op->own);
    return XNX_OK;
  }
  if (!needs_library_threads(op)) {
    struct parts parts = {.op = op, .status = XNX_OK};
    thr_parallelize(op->own, op->part_count, run_part, &parts);
    return parts.status;
  }
  if (op->prologue != NULL) op->prologue(op, op->own);
  for (size_t i = 0; i < op->part_count; i++) {
    const enum xnx_status status = xnc_status(xnn_run_operator(op->parts[i], op->pool));
    if (status != XNX_OK) return status;
  }
  if (op->epilogue != NULL) op->epilogue(op, op->own);
  return XNX_OK;
}

size_t xnx_operators_run(xnx_operator *const *operators, size_t count, enum xnx_status *status_out) {
  enum xnx_status status = XNX_OK;
  size_t i = 0;
  for (; i < count && operators[i] != NULL; i++) {
    status = xnx_operator_run(operators[i]);
    if (status != XNX_OK) break;
  }
  *status_out = status;
  return i;
}

size_t xnx_operator_scratch_bytes(const xnx_operator *op) {
  return op->kind == DS_CONVOLUTION_2D_ADD && !op->is_native ? op->elements : 0;
}

size_t xnx_operator_packed_bytes(const xnx_operator *op) { return op->packed_bytes; }

void xnx_operator_delete(xnx_operator *op) {
  if (op == NULL) return;
  for (size_t i = 0; i < DS_MAX_INPUTS; i++) {
    if (op->parts[i] != NULL) xnn_delete_operator(op->parts[i]);
  }
  xnx_delete_native(op);
  xnx_delete_dynamic(op);
  free(op);
}

const char *xnx_library_version(void) { return XNC_LIBRARY_VERSION; }
