// The only file that knows xnnpack.h. One function creates and one sets up each operator, so that another version of
// the library changes this file alone. This is the interface of February 2022 (Debian 12); from 2023 on the per-channel
// convolution has another name, and setting up is split into reshaping and setting the addresses.
#ifndef XNX_XNN_COMPAT_H
#define XNX_XNN_COMPAT_H

#include <string.h>
#include <xnnpack.h>

#include "operator.h"

#if defined(XNN_FLAG_DONT_SPIN_WORKERS) || defined(XNN_INVALID_NODE_ID)
#error "xnn_compat.h is written for the XNNPACK of Debian 12 (February 2022)"
#endif

#define XNC_LIBRARY_VERSION "2022-02"

static inline enum xnx_status xnc_status(enum xnn_status status) {
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

#define XNC_PADDING(w) \
  (uint32_t)(w)->pad_top, (uint32_t)(w)->pad_right, (uint32_t)(w)->pad_bottom, (uint32_t)(w)->pad_left
#define XNC_KERNEL(w) (uint32_t)(w)->kernel_height, (uint32_t)(w)->kernel_width
#define XNC_STRIDE(w) (uint32_t)(w)->stride_height, (uint32_t)(w)->stride_width
#define XNC_DILATION(w) (uint32_t)(w)->dilation_height, (uint32_t)(w)->dilation_width
#define XNC_GROUPS(w, in, out)                                                                             \
  (uint32_t)(w)->groups, (in)->channels / (size_t)(w)->groups, (out)->channels / (size_t)(w)->groups,      \
      (in)->channels, (out)->channels
#define XNC_QUANTA(b) (int8_t)(b).min, (int8_t)(b).max

// Filters are (O, H, W, I), also for depthwise convolutions: the library takes its depthwise kernels (3x3 and 5x5; for
// f32 also areas 3 and 4) whenever a group has one input and one output channel.
static inline enum xnn_status xnc_create_convolution_f32(
    const struct ds_window *w, const struct xnx_image *in, const struct xnx_image *out, const float *filter,
    const float *bias, struct xnx_bounds bounds, struct xnn_operator **op) {
  return xnn_create_convolution2d_nhwc_f32(
      XNC_PADDING(w), XNC_KERNEL(w), XNC_STRIDE(w), XNC_DILATION(w), XNC_GROUPS(w, in, out), filter, bias, bounds.min,
      bounds.max, 0, op);
}

// filter_scales has a scale for each output channel.
static inline enum xnn_status xnc_create_convolution_qc8(
    const struct ds_window *w, const struct xnx_image *in, const struct xnx_image *out, struct xnx_quantization in_q,
    const float *filter_scales, const int8_t *filter, const int32_t *bias, struct xnx_quantization out_q,
    struct xnx_bounds bounds, struct xnn_operator **op) {
  return xnn_create_convolution2d_nhwc_qc8(
      XNC_PADDING(w), XNC_KERNEL(w), XNC_STRIDE(w), XNC_DILATION(w), XNC_GROUPS(w, in, out), in_q.zero_point,
      in_q.scale, filter_scales, filter, bias, out_q.zero_point, out_q.scale, XNC_QUANTA(bounds), 0, op);
}

static inline enum xnn_status xnc_setup_convolution(struct xnx_operator *op, pthreadpool_t pool) {
  const struct xnx_image *in = &op->input_image;
  return op->type == DS_FLOAT32
             ? xnn_setup_convolution2d_nhwc_f32(
                   op->parts[0], in->batch, in->height, in->width, op->inputs[0], op->output, pool)
             : xnn_setup_convolution2d_nhwc_qc8(
                   op->parts[0], in->batch, in->height, in->width, op->inputs[0], op->output, pool);
}

// Before AVX2 the library's depthwise kernels add two products in 16 bits, which overflows for (-128)*(-128) twice.
static inline bool xnc_depthwise_is_exact(const int8_t *filter, size_t elements) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") || memchr(filter, 0x80, elements) == NULL;
#else
  (void)filter, (void)elements;
  return true;
#endif
}

static inline enum xnn_status xnc_create_add_f32(struct xnx_bounds bounds, struct xnn_operator **op) {
  return xnn_create_add_nd_f32(bounds.min, bounds.max, 0, op);
}

