// XNNPACK's pooling: maxima, averages of f32, and averages of whole images. Averages count padded places as zeros.
#include <stdlib.h>

#include "xnnpack/library.h"

static enum xnx_status reshape(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_pooling pooling;
  return xnx_pooling_of(operands, op, &pooling);
}

static enum xnx_status create_max(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_pooling p;
  const enum xnx_status status = xnx_pooling_of(operands, op, &p);
  if (status != XNX_OK) return status;
  xnn_operator_t *part = XNX_STATE(op, xnp_parts)->parts;
  const struct ds_window *w = &p.window;
  const size_t c = op->in.channels;
  return xnp_status(
      op->type == DS_FLOAT32
          ? xnn_create_max_pooling2d_nhwc_f32(
                XNP_PADDING(w), XNP_KERNEL(w), XNP_DILATION(w), c, c, c, p.bounds.min, p.bounds.max, 0, part)
          : xnn_create_max_pooling2d_nhwc_s8(
                XNP_PADDING(w), XNP_KERNEL(w), XNP_DILATION(w), c, c, c, XNP_QUANTA(p.bounds), 0, part));
}

static enum xnn_status setup_max(const struct xnx_operator *op, struct xnp_parts *parts) {
  const struct ds_image *in = &op->in;
  xnn_operator_t part = parts->parts[0];
  if (op->type == DS_FLOAT32) {
    return xnn_setup_max_pooling2d_nhwc_f32(
        part, in->batch, in->height, in->width, op->inputs[0], op->output, parts->threads);
  }
  return xnn_setup_max_pooling2d_nhwc_s8(
      part, in->batch, in->height, in->width, op->inputs[0], op->output, parts->threads);
}

struct average {
  struct xnp_parts parts;
  bool is_convolution;
};

// The library divides by the places inside the image, so a padded average is a depthwise convolution.
static enum xnx_status create_padded_average(const struct xnx_pooling *p, size_t channels, xnn_operator_t *part) {
  struct ds_window w = p->window;
  w.groups = (uint32_t)channels;
  if (!xnx_grouped_filter_fits(&w, channels, channels)) return XNX_UNSUPPORTED;
  const size_t count = channels * xnx_area(&w);
  float *filter = malloc(count * sizeof *filter);
  if (filter == NULL) return XNX_OUT_OF_MEMORY;
  for (size_t i = 0; i < count; i++) filter[i] = p->scale;
  const enum xnx_status status = xnp_status(xnn_create_convolution2d_nhwc_f32(
      XNP_PADDING(&w), XNP_KERNEL(&w), XNP_DILATION(&w), w.groups, 1, 1, channels, channels, filter, NULL,
      p->bounds.min, p->bounds.max, 0, part));
  free(filter);
  return status;
}

static enum xnx_status create_average(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_pooling p;
  const enum xnx_status status = xnx_pooling_of(operands, op, &p);
  if (status != XNX_OK) return status;
  if (op->type != DS_FLOAT32) return XNX_UNSUPPORTED;
  struct average *average = XNX_STATE(op, average);
  const struct ds_window *w = &p.window;
  const size_t c = op->in.channels;
  average->is_convolution = xnx_is_padded(w) || xnx_area(w) == 1;
  if (average->is_convolution) return create_padded_average(&p, c, average->parts.parts);
  return xnp_status(xnn_create_average_pooling2d_nhwc_f32(
      XNP_PADDING(w), XNP_KERNEL(w), c, c, c, p.bounds.min, p.bounds.max, 0, average->parts.parts));
}

static enum xnn_status setup_average(const struct xnx_operator *op, struct xnp_parts *parts) {
  const struct ds_image *in = &op->in;
  return (XNX_STATE(op, average)->is_convolution ? xnn_setup_convolution2d_nhwc_f32
                                                 : xnn_setup_average_pooling2d_nhwc_f32)(
      parts->parts[0], in->batch, in->height, in->width, op->inputs[0], op->output, parts->threads);
}

// int8: int32 sum of q - zero point over the image; float of it * (in_scale / (out_scale * count)), half to even,
// + zero point, clamp.
static enum xnx_status reshape_global_average(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_pooling p;
  const enum xnx_status status = xnx_pooling_of(operands, op, &p);
  if (status != XNX_OK || op->type == DS_FLOAT32) return status;
  const float ratio = p.in.scale / p.out.scale;
  const bool supported = ratio >= 0x1p-8f && ratio < 256.0f && p.scale >= 0x1p-32f && p.scale < 256.0f;
  return supported ? XNX_OK : XNX_UNSUPPORTED;
}

static enum xnx_status create_global_average(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_pooling p;
  const enum xnx_status status = xnx_pooling_of(operands, op, &p);
  if (status != XNX_OK) return status;
  xnn_operator_t *part = XNX_STATE(op, xnp_parts)->parts;
  const size_t c = op->in.channels;
  return xnp_status(
      op->type == DS_FLOAT32
          ? xnn_create_global_average_pooling_nwc_f32(c, c, c, p.bounds.min, p.bounds.max, 0, part)
          : xnn_create_global_average_pooling_nwc_qs8(
                c, c, c, XNP_QUANTIZATION(p.in), XNP_QUANTIZATION(p.out), XNP_QUANTA(p.bounds), 0, part));
}

static enum xnn_status setup_global_average(const struct xnx_operator *op, struct xnp_parts *parts) {
  const size_t batch = op->in.batch, pixels = op->in.height * op->in.width;
  xnn_operator_t part = parts->parts[0];
  return op->type == DS_FLOAT32
             ? xnn_setup_global_average_pooling_nwc_f32(
                   part, batch, pixels, op->inputs[0], op->output, parts->threads)
             : xnn_setup_global_average_pooling_nwc_qs8(
                   part, batch, pixels, op->inputs[0], op->output, parts->threads);
}

const struct xnp_kind xnp_max_pooling = XNP_KIND(xnp_parts, reshape, create_max, setup_max);
const struct xnp_kind xnp_average_pooling = XNP_KIND(average, reshape, create_average, setup_average);
const struct xnp_kind xnp_global_average_pooling =
    XNP_KIND(xnp_parts, reshape_global_average, create_global_average, setup_global_average);
