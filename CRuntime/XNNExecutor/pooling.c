// MAX_POOLING_2D, AVERAGE_POOLING_2D and GLOBAL_AVERAGE_POOLING. Averages count padded places as zeros.
#include <math.h>
#include <stdlib.h>

#include "xnn_compat.h"

static size_t area(const struct ds_window *w) { return (size_t)w->kernel_height * w->kernel_width; }

static bool is_padded(const struct ds_window *w) {
  return (w->pad_top | w->pad_right | w->pad_bottom | w->pad_left) != 0;
}

enum xnx_status xnx_reshape_pooling(const struct xnx_operands *operands, struct xnx_operator *op) {
  if (operands->output->type != operands->inputs[0]->type) return XNX_INVALID_NODE;
  enum xnx_status status = xnx_images_of(operands, op);
  if (status != XNX_OK) return status;
  if (op->input_image.channels != op->output_image.channels) return XNX_INVALID_NODE;
  const struct ds_window *w = &operands->node->as.window;
  // Every window must touch the image.
  if (w->pad_top >= w->kernel_height || w->pad_bottom >= w->kernel_height || w->pad_left >= w->kernel_width ||
      w->pad_right >= w->kernel_width) {
    return XNX_UNSUPPORTED;
  }
  return XNX_OK;
}

static enum xnx_status pooling_operands(
    const struct xnx_operands *operands, struct xnx_operator *op, struct xnx_bounds *bounds) {
  enum xnx_status status = xnx_reshape_pooling(operands, op);
  return status == XNX_OK ? xnx_bounds_of(operands->node, op->type, bounds) : status;
}

// Padded places do not count. With dilation the library handles them by a rule of its own, so it is not used then.
enum xnx_status xnx_create_max_pooling(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_window *w = &operands->node->as.window;
  struct xnx_bounds bounds;
  enum xnx_status status = pooling_operands(operands, op, &bounds);
  if (status != XNX_OK) return status;
  if (!xnx_same_quantization(operands->inputs[0], operands->output)) return XNX_INVALID_NODE;
  const bool dilated = w->dilation_height != 1 || w->dilation_width != 1;
  if (area(w) == 1 || (dilated && is_padded(w))) return XNX_UNSUPPORTED;
  if (op->type == DS_INT8 && !dilated) {
    op->kernel = xnx_kernel_max_pooling;
    op->as.maximum = (struct xnx_maximum){*w, (int8_t)bounds.min, (int8_t)bounds.max};
    return XNX_OK;
  }
  if (op->type == DS_FLOAT32 && !dilated && xnx_is_native_float(operands->options)) {
    op->kernel = xnx_kernel_max_pooling_float;
    op->as.float_maximum = (struct xnx_float_maximum){*w, bounds};
    return XNX_OK;
  }
  op->setup = xnc_setup_max_pooling;
  op->part_count = 1;
  return xnc_create_max_pooling(op, w, bounds);
}

// The library divides by the places inside the image, so a padded f32 average is a depthwise convolution.
static enum xnx_status create_padded_average(
    const struct ds_window *window, struct xnx_bounds bounds, struct xnx_operator *op) {
  struct ds_window depthwise = *window;
  depthwise.groups = (uint32_t)op->input_image.channels;
  if (!xnx_grouped_filter_fits(&depthwise, op)) return XNX_UNSUPPORTED;
  const size_t count = op->input_image.channels * area(window);
  float *filter = malloc(count * sizeof *filter);
  if (filter == NULL) return XNX_OUT_OF_MEMORY;
  const float weight = 1.0f / (float)area(window);
  for (size_t i = 0; i < count; i++) filter[i] = weight;
  op->setup = xnc_setup_convolution;
  enum xnx_status status = xnc_create_convolution_f32(op, &depthwise, filter, NULL, bounds);
  free(filter);
  return status;
}

// The factor of an int8 average's sum: the same float operations as the library's global average pooling.
static enum xnx_status average_scale(
    struct xnx_quantization in, struct xnx_quantization out, size_t count, float *scale) {
  const float divisor = out.scale * (float)count;
  *scale = in.scale / divisor;
  return isnormal(*scale) ? XNX_OK : XNX_UNSUPPORTED;
}

