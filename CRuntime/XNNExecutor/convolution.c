// The convolutions in nodes of four kinds. A fully connected node is a 1x1 convolution over (1, 1, rows, in): that
// gives it weights with a scale per output channel, which the library's own lacks, and runs the same matrix product.
// int8: int32 sum of (x - x_zp) * w + bias; float of it * (x_scale * w_scale / y_scale); half to even; + y_zp; clamp.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "operator.h"

_Static_assert(
    offsetof(struct ds_convolution_add, window) == 0 && offsetof(struct ds_convolution_cat, window) == 0,
    "all convolutions have their window in as.window");

// The filter has the numbers of channels: sizes of activations with four dimensions are in an image's order.
static enum xnx_status rows_of(const struct ds_value *output, struct xnx_convolution *c) {
  if (c->filter->rank != 2) return XNX_INVALID_NODE;
  const size_t in = (size_t)c->filter->sizes[1], out = (size_t)c->filter->sizes[0];
  const size_t rows = xnx_element_count(c->input) / in;
  if (xnx_element_count(c->input) != rows * in || xnx_element_count(output) != rows * out) return XNX_INVALID_NODE;
  if (in > XNX_MAX_CHANNELS || out > XNX_MAX_CHANNELS) return XNX_UNSUPPORTED;
  c->in = (struct ds_image){1, 1, rows, in};
  c->out = (struct ds_image){1, 1, rows, out};
  return XNX_OK;
}

static enum xnx_status images_of(const struct ds_value *output, struct xnx_convolution *c) {
  const struct ds_value *filter = c->filter;
  const struct ds_window *w = &c->window;
  const enum xnx_status status = xnx_images_of(w, c->input, output, &c->in, &c->out);
  if (status != XNX_OK) return status;
  if (w->groups < 1 || c->in.channels % w->groups != 0 || c->out.channels % w->groups != 0) return XNX_INVALID_NODE;
  const bool fits = filter->rank == 4 && (size_t)filter->sizes[0] == c->out.channels &&
                    (uint32_t)filter->sizes[1] == w->kernel_height && (uint32_t)filter->sizes[2] == w->kernel_width &&
                    (size_t)filter->sizes[3] == c->in.channels / w->groups;
  return fits ? XNX_OK : XNX_INVALID_NODE;
}

// A group is packed in tiles of up to 16 by 16 channels: many small groups take up to 256 times their filter's size.
bool xnx_grouped_filter_fits(const struct ds_window *window, size_t in_channels, size_t out_channels) {
  const uint64_t groups = window->groups;
  if (groups == 1) return true;
  const uint64_t area = (uint64_t)window->kernel_height * window->kernel_width;  // at most 2^28
  const uint64_t in = (in_channels / groups + 15) / 16 * 16;                     // at most 2^18, as out
  const uint64_t out = (out_channels / groups + 15) / 16 * 16;
  return groups * in <= XNX_MAX_GROUPED && groups * in * out <= XNX_MAX_GROUPED / area;
}

// The other operand of a sum.
static enum xnx_status check_add(const struct xnx_operands *operands, const struct xnx_convolution *c) {
  const struct ds_value *other = operands->inputs[0], *output = operands->output;
  if (c->input->type != other->type || !xnx_same_sizes(other, output)) return XNX_INVALID_NODE;
  return other->type == DS_INT8 && c->input->data == NULL && !c->depthwise ? XNX_OK : XNX_UNSUPPORTED;
}

// The other channels of a concatenation, which may be none.
static enum xnx_status check_cat(const struct xnx_operands *operands, const struct xnx_convolution *c) {
  const struct ds_value *other = operands->inputs[3], *output = operands->output;
  const int32_t start = operands->node->as.cat.start, channels = c->filter->sizes[0];
  if (output->rank != 4 || start < 0 || channels > output->sizes[3] || start > output->sizes[3] - channels) {
    return XNX_INVALID_NODE;
  }
  if (other != NULL && (other->type != output->type || other->data != NULL || !xnx_same_sizes(other, output) ||
                        !xnx_same_quantization(other, output))) {
    return XNX_INVALID_NODE;
  }
  const bool supported = c->input->type == DS_INT8 && !c->depthwise && output->sizes[3] <= XNX_MAX_CHANNELS;
  return supported ? XNX_OK : XNX_UNSUPPORTED;
}

