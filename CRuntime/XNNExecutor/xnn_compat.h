// The only file that knows xnnpack.h's operators. A function creates and one sets up each, so that another version of
// the library changes this file alone. This is the interface of February 2022 (Debian 12); from 2023 on the per-channel
// convolution has another name, and setting up is split into reshaping and setting the addresses.
#ifndef XNX_XNN_COMPAT_H
#define XNX_XNN_COMPAT_H

#include <string.h>
#include <xnnpack.h>

#include "operator.h"

#if defined(XNN_FLAG_DONT_SPIN_WORKERS)
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
  (w)->pad_top, (w)->pad_right, (w)->pad_bottom, (w)->pad_left
#define XNC_KERNEL(w) \
  (w)->kernel_height, (w)->kernel_width, (w)->stride_height, (w)->stride_width
#define XNC_DILATION(w) (w)->dilation_height, (w)->dilation_width
#define XNC_CHANNELS(w, in, out) \
  (w)->groups, in / (w)->groups, out / (w)->groups, in, out
#define XNC_QUANTA(b) (int8_t)(b).min, (int8_t)(b).max
#define XNC_QUANTIZATION(q) (q).zero_point, (q).scale

// Setup functions for f32 and for int8, alike but for the type. XNC_SETUP_IMAGE: one (N, H, W, C) input.
#define XNC_SETUP_IMAGE(name, f32, int8)                                                                            \
  static inline enum xnx_status xnc_setup_##name(struct xnx_operator *op, pthreadpool_t pool) {                     \
    const struct ds_image *in = &op->input_image;                                                                  \
    return xnc_status(                                                                                              \
        op->type == DS_FLOAT32                                                                                      \
            ? xnn_setup_##f32(op->parts[0], in->batch, in->height, in->width, op->inputs[0], op->output, pool)      \
            : xnn_setup_##int8(op->parts[0], in->batch, in->height, in->width, op->inputs[0], op->output, pool));   \
  }

// Create and setup functions of an elementwise operator on two tensors of the same sizes. Large ones are divided in
// parts, of which any thread of ours runs one.
enum { XNC_PARTS = 4, XNC_DIVIDED_ELEMENTS = 1 << 14 };
#define XNC_BINARY(name)                                                                                            \
  static inline enum xnx_status xnc_create_##name##_f32(struct xnx_operator *op, struct xnx_bounds bounds) {        \
    enum xnx_status status = XNX_OK;                                                                                \
    for (size_t i = 0; i < XNC_PARTS && status == XNX_OK; i++) {                                                    \
      status = xnc_status(xnn_create_##name##_nd_f32(bounds.min, bounds.max, 0, &op->parts[i]));                    \
    }                                                                                                               \
    return status;                                                                                                  \
  }                                                                                                                 \
  static inline enum xnx_status xnc_create_##name##_qs8(                                                            \
      struct xnx_operator *op, const struct xnx_quantization q[3], struct xnx_bounds bounds) {                      \
    enum xnx_status status = XNX_OK;                                                                                \
    for (size_t i = 0; i < XNC_PARTS && status == XNX_OK; i++) {                                                    \
      status = xnc_status(xnn_create_##name##_nd_qs8(                                                               \
          XNC_QUANTIZATION(q[0]), XNC_QUANTIZATION(q[1]), XNC_QUANTIZATION(q[2]), XNC_QUANTA(bounds), 0,            \
          &op->parts[i]));                                                                                          \
    }                                                                                                               \
    return status;                                                                                                  \
  }                                                                                                                 \
  static inline enum xnx_status xnc_setup_##name(struct xnx_operator *op, pthreadpool_t pool) {                     \
    const size_t n = op->elements;                                                                                  \
    const void *a = op->inputs[0], *b = op->inputs[1];                                                              \
    enum xnx_status status = XNX_OK;                                                                                \
    op->part_count = n < XNC_DIVIDED_ELEMENTS || !op->is_alone ? 1 : XNC_PARTS;                                     \
    for (size_t i = 0; i < op->part_count && status == XNX_OK; i++) {                                               \
      const size_t start = n * i / op->part_count, count = n * (i + 1) / op->part_count - start;                    \
      if (op->type == DS_FLOAT32) {                                                                                 \
        status = xnc_status(xnn_setup_##name##_nd_f32(                                                              \
            op->parts[i], 1, &count, 1, &count, (const float *)a + start, (const float *)b + start,                 \
            (float *)op->output + start, pool));                                                                    \
        continue;                                                                                                   \
      }                                                                                                             \
      status = xnc_status(xnn_setup_##name##_nd_qs8(                                                                \
          op->parts[i], 1, &count, 1, &count, (const int8_t *)a + start, (const int8_t *)b + start,                 \
          (int8_t *)op->output + start, pool));                                                                     \
    }                                                                                                               \
    return status;                                                                                                  \
  }