enum xnx_status xnx_create_average_pooling(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_window *w = &operands->node->as.window;
  struct xnx_bounds bounds;
  enum xnx_status status = pooling_operands(operands, op, &bounds);
  if (status != XNX_OK) return status;
  if (w->dilation_height != 1 || w->dilation_width != 1 || area(w) > XNX_MAX_AVERAGED) return XNX_UNSUPPORTED;
  if (op->type == DS_FLOAT32 && xnx_is_native_float(operands->options)) {
    op->kernel = xnx_kernel_average_pooling_float;
    op->as.average =
        (struct xnx_average){.window = *w, .scale = 1.0f / (float)area(w), .min = bounds.min, .max = bounds.max};
    return XNX_OK;
  }
  if (op->type == DS_FLOAT32) {
    op->part_count = 1;
    if (is_padded(w) || area(w) == 1) return create_padded_average(w, bounds, op);
    op->setup = xnc_setup_average_pooling_f32;
    return xnc_create_average_pooling_f32(op, w, bounds);
  }
  struct xnx_quantization in, out;
  status = xnx_quantization_of(operands->inputs[0], &in);
  if (status == XNX_OK) status = xnx_quantization_of(operands->output, &out);
  if (status != XNX_OK) return status;
  op->kernel = xnx_kernel_average_pooling;
  op->as.average = (struct xnx_average){*w, in.zero_point, 0, out.zero_point, bounds.min, bounds.max};
  return average_scale(in, out, area(w), &op->as.average.scale);
}

enum xnx_status xnx_reshape_global_average_pooling(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *input = operands->inputs[0], *output = operands->output;
  if (input->rank != 4 || output->type != input->type) return XNX_INVALID_NODE;
  const size_t batch = (size_t)input->sizes[0], channels = (size_t)input->sizes[3];
  const size_t pixels = (size_t)input->sizes[1] * (size_t)input->sizes[2];
  if ((size_t)output->sizes[0] != batch || (size_t)output->sizes[output->rank - 1] != channels ||
      output->rank < 2 || xnx_element_count(output) != batch * channels) {
    return XNX_INVALID_NODE;
  }
  if (channels > XNX_MAX_CHANNELS || pixels > XNX_MAX_AVERAGED) return XNX_UNSUPPORTED;
  op->input_image = (struct ds_image){batch, (size_t)input->sizes[1], (size_t)input->sizes[2], channels};
  if (op->type == DS_FLOAT32) {
    op->output_image = (struct ds_image){batch, 1, 1, channels};
    op->as.average.window = (struct ds_window){
        .kernel_height = (uint32_t)input->sizes[1], .kernel_width = (uint32_t)input->sizes[2]};
    op->as.average.scale = 1.0f / (float)pixels;
    return XNX_OK;
  }
  struct xnx_quantization in, out;
  float scale;
  enum xnx_status status = xnx_quantization_of(input, &in);
  if (status == XNX_OK) status = xnx_quantization_of(output, &out);
  if (status == XNX_OK) status = average_scale(in, out, pixels, &scale);
  if (status != XNX_OK) return status;
  const float ratio = in.scale / out.scale;
  return ratio < 0x1p-8f || ratio >= 256.0f || scale < 0x1p-32f || scale >= 256.0f ? XNX_UNSUPPORTED : XNX_OK;
}

// int8: int32 sum of q - zero point over the image; float of it * (in_scale / (out_scale * count)), half to even,
// + zero point, clamp.
enum xnx_status xnx_create_global_average_pooling(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_bounds bounds;
  enum xnx_status status = xnx_reshape_global_average_pooling(operands, op);
  if (status == XNX_OK) status = xnx_bounds_of(operands->node, op->type, &bounds);
  if (status != XNX_OK) return status;
  if (op->type == DS_FLOAT32 && xnx_is_native_float(operands->options)) {
    op->kernel = xnx_kernel_average_pooling_float;
    op->as.average.min = bounds.min;
    op->as.average.max = bounds.max;
    return XNX_OK;
  }
  op->setup = xnc_setup_global_average_pooling;
  op->part_count = 1;
  if (op->type == DS_FLOAT32) return xnc_create_global_average_pooling_f32(op, bounds);
  struct xnx_quantization in, out;
  status = xnx_quantization_of(operands->inputs[0], &in);
  if (status == XNX_OK) status = xnx_quantization_of(operands->output, &out);
  return status == XNX_OK ? xnc_create_global_average_pooling_qs8(op, in, out, bounds) : status;
}
