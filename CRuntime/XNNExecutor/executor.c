// Threads, the kinds of nodes, and the life of an operator.
#include <stdlib.h>
#include <string.h>

#include "operator.h"

// In the order that they are asked in.
static xnx_provider *const providers[] = {xnx_native, xnx_xnnpack};

// What a kind's nodes are.
static const struct kind {
  uint32_t min_inputs, max_inputs;
  // Its work: of input or output, whichever has more; under the windows, over all places of the output; of a filter.
  enum { ELEMENTS, WINDOWS, PRODUCTS } work;
  bool moves_int32;  // activations may be int32 too
} kinds[DS_KIND_COUNT] = {
    [DS_CONVOLUTION_2D] = {2, 3, PRODUCTS, false},
    [DS_FULLY_CONNECTED] = {2, 3, PRODUCTS, false},
    [DS_ADD] = {2, 2, ELEMENTS, false},
    [DS_SUBTRACT] = {2, 2, ELEMENTS, false},
    [DS_MULTIPLY] = {2, 2, ELEMENTS, false},
    [DS_MAX_POOLING_2D] = {1, 1, WINDOWS, false},
    [DS_AVERAGE_POOLING_2D] = {1, 1, WINDOWS, false},
    [DS_GLOBAL_AVERAGE_POOLING] = {1, 1, ELEMENTS, false},
    [DS_CLAMP] = {1, 1, ELEMENTS, false},
    [DS_CONSTANT_PAD] = {1, 1, ELEMENTS, false},
    [DS_CONCATENATE] = {1, DS_MAX_INPUTS, ELEMENTS, true},
    [DS_LOOKUP_TABLE] = {2, 2, ELEMENTS, false},
    [DS_CONVERT] = {1, 1, ELEMENTS, false},
    [DS_TRANSPOSE] = {1, 1, ELEMENTS, true},
    [DS_DYNAMIC_LINEAR] = {2, 3, ELEMENTS, false},
    [DS_CONVERT_TRANSPOSE] = {1, 1, ELEMENTS, false},
    [DS_CONVOLUTION_2D_ADD] = {3, 4, PRODUCTS, false},
    [DS_CONVOLUTION_2D_CAT] = {2, 4, PRODUCTS, false},
};

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
  xnx_library_threads_delete(threads);
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

// In double: the product of a hostile file's sizes may be beyond 64 bits.
static double work_of(const struct xnx_operands *operands) {
  const struct ds_node *node = operands->node;
  const double in = (double)xnx_element_count(operands->inputs[0]), out = (double)xnx_element_count(operands->output);
  const struct ds_value *filter = operands->inputs[node->kind == DS_CONVOLUTION_2D_ADD ? 2 : 1];
  switch (kinds[node->kind].work) {
    case ELEMENTS: return in > out ? in : out;
    case WINDOWS: return out * node->as.window.kernel_height * node->as.window.kernel_width;
    case PRODUCTS: return out / filter->sizes[0] * (double)xnx_element_count(filter);
  }
  return 0;
}

static enum xnx_status reshape(const struct xnx_operands *operands, struct xnx_operator *op) {
  op->elements = xnx_element_count(operands->output);
  op->ready = false;
  const enum xnx_status status = op->functions->reshape(operands, op);
  if (status == XNX_OK) op->is_small = work_of(operands) < op->functions->parallel_from;
  return status;
}

static enum xnx_status create(
    const struct xnx_operands *operands, xnx_provider *provider, const struct xnx_functions *functions,
    xnx_operator **operator_out) {
  struct xnx_operator *op = calloc(1, sizeof *op + functions->state_size);
  if (op == NULL) return XNX_OUT_OF_MEMORY;
  op->provider = provider;
  op->functions = functions;
  op->kind = operands->node->kind;
  op->type = (enum ds_type)operands->inputs[0]->type;
  for (uint32_t i = 0; i < operands->node->input_count; i++) {
    if (operands->inputs[i] != NULL && operands->inputs[i]->data == NULL) op->input_count++;
  }
  enum xnx_status status = reshape(operands, op);
  if (status == XNX_OK && functions->create != NULL) status = functions->create(operands, op);
  if (status != XNX_OK) {
    xnx_operator_delete(op);
    return status;
  }
  *operator_out = op;
  return XNX_OK;
}

enum xnx_status xnx_operator_create(
    const struct ds_node *node, const struct ds_value *values, size_t value_count, const struct xnx_options *options,
    xnx_operator **operator_out) {
  struct xnx_operands operands = {.options = options};
  enum xnx_status status = operands_of(node, values, value_count, &operands);
  if (status != XNX_OK) return status;
  status = XNX_UNSUPPORTED;
  for (size_t i = 0; i < sizeof providers / sizeof *providers && status == XNX_UNSUPPORTED; i++) {
    const struct xnx_functions *functions = providers[i](&operands);
    if (functions != NULL) status = create(&operands, providers[i], functions, operator_out);
  }
  return status;
}

enum xnx_status xnx_operator_resize(
    xnx_operator *op, const struct ds_node *node, const struct ds_value *values, size_t value_count) {
  struct xnx_operands operands = {0};
  enum xnx_status status = operands_of(node, values, value_count, &operands);
  if (status != XNX_OK) return status;
  if (node->kind != op->kind || operands.inputs[0]->type != (uint32_t)op->type) return XNX_INVALID_NODE;
  const size_t size = sizeof *op + op->functions->state_size;
  struct xnx_operator *next = malloc(size);
  if (next == NULL) return XNX_OUT_OF_MEMORY;
  memcpy(next, op, size);
  status = reshape(&operands, next);
  // The library's operators are created for their channels.
  const bool fits = next->in.channels == op->in.channels && next->out.channels == op->out.channels;
  if (status == XNX_OK && fits) memcpy(op, next, size);
  free(next);
  return status == XNX_OK && !fits ? XNX_UNSUPPORTED : status;
}

enum xnx_status xnx_operator_setup(
    xnx_operator *op, const void *const *inputs, void *output, void *scratch, xnx_threads *threads) {
  for (size_t i = 0; i < op->input_count; i++) op->inputs[i] = inputs[i];
  op->output = output;
  op->scratch = scratch;
  op->threads = op->is_small ? NULL : threads->own;
  const enum xnx_status status = op->functions->setup == NULL ? XNX_OK : op->functions->setup(op, threads);
  op->ready = status == XNX_OK;
  return status;
}

enum xnx_status xnx_operator_run(xnx_operator *op) { return op->ready ? op->functions->run(op) : XNX_INVALID_NODE; }

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

size_t xnx_operator_scratch_bytes(const xnx_operator *op) { return op->scratch_bytes; }

size_t xnx_operator_packed_bytes(const xnx_operator *op) { return op->packed_bytes; }

const void *xnx_operator_packed(const xnx_operator *op, size_t *size_out) {
  *size_out = op->packed_size;
  return op->packed;
}

void *xnx_operator_take_packed(xnx_operator *op) {
  void *owned = op->owned;
  op->owned = NULL;
  return owned;
}

int xnx_operator_is_native(const xnx_operator *op) { return op->provider == xnx_native; }

void xnx_operator_delete(xnx_operator *op) {
  if (op == NULL) return;
  if (op->functions->destroy != NULL) op->functions->destroy(op);
  free(op->owned);
  free(op);
}
