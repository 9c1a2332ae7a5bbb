// What this folder shares: the only code that knows xnnpack.h. It is written for the interface of February 2022 (Debian
// 12); from 2023 on the per-channel convolution has another name, and setting up is split into reshaping and addresses.
#ifndef XNP_LIBRARY_H
#define XNP_LIBRARY_H

#include <string.h>
#include <xnnpack.h>

#include "operator.h"

#if defined(XNN_FLAG_DONT_SPIN_WORKERS)
#error "written for the XNNPACK of Debian 12 (February 2022)"
#endif

// The library's operators of a node, run in order. With it begins the state of every kind.
struct xnp_parts {
  xnn_operator_t parts[DS_MAX_INPUTS];
  size_t count;           // that are run
  bool use_own_threads;   // parts run on our threads, each on one
  pthreadpool_t threads;  // of the library, since setup; NULL: the caller's thread alone
};

// How the library runs the nodes of a kind.
struct xnp_kind {
  struct xnx_functions functions;  // first; create and setup call the two below
  bool is_product;                 // may be worth the library's threads
  // Creates the parts.
  enum xnx_status (*create)(const struct xnx_operands *operands, struct xnx_operator *op);
  // Sets their addresses.
  enum xnn_status (*setup)(const struct xnx_operator *op, struct xnp_parts *parts);
};

// One that is not a product.
#define XNP_KIND(state, reshape, create, setup)                                                                       \
  {{sizeof(struct state), XNX_PARALLEL_ELEMENTS, reshape, xnp_create, xnp_setup, xnp_run, xnp_destroy}, false, create, \
   setup}

enum xnx_status xnp_status(enum xnn_status status);

enum xnx_status xnp_create(const struct xnx_operands *operands, struct xnx_operator *op);
enum xnx_status xnp_setup(struct xnx_operator *op, struct xnx_threads *threads);
enum xnx_status xnp_run(const struct xnx_operator *op);
void xnp_destroy(struct xnx_operator *op);

#define XNP_PADDING(w) (w)->pad_top, (w)->pad_right, (w)->pad_bottom, (w)->pad_left
#define XNP_KERNEL(w) (w)->kernel_height, (w)->kernel_width, (w)->stride_height, (w)->stride_width
#define XNP_DILATION(w) (w)->dilation_height, (w)->dilation_width
#define XNP_QUANTA(b) (int8_t)(b).min, (int8_t)(b).max
#define XNP_QUANTIZATION(q) (q).zero_point, (q).scale

extern const struct xnp_kind xnp_convolution, xnp_convolution_add, xnp_convolution_cat;
extern const struct xnp_kind xnp_max_pooling, xnp_average_pooling, xnp_global_average_pooling;
extern const struct xnp_kind xnp_binary, xnp_clamp, xnp_constant_pad, xnp_concatenate;

#endif  // XNP_LIBRARY_H
