// Pooling of f32, so that a program whose convolutions are ours needs no other threads than ours.
#include "native/native.h"

enum { CHANNELS = 64 };

// The window's part inside the image: `height` rows, `row_stride` apart, of `width` pixels of all channels.
struct window_part {
  const float *first;
  size_t height, width, row_stride, channels;
};

static struct window_part part_of(const struct xnx_operator *op, const struct ds_window *w, size_t row, size_t out_x) {
  const struct ds_image *in = &op->in;
  const size_t batch = row / op->out.height, out_y = row % op->out.height;
  const struct xnx_span y = xnx_clipped(out_y, w->stride_height, w->pad_top, w->kernel_height, in->height);
  const struct xnx_span x = xnx_clipped(out_x, w->stride_width, w->pad_left, w->kernel_width, in->width);
  const float *image = (const float *)op->inputs[0] + batch * in->height * in->width * in->channels;
  return (struct window_part){
      image + (y.begin * in->width + x.begin) * in->channels, y.end - y.begin, x.end - x.begin,
      in->width * in->channels, in->channels};
}

// NaN is larger than any number.
static inline __attribute__((always_inline)) void maximum_of(
    const struct window_part *w, float *restrict output, size_t c0, size_t count, struct xnx_bounds bounds) {
  float largest[CHANNELS];
  for (size_t c = 0; c < count; c++) largest[c] = w->first[c0 + c];
  for (size_t y = 0; y < w->height; y++) {
    const float *restrict pixel = w->first + y * w->row_stride + c0;
    for (size_t x = 0; x < w->width; x++, pixel += w->channels) {
      for (size_t c = 0; c < count; c++) {
        const bool replaces = (pixel[c] > largest[c]) | (pixel[c] != pixel[c]);
        largest[c] = replaces ? pixel[c] : largest[c];
      }
    }
  }
  for (size_t c = 0; c < count; c++) {
    const float x = largest[c] < bounds.min ? bounds.min : largest[c];
    output[c0 + c] = x > bounds.max ? bounds.max : x;
  }
}

XNX_DISPATCHED static void maximum(const struct window_part *w, float *restrict output, struct xnx_bounds bounds) {
  size_t c = 0;
  for (; c + CHANNELS <= w->channels; c += CHANNELS) maximum_of(w, output, c, CHANNELS, bounds);
  for (; c + 16 <= w->channels; c += 16) maximum_of(w, output, c, 16, bounds);
  if (c < w->channels) maximum_of(w, output, c, w->channels - c, bounds);
}

static inline __attribute__((always_inline)) void average_of(
    const struct window_part *w, float *restrict output, size_t c0, size_t count, const struct xnx_pooling *a) {
  float sums[CHANNELS];
  for (size_t c = 0; c < count; c++) sums[c] = 0;
  for (size_t y = 0; y < w->height; y++) {
    const float *restrict pixel = w->first + y * w->row_stride + c0;
    for (size_t x = 0; x < w->width; x++, pixel += w->channels) {
      for (size_t c = 0; c < count; c++) sums[c] += pixel[c];
    }
  }
  for (size_t c = 0; c < count; c++) {
    float x = sums[c] * a->scale;
    x = x < a->bounds.min ? a->bounds.min : x;
    output[c0 + c] = x > a->bounds.max ? a->bounds.max : x;
  }
}

XNX_DISPATCHED static void average(
    const struct window_part *w, float *restrict output, const struct xnx_pooling *a) {
  size_t c = 0;
  for (; c + CHANNELS <= w->channels; c += CHANNELS) average_of(w, output, c, CHANNELS, a);
  for (; c + 16 <= w->channels; c += 16) average_of(w, output, c, 16, a);
  if (c < w->channels) average_of(w, output, c, w->channels - c, a);
}

static float *output_at(const struct xnx_operator *op, size_t row, size_t out_x) {
  return (float *)op->output + (row * op->out.width + out_x) * op->out.channels;
}

static void maximum_row(void *context, size_t row) {
  const struct xnx_operator *op = context;
  const struct xnx_pooling *pooling = XNX_STATE(op, xnx_pooling);
  for (size_t x = 0; x < op->out.width; x++) {
    const struct window_part part = part_of(op, &pooling->window, row, x);
    maximum(&part, output_at(op, row, x), pooling->bounds);
  }
}

static void average_row(void *context, size_t row) {
  const struct xnx_operator *op = context;
  const struct xnx_pooling *pooling = XNX_STATE(op, xnx_pooling);
  for (size_t x = 0; x < op->out.width; x++) {
    const struct window_part part = part_of(op, &pooling->window, row, x);
    average(&part, output_at(op, row, x), pooling);
  }
}

static enum xnx_status run_average(const struct xnx_operator *op) { return xnx_run_rows(op, average_row); }
static enum xnx_status run_maximum(const struct xnx_operator *op) { return xnx_run_rows(op, maximum_row); }

const struct xnx_functions xnx_native_average_pooling_float = XNX_NATIVE_POOLING(run_average);
const struct xnx_functions xnx_native_max_pooling_float = XNX_NATIVE_POOLING(run_maximum);
