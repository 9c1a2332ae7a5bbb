// What the executor and its providers share: nodes as checked operands, operators, and what a provider fills in.
#ifndef XNX_OPERATOR_H
#define XNX_OPERATOR_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "DelegateSchema.h"
#include "Int8Kernels.h"
#include "Threads.h"
#include "XNNExecutor.h"

// Reasons to refuse what the library would answer with an overflow, an endless allocation or a stack overflow.
enum {
  XNX_MAX_CHANNELS = 1 << 18,       // the library keeps 4 bytes per channel on the stack of the calling thread
  XNX_MAX_EXTENT = 1 << 20,         // of each size of a window
  XNX_MAX_GROUPED = 1 << 30,        // elements of a grouped filter, each group rounded up to the library's tiles
  XNX_MAX_INDIRECTION = 1 << 28,    // taps of the window, over all places of the output: 8 bytes each
  XNX_MAX_AVERAGED = 1 << 22,       // elements whose sum of differences of two int8 stays in int32
  XNX_PARALLEL_ELEMENTS = 1 << 16,  // below: waking the threads costs more than they save
  XNX_PARALLEL_PRODUCTS = 1 << 19,  // likewise, of convolutions
};
static const uint64_t XNX_MAX_BYTES = UINT64_C(1) << 40;  // of one tensor

struct xnx_quantization {
  float scale;  // positive, finite, not subnormal
  int8_t zero_point;
};

// min < max; for int8 both are integers in [-128, 127].
struct xnx_bounds {
  float min, max;
};

// A node whose indices have become pointers to checked values (see xnx_resolve).
struct xnx_operands {
  const struct ds_node *node;
  const struct ds_value *inputs[DS_MAX_INPUTS];  // NULL for DS_NO_VALUE
  const struct ds_value *output;
  const struct xnx_options *options;  // of a new operator, else NULL
};

// Threads of two kinds, since the library's operators take no others than pthreadpool's. Those spin for milliseconds
// after each operator, and wait for each other even where one has nothing to do: they are for the operators that cannot
// do without, and there are none before such an operator.
struct xnx_threads {
  size_t count;
  struct thr_pool *own;                   // NULL: the caller's thread alone
  pthread_mutex_t mutex;                  // of `library` while it is NULL
  _Atomic(struct pthreadpool *) library;
};

// How a provider runs the nodes of a kind.
struct xnx_functions {
  size_t state_size;     // bytes that these functions keep in an operator, zero at first
  double parallel_from;  // work (xnx_work) of which other threads take a part
  // Checks the node's sizes and sets the operator's. Of one that exists, it keeps what was created with it; where that
  // cannot be, the result is XNX_UNSUPPORTED. It allocates and frees nothing: the executor gives it a copy of the state,
  // and forgets that after a failure.
  enum xnx_status (*reshape)(const struct xnx_operands *operands, struct xnx_operator *op);
  // After the first of them, or NULL. XNX_UNSUPPORTED leaves the node to the next provider.
  enum xnx_status (*create)(const struct xnx_operands *operands, struct xnx_operator *op);
  // When the addresses are fixed, or NULL.
  enum xnx_status (*setup)(struct xnx_operator *op, struct xnx_threads *threads);
  enum xnx_status (*run)(const struct xnx_operator *op);
  // Frees what the state has, after a creation that failed too; or NULL.
  void (*destroy)(struct xnx_operator *op);
};

// A provider: what runs a node of this kind and type on its kernels, as the options want it; NULL where nothing does.
typedef const struct xnx_functions *xnx_provider(const struct xnx_operands *operands);

xnx_provider xnx_native;   // native/native.c
xnx_provider xnx_xnnpack;  // xnnpack/library.c

struct xnx_operator {
  xnx_provider *provider;
  const struct xnx_functions *functions;
  uint32_t kind;                // enum ds_kind
  enum ds_type type;            // of the activations
  struct ds_image in, out;      // convolutions and pooling
  size_t elements;              // of the output
  size_t input_count;           // addresses that setup takes: of a convolution, the last is its input
  const void *inputs[DS_MAX_INPUTS];
  void *output, *scratch;
  size_t scratch_bytes;
  struct thr_pool *threads;     // since setup; NULL: the caller's thread alone
  bool is_small;                // runs faster without other threads
  bool ready;                   // set up
  const void *packed;           // weights on kernels of ours, `packed_size` bytes
  size_t packed_size;
  void *owned;                  // the packed weights, unless they or their memory were given
  size_t packed_bytes;          // of packed weights that were not given
  _Alignas(max_align_t) char state[];  // of the functions
};

// What functions keep in an operator, a struct of this name.
#define XNX_STATE(op, name) ((struct name *)(uintptr_t)(op)->state)

