// What the files of the executor share: the operator, the operands it is created from, and the checks on them.
#ifndef XNX_OPERATOR_H
#define XNX_OPERATOR_H

#include <pthreadpool.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "DelegateSchema.h"
#include "FloatKernels.h"
#include "Int8Kernels.h"
#include "XNNExecutor.h"

struct xnn_operator;  // XNNPACK's

// Compiled twice, the right one chosen at load: SwiftPM builds for the oldest x86-64.
#if defined(__x86_64__) && defined(__linux__)
#define XNX_DISPATCHED __attribute__((target_clones("avx2", "default")))
#else
#define XNX_DISPATCHED
#endif

// Reasons to refuse what the library would answer with an overflow, an endless allocation or a stack overflow.
enum {
  XNX_MAX_CHANNELS = 1 << 18,       // the library keeps 4 bytes per channel on the stack of the calling thread
  XNX_MAX_EXTENT = 1 << 20,         // of each size of a window
  XNX_MAX_GROUPED = 1 << 30,        // elements of a grouped filter, each group rounded up to the library's tiles
  XNX_MAX_INDIRECTION = 1 << 28,    // taps of the window, over all places of the output: 8 bytes each
  XNX_MAX_AVERAGED = 1 << 22,       // elements whose sum of differences of two int8 stays in int32
  XNX_PARALLEL_ELEMENTS = 1 << 16,  // below: waking the threads costs more than they save
  XNX_PARALLEL_PRODUCTS = 1 << 19,  // likewise, of convolutions
  XNX_PARALLEL_NATIVE = 1 << 20,    // likewise, of those that our kernels run as products of matrices
};
static const uint64_t XNX_MAX_BYTES = UINT64_C(1) << 40;  // of one tensor

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
  const struct xnx_options *options;
  struct thr_pool *threads;  // for packing
};

// (sum of q - zero_point) * scale, rounded half to even, + output zero point, within [min, max].
struct xnx_average {
  struct ds_window window;
  int32_t input_zero_point;
  float scale;
  int32_t output_zero_point;
  float min, max;
};

// The largest quantum in the window, places around the image apart; within [min, max]. No dilation.
struct xnx_maximum {
  struct ds_window window;
  int8_t min, max;
};

struct xnx_float_maximum {
  struct ds_window window;
  struct xnx_bounds bounds;
};

struct xnx_quantize {
  float inverse_scale;
  int32_t zero_point;
};

// CONVERT_TRANSPOSE, and without sizes CONVERT to f32. To int8: x * factor, half to even, + zero point; to f32: (q - zero point) * factor.
struct xnx_convert {
  size_t images, places, channels;
  float factor;
  int32_t zero_point;
};

struct xnx_pad {
  size_t rank, sizes[4], before[4], after[4];
};

// A convolution on kernels of ours.
struct xnx_native {
  union {
    struct i8k_conv conv;
    struct f32k_conv float_conv;  // native_float.c
  };
  const void *packed;
  size_t packed_size;
  void *owned;  // the packed weights, unless they or their memory were given
  void *scratch;
  size_t scratch_size;
};

// DYNAMIC_LINEAR: rows are quantized, multiplied and scaled in blocks.
struct xnx_dynamic {
  struct xnx_native native;  // the product of a block, with int32 sums; first, as in as.native
  size_t rows, block_rows, depth, channels, sums_stride;
  float min, max;
  float *scales, *biases;  // of each channel, in one allocation with filter_sums
  uint32_t *filter_sums;
  void *buffer;  // of a block: sums, scales and zero points of the rows, int8 rows
  size_t buffer_size;
};

// CONCATENATE. In bytes from the output's start to each part, and in elements from row to row.
struct xnx_columns {
  size_t count, offsets[DS_MAX_INPUTS], stride;
};

struct xnx_matrices {
  size_t count, rows, columns, element_size;
};

struct xnx_operator;
typedef enum xnx_status (*xnx_create_fn)(const struct xnx_operands *operands, struct xnx_operator *op);
typedef enum xnx_status (*xnx_setup_fn)(struct xnx_operator *op, pthreadpool_t pool);
typedef void (*xnx_kernel_fn)(const struct xnx_operator *op, struct thr_pool *threads);

struct xnx_operator {
  enum ds_type type;                          // of the activations
  uint32_t kind;                              // enum ds_kind
  xnx_setup_fn setup;                         // NULL when there is nothing but the addresses to fix
  xnx_kernel_fn kernel;                       // of ours; NULL when the library's operators do the work
  struct xnn_operator *parts[DS_MAX_INPUTS];  // the library's operators, run in order
  size_t part_count;
  size_t input_count;  // addresses that setup takes
  const void *inputs[DS_MAX_INPUTS];
  void *output;
  bool ready;
  bool is_native;
  bool is_small;            // runs faster without other threads
  bool is_alone;            // the library's threads are not used: its parts run on ours
  pthreadpool_t pool;       // of the library's operators, since setup; NULL: the caller's thread alone
  struct thr_pool *own;  // of our kernels, likewise
  size_t packed_bytes;
  struct i8k_add add;                          // int8 sums on our kernels
  xnx_kernel_fn prologue, epilogue;            // run before and after the library's operators, or NULL
  size_t output_stride, output_start;          // CONVOLUTION_2D_CAT: elements between places, and before the first; or 0
  void *sums;                                  // CONVOLUTION_2D_ADD of the library: its output before the sum
  struct ds_image input_image, output_image;  // convolutions and pooling
  size_t elements;                             // elementwise kinds; rows for CONCATENATE
  union {
    struct xnx_average average;
    struct xnx_maximum maximum;
    struct xnx_float_maximum float_maximum;
    struct xnx_quantize quantize;
    struct xnx_convert convert;
    struct xnx_pad pad;
    struct xnx_matrices matrices;
    struct xnx_native native;
    struct xnx_dynamic dynamic;
    struct xnx_columns columns;
    uint8_t table[256];  // LOOKUP_TABLE: indexed by the activation's bits
  } as;
};

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
enum xnx_status xnx_bounds_of(const struct ds_node *node, enum ds_type type, struct xnx_bounds *bounds);
// Checks the window and that it takes the input's image to the output's.
enum xnx_status xnx_images_of(const struct xnx_operands *operands, struct xnx_operator *op);