// `output` is what the convolution alone would give: nothing holds it where the node does more.
static enum xnx_status check(const struct ds_value *output, struct xnx_convolution *c) {
  const enum ds_type type = (enum ds_type)c->input->type;
  const struct ds_value *filter = c->filter;
  if (!xnx_is_constant(filter, type, xnx_element_count(filter))) return XNX_INVALID_NODE;
  if (c->bias != NULL && !xnx_is_constant(c->bias, type == DS_INT8 ? DS_INT32 : DS_FLOAT32, c->out.channels)) {
    return XNX_INVALID_NODE;
  }
  if (!xnx_grouped_filter_fits(&c->window, c->in.channels, c->out.channels)) return XNX_UNSUPPORTED;
  if (type != DS_INT8) return XNX_OK;
  if (filter->zero_point != 0 || filter->scale == NULL) return XNX_INVALID_NODE;
  if (filter->scale_count != 1 && filter->scale_count != c->out.channels) return XNX_INVALID_NODE;
  const enum xnx_status status = xnx_quantization_of(c->input, &c->in_quantization);
  return status == XNX_OK ? xnx_quantization_of(output, &c->out_quantization) : status;
}

enum xnx_status xnx_convolution_of(const struct xnx_operands *operands, struct xnx_convolution *c) {
  const struct ds_node *node = operands->node;
  const bool adds = node->kind == DS_CONVOLUTION_2D_ADD, cats = node->kind == DS_CONVOLUTION_2D_CAT;
  const bool is_product = node->kind == DS_FULLY_CONNECTED;
  const struct ds_value *const *inputs = operands->inputs + adds;
  *c = (struct xnx_convolution){
      .input = inputs[0], .filter = inputs[1], .bias = inputs[2],
      .window = is_product ? (struct ds_window)DS_WINDOW_1X1 : node->as.window};
  if (c->input == NULL || c->filter == NULL || operands->output->type != c->input->type) return XNX_INVALID_NODE;
  c->depthwise = c->window.groups > 1 && c->window.groups == (uint32_t)c->input->sizes[c->input->rank - 1];
  struct ds_value output = *operands->output;
  float min = node->output_min, max = node->output_max;
  enum xnx_status status = XNX_OK;
  if (adds) {
    const struct ds_convolution_add *add = &node->as.add;
    status = check_add(operands, c);
    output.scale_count = 1;
    output.scale = &add->scale;
    output.zero_point = add->zero_point;
    min = add->min;
    max = add->max;
  } else if (cats) {
    status = check_cat(operands, c);
    c->start = (size_t)node->as.cat.start;
    c->stride = (size_t)output.sizes[3];
    output.sizes[3] = c->filter->sizes[0];
  }
  if (status == XNX_OK) status = is_product ? rows_of(&output, c) : images_of(&output, c);
  if (status == XNX_OK) status = check(&output, c);
  return status == XNX_OK ? xnx_bounds_of(min, max, (enum ds_type)c->input->type, &c->bounds) : status;
}

enum xnx_status xnx_scales_of(const struct xnx_convolution *c, float **scales_out) {
  const struct ds_value *filter = c->filter;
  const size_t channels = c->out.channels;
  float *scales = *scales_out = malloc(2 * channels * sizeof *scales);
  if (scales == NULL) return XNX_OUT_OF_MEMORY;
  enum xnx_status status = XNX_OK;
  for (size_t i = 0; i < channels && status == XNX_OK; i++) {
    const float scale = filter->scale[filter->scale_count == 1 ? 0 : i];
    const float product = c->in_quantization.scale * scale, of_sum = product / c->out_quantization.scale;
    scales[i] = scale;
    scales[channels + i] = of_sum;
    if (!isnormal(scale) || !isnormal(of_sum) || of_sum >= 256.0f) status = XNX_UNSUPPORTED;
    if (!(scale > 0) || !isfinite(scale)) status = XNX_INVALID_NODE;
  }
  if (status == XNX_OK) return XNX_OK;
  free(scales);
  *scales_out = NULL;
  return status;
}

enum xnx_status xnx_convolution_add_of(const struct xnx_operands *operands, struct i8k_add *add) {
  struct xnx_convolution c;
  struct xnx_quantization q[3];
  enum xnx_status status = xnx_convolution_of(operands, &c);
  if (status == XNX_OK) status = xnx_quantization_of(operands->inputs[0], &q[1]);
  if (status == XNX_OK) status = xnx_quantization_of(operands->output, &q[2]);
  if (status != XNX_OK) return status;
  q[0] = c.out_quantization;
  return xnx_add_of(q, operands->node, add);
}

void xnx_copy_others(const struct xnx_operator *op) {
  if (op->input_count == 2 && op->inputs[0] != op->output) memcpy(op->output, op->inputs[0], op->elements);
}