// checks.c
enum xnx_status xnx_resolve(
    const struct ds_node *node, const struct ds_value *values, size_t value_count, struct xnx_operands *operands);
size_t xnx_element_size(const struct ds_value *value);
size_t xnx_element_count(const struct ds_value *value);
// Whether `value` (or NULL) is a constant of `type` with that many elements.
bool xnx_is_constant(const struct ds_value *value, enum ds_type type, size_t elements);
bool xnx_same_sizes(const struct ds_value *a, const struct ds_value *b);
bool xnx_same_quantization(const struct ds_value *a, const struct ds_value *b);
enum xnx_status xnx_quantization_of(const struct ds_value *value, struct xnx_quantization *quantization);
enum xnx_status xnx_bounds_of(float min, float max, enum ds_type type, struct xnx_bounds *bounds);
// Checks the window and that it takes the input's image to the output's.
enum xnx_status xnx_images_of(
    const struct ds_window *window, const struct ds_value *input, const struct ds_value *output, struct ds_image *in,
    struct ds_image *out);

// shapes.c: what both providers need of a node.

// Elementwise: one operand, or two, and an output of the same sizes.
enum xnx_status xnx_reshape_unary(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_binary(const struct xnx_operands *operands, struct xnx_operator *op);
// Both operands' and the output's, of int8.
enum xnx_status xnx_binary_quantizations(const struct xnx_operands *operands, struct xnx_quantization q[3]);

// CONCATENATE. In bytes from the output's start to each part, and from row to row.
struct xnx_columns {
  size_t count, rows, offsets[DS_MAX_INPUTS], stride;
};
enum xnx_status xnx_columns_of(const struct xnx_operands *operands, struct xnx_columns *columns);

// Averages count padded places as zeros; of a global one the window is the image.
struct xnx_pooling {
  struct ds_window window;
  struct xnx_bounds bounds;
  struct xnx_quantization in, out;  // int8
  float scale;                      // of an average's sum
};
// Sets the operator's images too.
enum xnx_status xnx_pooling_of(
    const struct xnx_operands *operands, struct xnx_operator *op, struct xnx_pooling *pooling);
bool xnx_is_padded(const struct ds_window *window);
size_t xnx_area(const struct ds_window *window);

// Places of the image along one dimension.
struct xnx_span {
  size_t begin, end;
};

// The part of a window that lies inside the image.
static inline struct xnx_span xnx_clipped(
    size_t output, uint32_t stride, uint32_t before, uint32_t kernel, size_t size) {
  const ptrdiff_t first = (ptrdiff_t)(output * stride) - before, last = first + kernel;
  return (struct xnx_span){first < 0 ? 0 : (size_t)first, last > (ptrdiff_t)size ? size : (size_t)last};
}

// convolution.c

// The convolution in a node of CONVOLUTION_2D, FULLY_CONNECTED, CONVOLUTION_2D_ADD or _CAT, checked.
struct xnx_convolution {
  const struct ds_value *input, *filter, *bias;  // bias: or NULL
  struct ds_window window;
  bool depthwise;
  struct ds_image in, out;
  struct xnx_quantization in_quantization, out_quantization;  // int8
  struct xnx_bounds bounds;
  size_t start, stride;  // _CAT, in elements of the output: before the first place, and between places; else 0
};
enum xnx_status xnx_convolution_of(const struct xnx_operands *operands, struct xnx_convolution *convolution);
// Of an int8 convolution, for each output channel, the filter's scale, and behind all of these the one that takes a sum
// of products to the output's quanta: normal, below 256. The caller frees them.
enum xnx_status xnx_scales_of(const struct xnx_convolution *convolution, float **scales_out);
// The rest of what _ADD and _CAT do: the sum of what the convolution gives and the other operand, and the copy of the
// other channels where they lie elsewhere.
enum xnx_status xnx_convolution_add_of(const struct xnx_operands *operands, struct i8k_add *add);
void xnx_copy_others(const struct xnx_operator *op);
bool xnx_grouped_filter_fits(const struct ds_window *window, size_t in_channels, size_t out_channels);

// native/elementwise.c: sums of int8, for the library's convolutions too.
enum xnx_status xnx_add_of(const struct xnx_quantization q[3], const struct ds_node *node, struct i8k_add *add);
void xnx_add_elements(
    const struct i8k_add *add, const int8_t *a, const int8_t *b, int8_t *output, size_t count,
    struct thr_pool *threads);

// native/native.c: whether f32 convolutions are ours, where they can be.
bool xnx_has_float_convolutions(const struct xnx_options *options);

// xnnpack/library.c
void xnx_library_threads_delete(struct xnx_threads *threads);

#endif  // XNX_OPERATOR_H
