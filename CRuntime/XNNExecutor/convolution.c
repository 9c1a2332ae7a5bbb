// CONVOLUTION_2D and FULLY_CONNECTED. A fully connected node is a 1x1 convolution over (1, 1, rows, in): that gives it
// weights with a scale per output channel, which the library's own operator lacks, and runs the same matrix product.
// int8: int32 sum of (x - x_zp) * w + bias; float of it * (x_scale * w_scale / y_scale); half to even; + y_zp; clamp.
#include <math.h>
#include <stdlib.h>

#include "xnn_compat.h"

// The scale of each output channel's accumulator, in float and in this order, must be normal and below 256.
static enum xnx_status filter_scales(
    const struct ds_value *filter, size_t channels, struct xnx_quantization in, struct xnx_quantization out,
    float *scales, float *requantization_scales) {
  for (size_t i = 0; i < channels; i++) {
    scales[i] = filter->scale[filter->scale_count == 1 ? 0 : i];
    if (!(scales[i] > 0) || !isfinite(scales[i])) return XNX_INVALID_NODE;
    const float product = in.scale * scales[i];
    const float requantization = product / out.scale;
    if (!isnormal(scales[i]) || !isnormal(requantization) || requantization >= 256.0f) return XNX_UNSUPPORTED;
    requantization_scales[i] = requantization;
  }
  return XNX_OK;
}

static enum xnx_status create_qc8(
    const struct xnx_operands *operands, const struct ds_window *window, struct xnx_bounds bounds,
    struct xnx_operator *op) {
  const struct ds_value *filter = operands->inputs[1], *bias = operands->inputs[2];
  const size_t channels = op->output_image.channels;
  struct xnx_quantization in, out;
  enum xnx_status status = xnx_quantization_of(operands->inputs[0], &in);
  if (status == XNX_OK) status = xnx_quantization_of(operands->output, &out);
  if (status != XNX_OK) return status;
  if (filter->zero_point != 0 || filter->scale == NULL) return XNX_INVALID_NODE;
  if (filter->scale_count != 1 && filter->scale_count != channels) return XNX_INVALID_NODE;
  const bool depthwise = op->input_image.channels == window->groups;
  if (depthwise && !xnc_depthwise_is_exact(filter->data, xnx_element_count(filter))) return XNX_UNSUPPORTED;

  float *scales = malloc(2 * channels * sizeof *scales);
  if (scales == NULL) return XNX_OUT_OF_MEMORY;
  status = filter_scales(filter, channels, in, out, scales, scales + channels);
  if (status == XNX_OK) {
    status = xnx_create_native(operands, window, in, out, bounds, scales + channels, op);
    if (status != XNX_UNSUPPORTED) {
      free(scales);
      return status;
    }
    op->setup = xnc_setup_convolution;
    op->part_count = 1;
    status = xnc_create_convolution_qc8(
        op, window, in, scales, filter->data, bias == NULL ? NULL : bias->data, out, bounds);
  }
  free(scales);
  return status;
}

// A group is packed in tiles of up to 16 by 16 channels: many small groups take up to 256 times their filter's size.
bool xnx_grouped_filter_fits(const struct ds_window *window, const struct xnx_operator *op) {
  const uint64_t groups = window->groups;
  if (groups == 1) return true;
  const uint64_t area = (uint64_t)window->kernel_height * window->kernel_width;  // at most 2^28
  const uint64_t in = (op->input_image.channels / groups + 15) / 16 * 16;                    // at most 2^18, as out
  const uint64_t out = (op->output_image.channels / groups + 15) / 16 * 16;
  return groups * in <= XNX_MAX_GROUPED && groups * in * out <= XNX_MAX_GROUPED / area;
}