static inline enum xnn_status xnc_create_add_qs8(
    struct xnx_quantization a, struct xnx_quantization b, struct xnx_quantization out, struct xnx_bounds bounds,
    struct xnn_operator **op) {
  return xnn_create_add_nd_qs8(
      a.zero_point, a.scale, b.zero_point, b.scale, out.zero_point, out.scale, XNC_QUANTA(bounds), 0, op);
}

static inline enum xnn_status xnc_setup_add(struct xnx_operator *op, pthreadpool_t pool) {
  const size_t n = op->elements;
  return op->type == DS_FLOAT32
             ? xnn_setup_add_nd_f32(op->parts[0], 1, &n, 1, &n, op->inputs[0], op->inputs[1], op->output, pool)
             : xnn_setup_add_nd_qs8(op->parts[0], 1, &n, 1, &n, op->inputs[0], op->inputs[1], op->output, pool);
}

static inline enum xnn_status xnc_create_multiply_f32(struct xnx_bounds bounds, struct xnn_operator **op) {
  return xnn_create_multiply_nd_f32(bounds.min, bounds.max, 0, op);
}

static inline enum xnn_status xnc_create_multiply_qs8(
    struct xnx_quantization a, struct xnx_quantization b, struct xnx_quantization out, struct xnx_bounds bounds,
    struct xnn_operator **op) {
  return xnn_create_multiply_nd_qs8(
      a.zero_point, a.scale, b.zero_point, b.scale, out.zero_point, out.scale, XNC_QUANTA(bounds), 0, op);
}

static inline enum xnn_status xnc_setup_multiply(struct xnx_operator *op, pthreadpool_t pool) {
  const size_t n = op->elements;
  return op->type == DS_FLOAT32
             ? xnn_setup_multiply_nd_f32(op->parts[0], 1, &n, 1, &n, op->inputs[0], op->inputs[1], op->output, pool)
             : xnn_setup_multiply_nd_qs8(op->parts[0], 1, &n, 1, &n, op->inputs[0], op->inputs[1], op->output, pool);
}

static inline enum xnn_status xnc_create_max_pooling(
    enum ds_type type, const struct ds_window *w, size_t channels, struct xnx_bounds bounds,
    struct xnn_operator **op) {
  return type == DS_FLOAT32
             ? xnn_create_max_pooling2d_nhwc_f32(
                   XNC_PADDING(w), XNC_KERNEL(w), XNC_STRIDE(w), XNC_DILATION(w), channels, channels, channels,
                   bounds.min, bounds.max, 0, op)
             : xnn_create_max_pooling2d_nhwc_s8(
                   XNC_PADDING(w), XNC_KERNEL(w), XNC_STRIDE(w), XNC_DILATION(w), channels, channels, channels,
                   XNC_QUANTA(bounds), 0, op);
}

static inline enum xnn_status xnc_setup_max_pooling(struct xnx_operator *op, pthreadpool_t pool) {
  const struct xnx_image *in = &op->input_image;
  return op->type == DS_FLOAT32
             ? xnn_setup_max_pooling2d_nhwc_f32(
                   op->parts[0], in->batch, in->height, in->width, op->inputs[0], op->output, pool)
             : xnn_setup_max_pooling2d_nhwc_s8(
                   op->parts[0], in->batch, in->height, in->width, op->inputs[0], op->output, pool);
}

// For windows without padding: with padding the library divides by the number of places inside the image.
static inline enum xnn_status xnc_create_average_pooling_f32(
    const struct ds_window *w, size_t channels, struct xnx_bounds bounds, struct xnn_operator **op) {
  return xnn_create_average_pooling2d_nhwc_f32(
      XNC_PADDING(w), XNC_KERNEL(w), XNC_STRIDE(w), channels, channels, channels, bounds.min, bounds.max, 0, op);
}

static inline enum xnn_status xnc_setup_average_pooling_f32(struct xnx_operator *op, pthreadpool_t pool) {
  const struct xnx_image *in = &op->input_image;
  return xnn_setup_average_pooling2d_nhwc_f32(
      op->parts[0], in->batch, in->height, in->width, op->inputs[0], op->output, pool);
}

