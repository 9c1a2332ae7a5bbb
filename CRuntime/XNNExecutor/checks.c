// Checks of nodes and values. A node comes from a file: everything is bounded here, before the library sees it, because
// the library checks little and stops the process at a failed assertion.
#include <math.h>

#include "operator.h"

size_t xnx_element_size(const struct ds_value *value) { return value->type == DS_INT8 ? 1 : 4; }

size_t xnx_element_count(const struct ds_value *value) {
  size_t count = 1;
  for (uint32_t i = 0; i < value->rank; i++) count *= (size_t)value->sizes[i];
  return count;
}

static enum xnx_status check_value(const struct ds_value *value) {
  if (value->type != DS_FLOAT32 && value->type != DS_INT8 && value->type != DS_INT32) return XNX_INVALID_NODE;
  if (value->rank < 1 || value->rank > 4) return XNX_INVALID_NODE;
  uint64_t bytes = xnx_element_size(value);
  for (uint32_t i = 0; i < value->rank; i++) {
    if (value->sizes[i] < 1) return XNX_INVALID_NODE;
    bytes *= (uint64_t)value->sizes[i];  // at most 2^40 * 2^31
    if (bytes > XNX_MAX_BYTES) return XNX_UNSUPPORTED;
  }
  return XNX_OK;
}

static enum xnx_status value_at(
    int32_t index, const struct ds_value *values, size_t value_count, const struct ds_value **value) {
  if (index < 0 || (size_t)index >= value_count) return XNX_INVALID_NODE;
  *value = &values[index];
  return check_value(*value);
}

enum xnx_status xnx_resolve(
    const struct ds_node *node, const struct ds_value *values, size_t value_count, struct xnx_operands *operands) {
  if (node->input_count < 1 || node->input_count > DS_MAX_INPUTS) return XNX_INVALID_NODE;
  operands->node = node;
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (i > 0 && node->inputs[i] == DS_NO_VALUE) continue;
    enum xnx_status status = value_at(node->inputs[i], values, value_count, &operands->inputs[i]);
    if (status != XNX_OK) return status;
  }
  return value_at(node->output, values, value_count, &operands->output);
}

bool xnx_is_constant(const struct ds_value *value, enum ds_type type, size_t elements) {
  return value != NULL && value->type == (uint32_t)type && value->data != NULL && xnx_element_count(value) == elements;
}

bool xnx_same_sizes(const struct ds_value *a, const struct ds_value *b) {
  if (a->rank != b->rank) return false;
  for (uint32_t i = 0; i < a->rank; i++) {
    if (a->sizes[i] != b->sizes[i]) return false;
  }
  return true;
}

bool xnx_same_quantization(const struct ds_value *a, const struct ds_value *b) {
  if (a->type != DS_INT8) return true;
  struct xnx_quantization p, q;
  if (xnx_quantization_of(a, &p) != XNX_OK || xnx_quantization_of(b, &q) != XNX_OK) return false;
  return p.scale == q.scale && p.zero_point == q.zero_point;
}

enum xnx_status xnx_quantization_of(const struct ds_value *value, struct xnx_quantization *quantization) {
  if (value->type != DS_INT8 || value->scale_count != 1 || value->scale == NULL) return XNX_INVALID_NODE;
  if (value->zero_point < INT8_MIN || value->zero_point > INT8_MAX) return XNX_INVALID_NODE;
  const float scale = value->scale[0];
  if (!(scale > 0) || !isfinite(scale)) return XNX_INVALID_NODE;
  if (!isnormal(scale)) return XNX_UNSUPPORTED;
  *quantization = (struct xnx_quantization){scale, (int8_t)value->zero_point};
  return XNX_OK;
}

enum xnx_status xnx_bounds_of(float min, float max, enum ds_type type, struct xnx_bounds *bounds) {
  if (!(min <= max)) return XNX_INVALID_NODE;
  if (type == DS_INT8) {
    if (min < INT8_MIN || max > INT8_MAX || min != floorf(min) || max != floorf(max)) return XNX_INVALID_NODE;
  }
  if (min == max) return XNX_UNSUPPORTED;
  *bounds = (struct xnx_bounds){min, max};
  return XNX_OK;
}

static bool is_image(const struct ds_value *value, struct ds_image *image) {
  if (value->rank != 4) return false;
  *image = (struct ds_image){
      (size_t)value->sizes[0], (size_t)value->sizes[1], (size_t)value->sizes[2], (size_t)value->sizes[3]};
  return true;
}

static bool is_extent(uint32_t size, uint32_t minimum) { return size >= minimum && size <= XNX_MAX_EXTENT; }

static bool fits(
    size_t input, uint32_t before, uint32_t after, uint32_t kernel, uint32_t dilation, uint32_t stride, size_t output) {
  const uint64_t padded = (uint64_t)input + before + after, reach = (uint64_t)(kernel - 1) * dilation + 1;
  return padded >= reach && (padded - reach) / stride + 1 == output;
}

enum xnx_status xnx_images_of(
    const struct ds_window *w, const struct ds_value *input, const struct ds_value *output, struct ds_image *in,
    struct ds_image *out) {
  if (!is_image(input, in) || !is_image(output, out)) return XNX_INVALID_NODE;
  if (in->batch != out->batch) return XNX_INVALID_NODE;
  const bool valid = is_extent(w->kernel_height, 1) && is_extent(w->kernel_width, 1) &&
                     is_extent(w->stride_height, 1) && is_extent(w->stride_width, 1) &&
                     is_extent(w->dilation_height, 1) && is_extent(w->dilation_width, 1) && is_extent(w->pad_top, 0) &&
                     is_extent(w->pad_right, 0) && is_extent(w->pad_bottom, 0) && is_extent(w->pad_left, 0);
  if (!valid) return XNX_INVALID_NODE;
  if (!fits(in->height, w->pad_top, w->pad_bottom, w->kernel_height, w->dilation_height, w->stride_height,
            out->height) ||
      !fits(in->width, w->pad_left, w->pad_right, w->kernel_width, w->dilation_width, w->stride_width, out->width)) {
    return XNX_INVALID_NODE;
  }
  if (in->channels > XNX_MAX_CHANNELS || out->channels > XNX_MAX_CHANNELS) return XNX_UNSUPPORTED;
  const uint64_t area = (uint64_t)w->kernel_height * w->kernel_width;  // at most 2^40
  const uint64_t places = (uint64_t)out->height * out->width;          // at most 2^40
  if (area > XNX_MAX_INDIRECTION || places > XNX_MAX_INDIRECTION || area * places > XNX_MAX_INDIRECTION) {
    return XNX_UNSUPPORTED;
  }
  return XNX_OK;
}