// Check the node's sizes and set the operator's; of one that exists, it does not change what was created with it, and
// where that cannot be the result is XNX_UNSUPPORTED. Create functions begin with them.
enum xnx_status xnx_reshape_convolution(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_fully_connected(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_binary(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_unary(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_pooling(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_global_average_pooling(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_constant_pad(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_concatenate(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_transpose(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_convert_transpose(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_convolution_cat(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_convolution_add(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_reshape_dynamic_linear(const struct xnx_operands *operands, struct xnx_operator *op);

// One create function for each kind.
enum xnx_status xnx_create_convolution(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_fully_connected(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_add(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_subtract(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_multiply(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_max_pooling(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_average_pooling(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_global_average_pooling(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_clamp(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_constant_pad(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_concatenate(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_lookup_table(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_convert(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_transpose(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_convert_transpose(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_convolution_cat(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_convolution_add(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnx_create_dynamic_linear(const struct xnx_operands *operands, struct xnx_operator *op);

// convolution.c, for averages too
bool xnx_grouped_filter_fits(const struct ds_window *window, const struct xnx_operator *op);

// native.c
// Makes the operator run a qc8 convolution on kernels of ours; XNX_UNSUPPORTED where XNNPACK is to do it. The images
// are set; `scales` has the requantization scale of each output channel.
enum xnx_status xnx_create_native(
    const struct xnx_operands *operands, const struct ds_window *window, struct xnx_quantization in,
    struct xnx_quantization out, struct xnx_bounds bounds, const float *scales, struct xnx_operator *op);
enum xnx_status xnx_reshape_native(struct xnx_operator *op);
// At least `size` bytes of scratch memory for as.native.
enum xnx_status xnx_reserve_scratch(struct xnx_native *native, size_t size);
// Sets where the packed weights of as.native, `size` bytes, are: those of another process where they fit, and then
// `*memory_out` is NULL; else memory of the options' or the operator's own, which is to be filled.
enum xnx_status xnx_place_packed(
    const struct xnx_operands *operands, struct xnx_operator *op, size_t size, void **memory_out);
// Packs the filter of as.native, or takes packed weights that were given.
enum xnx_status xnx_pack_native(
    const struct xnx_operands *operands, const int32_t *bias, const float *scales, struct xnx_operator *op);
void xnx_delete_native(struct xnx_operator *op);

enum xnx_status xnx_setup_native(struct xnx_operator *op, pthreadpool_t pool);

// sum.c
// An int8 ADD on a kernel of ours; XNX_UNSUPPORTED where the library is to run it.
enum xnx_status xnx_create_native_add(
    const struct xnx_operands *operands, struct xnx_bounds bounds, struct xnx_operator *op);

// kernels_float.c
void xnx_kernel_max_pooling_float(const struct xnx_operator *op, struct thr_pool *threads);
void xnx_kernel_average_pooling_float(const struct xnx_operator *op, struct thr_pool *threads);

// native_float.c
// Whether f32 operators are to run on kernels of ours, where there are such.
bool xnx_is_native_float(const struct xnx_options *options);
// The same for an f32 convolution.
enum xnx_status xnx_create_native_float(
    const struct xnx_operands *operands, const struct ds_window *window, struct xnx_bounds bounds,
    struct xnx_operator *op);
enum xnx_status xnx_reshape_native_float(struct xnx_operator *op);

// dynamic.c
void xnx_delete_dynamic(struct xnx_operator *op);

// kernels.c
void xnx_quantize_elements(const float *input, int8_t *output, size_t count, struct xnx_quantize quantize);
void xnx_dequantize_elements(const int8_t *input, float *output, size_t count, float scale, int32_t zero_point);
void xnx_kernel_lookup_table(const struct xnx_operator *op, struct thr_pool *threads);
void xnx_kernel_quantize(const struct xnx_operator *op, struct thr_pool *threads);
void xnx_kernel_dequantize(const struct xnx_operator *op, struct thr_pool *threads);
void xnx_kernel_add(const struct xnx_operator *op, struct thr_pool *threads);  // int8; an operand may be in `sums`
void xnx_kernel_average_pooling(const struct xnx_operator *op, struct thr_pool *threads);
void xnx_kernel_max_pooling(const struct xnx_operator *op, struct thr_pool *threads);
void xnx_kernel_concatenate(const struct xnx_operator *op, struct thr_pool *threads);  // int8
void xnx_kernel_transpose(const struct xnx_operator *op, struct thr_pool *threads);

#endif  // XNX_OPERATOR_H
