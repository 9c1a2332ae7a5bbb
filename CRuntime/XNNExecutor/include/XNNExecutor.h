// Runs the nodes of delegated subgraphs on two providers: the system's XNNPACK, whose folder is the only part of the
// project that knows xnnpack.h, and kernels of ours.
#ifndef XNN_EXECUTOR_H
#define XNN_EXECUTOR_H

#include <stddef.h>
#include <stdint.h>

#include "DelegateSchema.h"

// Why a call failed. Closed, so that a Swift switch over it is exhaustive.
enum __attribute__((enum_extensibility(closed))) xnx_status {
  XNX_OK = 0,
  XNX_OUT_OF_MEMORY,
  XNX_UNSUPPORTED,        // the library has no operator for this node, or refuses its parameters
  XNX_INVALID_NODE,       // the node contradicts its values
  XNX_LIBRARY_UNAVAILABLE // XNNPACK does not support this processor
};

// Threads that delegates share. Must outlive every operator created with it.
typedef struct xnx_threads xnx_threads;

// One node made ready: operator created, weights packed. Not re-entrant.
typedef struct xnx_operator xnx_operator;

// thread_count 1 runs on the caller's thread alone.
enum xnx_status xnx_threads_create(size_t thread_count, xnx_threads **threads_out);
void xnx_threads_delete(xnx_threads *threads);

// Whose kernels run a node that more than one provider has some for (native/native.c).
enum __attribute__((enum_extensibility(closed))) xnx_kernels {
  XNX_KERNELS_AUTO = 0,  // the faster, by what was measured on processors of this kind
  XNX_KERNELS_XNNPACK,
  XNX_KERNELS_NATIVE,  // ours, where there is one
};

struct xnx_options {
  enum xnx_kernels kernels;
  // Weights that an equal node of an equal program has packed for this processor (xnx_operator_packed), or NULL. They
  // are used in place, and must outlive the operator; of another size they are not.
  const void *packed;
  size_t packed_size;
  // Where to put the weights that are packed here, aligned to 64, and how much room there is; NULL: memory of their own.
  // They are put nowhere else where they fit, and must then not be freed before the operator.
  void *memory;
  size_t memory_size;
  // Pack the weights, when none of their operators runs; may be NULL.
  xnx_threads *threads;
};

// Creates the operator of `node`. `values` is the program's whole value table; the node's indices are checked against
// value_count. Filter and bias data may be freed after this call.
enum xnx_status xnx_operator_create(
    const struct ds_node *node, const struct ds_value *values, size_t value_count, const struct xnx_options *options,
    xnx_operator **operator_out);

// Fixes the addresses and the threads: inputs[i] for the i-th activation input. Constants are skipped: there is one
// pointer for most kinds, two for ADD, SUBTRACT and MULTIPLY, two for CONVOLUTION_2D_ADD and _CAT (the other operand or
// channels, if any, then the convolution's input), input_count for CONCATENATE. Inputs are readable 16 bytes past their
// end. Needed once per set of addresses. An operator with too little work for several threads will run on the caller's.
// The output may be the address of an input of ADD, SUBTRACT, MULTIPLY, CLAMP and LOOKUP_TABLE, and of the first of
// CONVOLUTION_2D_ADD and _CAT, but not of a convolution's input. `scratch` may be shared by operators that run one
// after another.
enum xnx_status xnx_operator_setup(
    xnx_operator *op, const void *const *inputs, void *output, void *scratch, xnx_threads *threads);

// Bytes of scratch memory that an operator takes; after its creation or resizing.
size_t xnx_operator_scratch_bytes(const xnx_operator *op);

// Gives the operator the sizes that `values` has now; all else of node and values is as at its creation. Weights stay
// packed, and the node is to be set up again. XNX_UNSUPPORTED where an operator must be created for these sizes; after
// any failure the operator is as it was.
enum xnx_status xnx_operator_resize(
    xnx_operator *op, const struct ds_node *node, const struct ds_value *values, size_t value_count);

// Runs an operator after its setup. Allocates nothing.
enum xnx_status xnx_operator_run(xnx_operator *op);

// Runs operators one after the other, up to the first that is NULL or fails. Returns how many ran.
size_t xnx_operators_run(xnx_operator *const *operators, size_t count, enum xnx_status *status_out);

// Bytes of packed weights that the operator holds.
size_t xnx_operator_packed_bytes(const xnx_operator *op);

// The packed weights of an operator on kernels of ours: position independent, a multiple of 64 bytes, for this
// instruction set (xnx_kernel_isa). NULL for all others.
const void *xnx_operator_packed(const xnx_operator *op, size_t *size_out);

// Makes the caller the owner of an operator's packed weights, which it frees, with free, when no operator uses them any
// more. NULL where the operator does not own them.
void *xnx_operator_take_packed(xnx_operator *op);

// What the packed weights of this process are made for: the instruction set, for example "avx512vnni", and the number
// of their layout.
const char *xnx_kernel_isa(void);
int xnx_packed_layout(void);
// The same for f32.
const char *xnx_float_kernel_isa(void);
int xnx_float_packed_layout(void);

// Whether kernels of ours run the operator.
int xnx_operator_is_native(const xnx_operator *op);

void xnx_operator_delete(xnx_operator *op);

// The library's version as far as it can be told ("2022-02" for Debian 12's), for reports.
const char *xnx_library_version(void);

#endif  // XNN_EXECUTOR_H