// The images are set and the filter is a constant of the right sizes.
static enum xnx_status create(
    const struct xnx_operands *operands, const struct ds_window *window, struct xnx_operator *op) {
  const struct ds_value *filter = operands->inputs[1], *bias = operands->inputs[2];
  const size_t channels = op->output_image.channels;
  const enum ds_type bias_type = op->type == DS_INT8 ? DS_INT32 : DS_FLOAT32;
  if (bias != NULL && !xnx_is_constant(bias, bias_type, channels)) return XNX_INVALID_NODE;
  if (operands->output->type != (uint32_t)op->type) return XNX_INVALID_NODE;
  if (!xnx_grouped_filter_fits(window, op)) return XNX_UNSUPPORTED;
  struct xnx_bounds bounds;
  enum xnx_status status = xnx_bounds_of(operands->node, op->type, &bounds);
  if (status != XNX_OK) return status;
  if (op->type == DS_INT8) return create_qc8(operands, window, bounds, op);
  status = xnx_create_native_float(operands, window, bounds, op);
  if (status != XNX_UNSUPPORTED) return status;
  op->setup = xnc_setup_convolution;
  op->part_count = 1;
  return xnc_create_convolution_f32(op, window, filter->data, bias == NULL ? NULL : bias->data, bounds);
}

static enum xnx_status reshape_native(struct xnx_operator *op) {
  if (!op->is_native) return XNX_OK;
  return op->type == DS_FLOAT32 ? xnx_reshape_native_float(op) : xnx_reshape_native(op);
}

enum xnx_status xnx_reshape_convolution(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *filter = operands->inputs[1];
  const struct ds_window *w = &operands->node->as.window;
  enum xnx_status status = xnx_images_of(operands, op);
  if (status != XNX_OK) return status;
  const struct ds_image *in = &op->input_image, *out = &op->output_image;
  if (w->groups < 1 || in->channels % w->groups != 0 || out->channels % w->groups != 0) {
    return XNX_INVALID_NODE;
  }
  if (filter == NULL || filter->rank != 4 || !xnx_is_constant(filter, op->type, xnx_element_count(filter)) ||
      (size_t)filter->sizes[0] != out->channels || (uint32_t)filter->sizes[1] != w->kernel_height ||
      (uint32_t)filter->sizes[2] != w->kernel_width || (size_t)filter->sizes[3] != in->channels / w->groups) {
    return XNX_INVALID_NODE;
  }
  return reshape_native(op);
}

enum xnx_status xnx_create_convolution(const struct xnx_operands *operands, struct xnx_operator *op) {
  enum xnx_status status = xnx_reshape_convolution(operands, op);
  return status == XNX_OK ? create(operands, &operands->node->as.window, op) : status;
}

enum xnx_status xnx_reshape_fully_connected(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *input = operands->inputs[0], *filter = operands->inputs[1], *output = operands->output;
  // The filter has the numbers of channels: sizes of activations with four dimensions are in an image's order.
  if (filter == NULL || filter->rank != 2) return XNX_INVALID_NODE;
  const size_t in_channels = (size_t)filter->sizes[1], out_channels = (size_t)filter->sizes[0];
  const size_t rows = xnx_element_count(input) / in_channels;
  if (xnx_element_count(input) != rows * in_channels || xnx_element_count(output) != rows * out_channels) {
    return XNX_INVALID_NODE;
  }
  if (in_channels > XNX_MAX_CHANNELS || out_channels > XNX_MAX_CHANNELS) return XNX_UNSUPPORTED;
  if (!xnx_is_constant(filter, op->type, in_channels * out_channels)) return XNX_INVALID_NODE;
  op->input_image = (struct ds_image){1, 1, rows, in_channels};
  op->output_image = (struct ds_image){1, 1, rows, out_channels};
  return reshape_native(op);
}

enum xnx_status xnx_create_fully_connected(const struct xnx_operands *operands, struct xnx_operator *op) {
  enum xnx_status status = xnx_reshape_fully_connected(operands, op);
  if (status != XNX_OK) return status;
  const struct ds_window window = DS_WINDOW_1X1;
  return create(operands, &window, op);
}
