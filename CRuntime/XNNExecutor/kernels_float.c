// f32 pooling of the executor's own, so that a program whose convolutions are ours needs no other threads than ours.
#include "operator.h"

enum { CHANNELS = 64 };

// The window's part inside the image: `height` rows, `row_stride` apart, of `width` pixels of all channels.
struct window_part {
  const float *first;
  size_t height, width, row_stride, channels;
};

static struct window_part part_of(const struct xnx_operator *op, const struct ds_window *w, size_t row, size_t out_x) {
  const struct ds_image *in = &op->input_image;
  const size_t batch = row / op->output_image.height, out_y = row % op->output_image.height;
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
    const struct window_part *w, float *restrict output, size_t c0, size_t count, const struct xnx_average *a) {
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
    x = x < a->min ? a->min : x;
    output[c0 + c] = x > a->max ? a->max : x;
  }
}

XNX_DISPATCHED static void average(
    const struct window_part *w, float *restrict output, const struct xnx_average *a) {
  size_t c = 0;
  for (; c + CHANNELS <= w->channels; c += CHANNELS) average_of(w, output, c, CHANNELS, a);
  for (; c + 16 <= w->channels; c += 16) average_of(w, output, c, 16, a);
  if (c < w->channels) average_of(w, output, c, w->channels - c, a);
}

static float *output_at(const struct xnx_operator *op, size_t row, size_t out_x) {
  return (float *)op->output + (row * op->output_image.width + out_x) * op->output_image.channels;
}

static void maximum_row(void *context, size_t row) {
  const struct xnx_operator *op = context;
  for (size_t x = 0; x < op->output_image.width; x++) {
    const struct window_part part = part_of(op, &op->as.float_maximum.window, row, x);
    maximum(&part, output_at(op, row, x), op->as.float_maximum.bounds);
  }
}

static void average_row(void *context, size_t row) {
  const struct xnx_operator *op = context;
  for (size_t x = 0; x < op->output_image.width; x++) {
    const struct window_part part = part_of(op, &op->as.average.window, row, x);
    average(&part, output_at(op, row, x), &op->as.average);
  }
}

static void run_rows(
    const struct xnx_operator *op, void (*function)(void *context, size_t row), struct thr_pool *threads) {
  const struct ds_image *in = &op->input_image, *out = &op->output_image;
  const bool small = in->batch * in->height * in->width * in->channels < XNX_PARALLEL_ELEMENTS;
  thr_parallelize(small ? NULL : threads, out->batch * out->height, function, (void *)(uintptr_t)op);
}

void xnx_kernel_max_pooling_float(const struct xnx_operator *op, struct thr_pool *threads) {
  run_rows(op, maximum_row, threads);
}

void xnx_kernel_average_pooling_float(const struct xnx_operator *op, struct thr_pool *threads) {
  run_rows(op, average_row, threads);
}