// Filters are (O, H, W, I), also for depthwise convolutions: the library takes its depthwise kernels (3x3 and 5x5; for
// f32 also areas 3 and 4) whenever a group has one input and one output channel.
static inline enum xnx_status xnc_create_convolution_f32(
    struct xnx_operator *op, const struct ds_window *w, const float *filter, const float *bias,
    struct xnx_bounds bounds) {
  return xnc_status(xnn_create_convolution2d_nhwc_f32(
      XNC_PADDING(w), XNC_KERNEL(w), XNC_DILATION(w),
      XNC_CHANNELS(w, op->input_image.channels, op->output_image.channels), filter, bias, bounds.min, bounds.max, 0,
      &op->parts[0]));
}

// filter_scales has a scale for each output channel.
static inline enum xnx_status xnc_create_convolution_qc8(
    struct xnx_operator *op, const struct ds_window *w, struct xnx_quantization in, const float *filter_scales,
    const int8_t *filter, const int32_t *bias, struct xnx_quantization out, struct xnx_bounds bounds) {
  const size_t in_channels = op->input_image.channels, out_channels = op->output_image.channels;
  return xnc_status(xnn_create_convolution2d_nhwc_qc8(
      XNC_PADDING(w), XNC_KERNEL(w), XNC_DILATION(w),
      w->groups, in_channels / w->groups, out_channels / w->groups, in_channels,
      op->output_stride > 0 ? op->output_stride : out_channels, XNC_QUANTIZATION(in), filter_scales,
      filter, bias, XNC_QUANTIZATION(out), XNC_QUANTA(bounds), 0, &op->parts[0]));
}

XNC_SETUP_IMAGE(convolution, convolution2d_nhwc_f32, convolution2d_nhwc_qc8)

// Before AVX2 the library's depthwise kernels add two products in 16 bits, which overflows for (-128)*(-128) twice.
static inline bool xnc_depthwise_is_exact(const int8_t *filter, size_t elements) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") || memchr(filter, 0x80, elements) == NULL;
#else
  (void)filter, (void)elements;
  return true;
#endif
}

XNC_BINARY(add)
XNC_BINARY(subtract)
XNC_BINARY(multiply)

static inline enum xnx_status xnc_create_max_pooling(
    struct xnx_operator *op, const struct ds_window *w, struct xnx_bounds bounds) {
  const size_t c = op->input_image.channels;
  return xnc_status(
      op->type == DS_FLOAT32
          ? xnn_create_max_pooling2d_nhwc_f32(
                XNC_PADDING(w), XNC_KERNEL(w), XNC_DILATION(w), c, c, c, bounds.min, bounds.max, 0, &op->parts[0])
          : xnn_create_max_pooling2d_nhwc_s8(
                XNC_PADDING(w), XNC_KERNEL(w), XNC_DILATION(w), c, c, c, XNC_QUANTA(bounds), 0, &op->parts[0]));
}

XNC_SETUP_IMAGE(max_pooling, max_pooling2d_nhwc_f32, max_pooling2d_nhwc_s8)

// For windows without padding: with padding the library divides by the number of places inside the image.
static inline enum xnx_status xnc_create_average_pooling_f32(
    struct xnx_operator *op, const struct ds_window *w, struct xnx_bounds bounds) {
  const size_t c = op->input_image.channels;
  return xnc_status(xnn_create_average_pooling2d_nhwc_f32(
      XNC_PADDING(w), XNC_KERNEL(w), c, c, c, bounds.min, bounds.max, 0, &op->parts[0]));
}

