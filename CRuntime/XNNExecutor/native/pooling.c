// Pooling of int8. Averages: (sum of q - zero point) * scale, rounded half to even, + the output's zero point, clamped.
// Maxima: the largest quantum in the window, places around the image apart; no dilation.
#include "native/native.h"

enum { AVERAGED_CHANNELS = 256 };

XNX_DISPATCHED_WIDE static void add_channels(int32_t *restrict sums, const int8_t *restrict input, size_t channels) {
  for (size_t c = 0; c < channels; c++) sums[c] += input[c];
}

XNX_DISPATCHED static void requantize_channels(
    const int32_t *restrict sums, int8_t *restrict output, size_t channels, const struct xnx_pooling *a) {
  const int32_t zero_point = a->out.zero_point;
  const float scale = a->scale, min = a->bounds.min - (float)zero_point, max = a->bounds.max - (float)zero_point;
  for (size_t c = 0; c < channels; c++) {
    float x = (float)sums[c] * scale;
    x = x < min ? min : x;
    x = x > max ? max : x;
    output[c] = (int8_t)(xnx_round_even(x) + zero_point);
  }
}

// One row of the output, all channels: (out width, channels).
static void average_row(void *context, size_t index) {
  const struct xnx_operator *op = context;
  const struct xnx_pooling *a = XNX_STATE(op, xnx_pooling);
  const struct ds_window *w = &a->window;
  const struct ds_image *in = &op->in, *out = &op->out;
  const size_t batch = index / out->height, out_y = index % out->height;
  const size_t channels = in->channels;
  const int8_t *image = (const int8_t *)op->inputs[0] + batch * in->height * in->width * channels;
  int8_t *row = (int8_t *)op->output + index * out->width * channels;
  const struct xnx_span y = xnx_clipped(out_y, w->stride_height, w->pad_top, w->kernel_height, in->height);
  for (size_t out_x = 0; out_x < out->width; out_x++) {
    const struct xnx_span x = xnx_clipped(out_x, w->stride_width, w->pad_left, w->kernel_width, in->width);
    const int32_t bias = -(int32_t)((y.end - y.begin) * (x.end - x.begin)) * a->in.zero_point;
    for (size_t c = 0; c < channels; c += AVERAGED_CHANNELS) {
      const size_t length = channels - c < AVERAGED_CHANNELS ? channels - c : AVERAGED_CHANNELS;
      int32_t sums[AVERAGED_CHANNELS];
      for (size_t i = 0; i < length; i++) sums[i] = bias;
      for (size_t iy = y.begin; iy < y.end; iy++) {
        for (size_t ix = x.begin; ix < x.end; ix++) {
          add_channels(sums, image + (iy * in->width + ix) * channels + c, length);
        }
      }
      requantize_channels(sums, row + out_x * channels + c, length, a);
    }
  }
}

// The window's part inside the image: rows, `row_stride` apart, of pixels of all channels.
struct window_part {
  const int8_t *first;
  size_t row_stride, channels;
};

// `count` bytes as one vector, so that the largest stay in registers; whole 3 x 3 windows without loops.
#define XNX_MAXIMUM_OF(count)                                                                              \
  typedef int8_t bytes_##count __attribute__((vector_size(count), aligned(1), may_alias));                 \
  static inline __attribute__((always_inline)) void maximum_of_##count(                                    \
      const struct window_part *w, size_t height, size_t width, int8_t *output, size_t c, int8_t min,      \
      int8_t max) {                                                                                        \
    bytes_##count largest = (bytes_##count){0} + min;                                                      \
    for (size_t y = 0; y < height; y++) {                                                                  \
      const int8_t *pixel = w->first + y * w->row_stride + c;                                              \
      for (size_t x = 0; x < width; x++, pixel += w->channels) {                                           \
        largest = __builtin_elementwise_max(largest, *(const bytes_##count *)(const void *)pixel);         \
      }                                                                                                    \
    }                                                                                                      \
    *(bytes_##count *)(void *)(output + c) = __builtin_elementwise_min(largest, (bytes_##count){0} + max); \
  }
XNX_MAXIMUM_OF(64)
XNX_MAXIMUM_OF(16)
XNX_MAXIMUM_OF(1)

static inline __attribute__((always_inline)) void maximum_of(
    const struct window_part *w, size_t height, size_t width, int8_t *output, int8_t min, int8_t max) {
  size_t c = 0;
  for (; c + 64 <= w->channels; c += 64) maximum_of_64(w, height, width, output, c, min, max);
  for (; c + 16 <= w->channels; c += 16) maximum_of_16(w, height, width, output, c, min, max);
  for (; c < w->channels; c++) maximum_of_1(w, height, width, output, c, min, max);
}

XNX_DISPATCHED_WIDE static void maximum_row(const struct xnx_operator *op, size_t index) {
  const struct xnx_pooling *m = XNX_STATE(op, xnx_pooling);
  const struct ds_window w = m->window;
  const int8_t min = (int8_t)m->bounds.min, max = (int8_t)m->bounds.max;
  const struct ds_image *in = &op->in, *out = &op->out;
  const size_t batch = index / out->height, out_y = index % out->height, out_width = out->width;
  const int8_t *image = (const int8_t *)op->inputs[0] + batch * in->height * in->width * in->channels;
  const struct xnx_span y = xnx_clipped(out_y, w.stride_height, w.pad_top, w.kernel_height, in->height);
  struct window_part part = {.row_stride = in->width * in->channels, .channels = in->channels};
  int8_t *output = (int8_t *)op->output + index * out->width * part.channels;
  for (size_t out_x = 0; out_x < out_width; out_x++, output += part.channels) {
    const struct xnx_span x = xnx_clipped(out_x, w.stride_width, w.pad_left, w.kernel_width, in->width);
    part.first = image + y.begin * part.row_stride + x.begin * part.channels;
    const size_t height = y.end - y.begin, width = x.end - x.begin;
    if (height == 3 && width == 3) {
      maximum_of(&part, 3, 3, output, min, max);
    } else {
      maximum_of(&part, height, width, output, min, max);
    }
  }
}

static void run_maximum_row(void *context, size_t index) { maximum_row(context, index); }

enum xnx_status xnx_run_rows(const struct xnx_operator *op, void (*row)(void *context, size_t index)) {
  const struct ds_image *in = &op->in, *out = &op->out;
  const bool small = in->batch * in->height * in->width * in->channels < XNX_PARALLEL_ELEMENTS;
  thr_parallelize(small ? NULL : op->threads, out->batch * out->height, row, (void *)(uintptr_t)op);
  return XNX_OK;
}

enum xnx_status xnx_reshape_native_pooling(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_pooling *pooling = XNX_STATE(op, xnx_pooling);
  const enum xnx_status status = xnx_pooling_of(operands, op, pooling);
  const bool dilated = pooling->window.dilation_height > 1 || pooling->window.dilation_width > 1;
  return status == XNX_OK && dilated ? XNX_UNSUPPORTED : status;
}

static enum xnx_status run_average(const struct xnx_operator *op) { return xnx_run_rows(op, average_row); }
static enum xnx_status run_maximum(const struct xnx_operator *op) { return xnx_run_rows(op, run_maximum_row); }

const struct xnx_functions xnx_native_average_pooling = XNX_NATIVE_POOLING(run_average);
const struct xnx_functions xnx_native_max_pooling = XNX_NATIVE_POOLING(run_maximum);