static inline enum xnn_status xnc_create_global_average_pooling_f32(
    size_t channels, struct xnx_bounds bounds, struct xnn_operator **op) {
  return xnn_create_global_average_pooling_nwc_f32(channels, channels, channels, bounds.min, bounds.max, 0, op);
}

static inline enum xnn_status xnc_create_global_average_pooling_qs8(
    size_t channels, struct xnx_quantization in, struct xnx_quantization out, struct xnx_bounds bounds,
    struct xnn_operator **op) {
  return xnn_create_global_average_pooling_nwc_qs8(
      channels, channels, channels, in.zero_point, in.scale, out.zero_point, out.scale, XNC_QUANTA(bounds), 0, op);
}

static inline enum xnn_status xnc_setup_global_average_pooling(struct xnx_operator *op, pthreadpool_t pool) {
  const struct xnx_image *in = &op->input_image;
  const size_t pixels = in->height * in->width;
  return op->type == DS_FLOAT32
             ? xnn_setup_global_average_pooling_nwc_f32(
                   op->parts[0], in->batch, pixels, op->inputs[0], op->output, pool)
             : xnn_setup_global_average_pooling_nwc_qs8(
                   op->parts[0], in->batch, pixels, op->inputs[0], op->output, pool);
}

static inline enum xnn_status xnc_create_clamp(
    enum ds_type type, struct xnx_bounds bounds, struct xnn_operator **op) {
  return type == DS_FLOAT32 ? xnn_create_clamp_nc_f32(1, 1, 1, bounds.min, bounds.max, 0, op)
                            : xnn_create_clamp_nc_s8(1, 1, 1, XNC_QUANTA(bounds), 0, op);
}

static inline enum xnn_status xnc_setup_clamp(struct xnx_operator *op, pthreadpool_t pool) {
  return op->type == DS_FLOAT32
             ? xnn_setup_clamp_nc_f32(op->parts[0], op->elements, op->inputs[0], op->output, pool)
             : xnn_setup_clamp_nc_s8(op->parts[0], op->elements, op->inputs[0], op->output, pool);
}

static inline enum xnn_status xnc_create_dequantize(struct xnx_quantization in, struct xnn_operator **op) {
  return xnn_create_convert_nc_qs8_f32(1, 1, 1, in.scale, in.zero_point, 0, op);
}

static inline enum xnn_status xnc_setup_dequantize(struct xnx_operator *op, pthreadpool_t pool) {
  return xnn_setup_convert_nc_qs8_f32(op->parts[0], op->elements, op->inputs[0], op->output, pool);
}

// `value` points to one element.
static inline enum xnn_status xnc_create_constant_pad(
    enum ds_type type, const void *value, struct xnn_operator **op) {
  return type == DS_INT8 ? xnn_create_constant_pad_nd_x8(value, 0, op) : xnn_create_constant_pad_nd_x32(value, 0, op);
}

static inline enum xnn_status xnc_setup_constant_pad(struct xnx_operator *op, pthreadpool_t pool) {
  const struct xnx_pad *p = &op->as.pad;
  return op->type == DS_INT8
             ? xnn_setup_constant_pad_nd_x8(
                   op->parts[0], p->rank, p->sizes, p->before, p->after, op->inputs[0], op->output, pool)
             : xnn_setup_constant_pad_nd_x32(
                   op->parts[0], p->rank, p->sizes, p->before, p->after, op->inputs[0], op->output, pool);
}

// Copies rows of `channels` elements into rows of `stride` elements.
static inline enum xnn_status xnc_create_copy(
    enum ds_type type, size_t channels, size_t stride, struct xnn_operator **op) {
  return type == DS_INT8 ? xnn_create_copy_nc_x8(channels, channels, stride, 0, op)
                         : xnn_create_copy_nc_x32(channels, channels, stride, 0, op);
}

static inline enum xnn_status xnc_setup_copy(
    enum ds_type type, struct xnn_operator *op, size_t rows, const void *input, void *output, pthreadpool_t pool) {
  return type == DS_INT8 ? xnn_setup_copy_nc_x8(op, rows, input, output, pool)
                         : xnn_setup_copy_nc_x32(op, rows, input, output, pool);
}

#endif  // XNX_XNN_COMPAT_H