static inline enum xnx_status xnc_setup_average_pooling_f32(struct xnx_operator *op, pthreadpool_t pool) {
  const struct ds_image *in = &op->input_image;
  return xnc_status(xnn_setup_average_pooling2d_nhwc_f32(
      op->parts[0], in->batch, in->height, in->width, op->inputs[0], op->output, pool));
}

static inline enum xnx_status xnc_create_global_average_pooling_f32(
    struct xnx_operator *op, struct xnx_bounds bounds) {
  const size_t c = op->input_image.channels;
  return xnc_status(
      xnn_create_global_average_pooling_nwc_f32(c, c, c, bounds.min, bounds.max, 0, &op->parts[0]));
}

static inline enum xnx_status xnc_create_global_average_pooling_qs8(
    struct xnx_operator *op, struct xnx_quantization in, struct xnx_quantization out, struct xnx_bounds bounds) {
  const size_t c = op->input_image.channels;
  return xnc_status(xnn_create_global_average_pooling_nwc_qs8(
      c, c, c, XNC_QUANTIZATION(in), XNC_QUANTIZATION(out), XNC_QUANTA(bounds), 0, &op->parts[0]));
}

static inline enum xnx_status xnc_setup_global_average_pooling(struct xnx_operator *op, pthreadpool_t pool) {
  const size_t batch = op->input_image.batch, pixels = op->input_image.height * op->input_image.width;
  return xnc_status(
      op->type == DS_FLOAT32
          ? xnn_setup_global_average_pooling_nwc_f32(op->parts[0], batch, pixels, op->inputs[0], op->output, pool)
          : xnn_setup_global_average_pooling_nwc_qs8(op->parts[0], batch, pixels, op->inputs[0], op->output, pool));
}

static inline enum xnx_status xnc_create_clamp(struct xnx_operator *op, struct xnx_bounds bounds) {
  return xnc_status(
      op->type == DS_FLOAT32 ? xnn_create_clamp_nc_f32(1, 1, 1, bounds.min, bounds.max, 0, &op->parts[0])
                             : xnn_create_clamp_nc_s8(1, 1, 1, XNC_QUANTA(bounds), 0, &op->parts[0]));
}

static inline enum xnx_status xnc_setup_clamp(struct xnx_operator *op, pthreadpool_t pool) {
  return xnc_status(
      op->type == DS_FLOAT32 ? xnn_setup_clamp_nc_f32(op->parts[0], op->elements, op->inputs[0], op->output, pool)
                             : xnn_setup_clamp_nc_s8(op->parts[0], op->elements, op->inputs[0], op->output, pool));
}

// `value` points to one element.
static inline enum xnx_status xnc_create_constant_pad(struct xnx_operator *op, const void *value) {
  return xnc_status(
      op->type == DS_INT8 ? xnn_create_constant_pad_nd_x8(value, 0, &op->parts[0])
                          : xnn_create_constant_pad_nd_x32(value, 0, &op->parts[0]));
}

static inline enum xnx_status xnc_setup_constant_pad(struct xnx_operator *op, pthreadpool_t pool) {
  const struct xnx_pad *p = &op->as.pad;
  const void *in = op->inputs[0];
  return xnc_status(
      op->type == DS_INT8
          ? xnn_setup_constant_pad_nd_x8(op->parts[0], p->rank, p->sizes, p->before, p->after, in, op->output, pool)
          : xnn_setup_constant_pad_nd_x32(op->parts[0], p->rank, p->sizes, p->before, p->after, in, op->output, pool));
}

// Part i copies rows of `channels` elements into rows of `stride` elements.
static inline enum xnx_status xnc_create_copy(struct xnx_operator *op, size_t i, size_t channels, size_t stride) {
  return xnc_status(
      op->type == DS_INT8 ? xnn_create_copy_nc_x8(channels, channels, stride, 0, &op->parts[i])
                          : xnn_create_copy_nc_x32(channels, channels, stride, 0, &op->parts[i]));
}

static inline enum xnx_status xnc_setup_copy(
    struct xnx_operator *op, size_t i, size_t rows, void *output, pthreadpool_t pool) {
  return xnc_status(
      op->type == DS_INT8 ? xnn_setup_copy_nc_x8(op->parts[i], rows, op->inputs[i], output, pool)
                          : xnn_setup_copy_nc_x32(op->parts[i], rows, op->inputs[i], output, pool));
}

#endif  // XNX_XNN_COMPAT_H
