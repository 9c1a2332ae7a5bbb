// DYNAMIC_LINEAR: rows of f32 become int8, each with parameters of its own; int32 sums on the kernels of ours; and
//   y = float(sum - zero point * sum of the filter) * (filter scale * row scale) + bias, clamped,
// one float operation at a time, as the portable kernel of fused.dynamic_linear has it.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "native/native.h"

enum {
  BLOCK_ROWS = 112,
  LANES = 16,
  PARALLEL_ELEMENTS = 1 << 14,  // of a block
};

struct row {
  float scale;
  int32_t zero_point;
};

// Rows are quantized, multiplied and scaled in blocks.
struct state {
  struct i8k_conv conv;  // the product of a block, with int32 sums: it takes no scratch memory
  size_t rows, block_rows, depth, channels, sums_stride;
  float min, max;
  float *scales, *biases;  // of each channel, in one allocation with filter_sums
  uint32_t *filter_sums;
  struct xnx_buffer block;  // sums, scales and zero points of the rows, int8 rows
};

// The memory of a block.
static int32_t *sums_of(const struct state *d) { return d->block.data; }
static struct row *rows_of(const struct state *d) {
  return (struct row *)(void *)(sums_of(d) + d->block_rows * d->sums_stride);
}
static int8_t *quanta_of(const struct state *d) { return (int8_t *)(rows_of(d) + d->block_rows); }

static inline float lesser(float a, float b) { return a < b ? a : b; }
static inline float greater(float a, float b) { return a > b ? a : b; }

// choose_qparams_per_token_asymmetric. Of NaN the scale is NaN and the zero point 0.
XNX_DISPATCHED static struct row choose(const float *restrict x, size_t depth) {
  float low[LANES] = {0}, high[LANES] = {0};
  uint32_t nan = 0;
  size_t i = 0;
  for (; i + LANES <= depth; i += LANES) {
    for (size_t j = 0; j < LANES; j++) {
      low[j] = lesser(x[i + j], low[j]);
      high[j] = greater(x[i + j], high[j]);
      nan |= x[i + j] != x[i + j];
    }
  }
  for (; i < depth; i++) {
    low[0] = lesser(x[i], low[0]);
    high[0] = greater(x[i], high[0]);
    nan |= x[i] != x[i];
  }
  if (nan) return (struct row){NAN, 0};
  for (size_t j = 1; j < LANES; j++) {
    low[0] = lesser(low[j], low[0]);
    high[0] = greater(high[j], high[0]);
  }
  const float scale = greater((high[0] - low[0]) / 255.0f, FLT_EPSILON);
  const float bottom = low[0] / scale, top = high[0] / scale;
  const float bottom_error = -128.0f + bottom, top_error = 127.0f + top;
  const float offset = bottom_error + top_error > 0 ? -128.0f - bottom : 127.0f - top;
  if (offset != offset) return (struct row){scale, 0};
  const float magic = 12582912.0f;
  const float shifted = lesser(greater(offset, -128.0f), 127.0f) + magic;
  return (struct row){scale, (int32_t)(shifted - magic)};
}

// quantize_per_token: in double, half to even with the zero point already added.
XNX_DISPATCHED static void quantize(const float *restrict x, int8_t *restrict q, size_t depth, struct row row) {
  const double inverse = 1.0 / (double)row.scale, offset = row.zero_point, magic = 6755399441055744.0;
  for (size_t i = 0; i < depth; i++) {
    const double product = (double)x[i] * inverse;
    double real = product + offset;
    real = real == real ? real : offset;
    real = real < 127.0 ? real : 127.0;
    real = real > -128.0 ? real : -128.0;
    const double shifted = real + magic;
    q[i] = (int8_t)(int32_t)(shifted - magic);
  }
}

XNX_DISPATCHED static void scale_sums(
    const int32_t *restrict sums, float *restrict y, const struct state *d, struct row row) {
  const float *scales = d->scales, *biases = d->biases;
  const uint32_t *filter_sums = d->filter_sums;
  const float min = d->min, max = d->max;
  for (size_t c = 0; c < d->channels; c++) {
    const int32_t sum = (int32_t)((uint32_t)sums[c] - (uint32_t)row.zero_point * filter_sums[c]);
    const float scale = scales[c] * row.scale;
    const float product = (float)sum * scale;
    float real = product + biases[c];
    real = real < min ? min : real;
    y[c] = real > max ? max : real;
  }
}

struct block {
  const struct state *dynamic;
  const float *input;
  float *output;
};

static void quantize_row(void *context, size_t index) {
  const struct block *block = context;
  const struct state *d = block->dynamic;
  const float *x = block->input + index * d->depth;
  const struct row row = choose(x, d->depth);
  rows_of(d)[index] = row;
  quantize(x, quanta_of(d) + index * d->depth, d->depth, row);
}

static void scale_row(void *context, size_t index) {
  const struct block *block = context;
  const struct state *d = block->dynamic;
  scale_sums(sums_of(d) + index * d->sums_stride, block->output + index * d->channels, d, rows_of(d)[index]);
}

static enum xnx_status run(const struct xnx_operator *op) {
  const struct state *d = XNX_STATE(op, state);
  struct thr_pool *threads = op->threads;
  struct i8k_conv conv = d->conv;
  for (size_t first = 0; first < d->rows; first += d->block_rows) {
    struct block block = {
        d, (const float *)op->inputs[0] + first * d->depth, (float *)op->output + first * d->channels};
    const size_t left = d->rows - first, count = left < d->block_rows ? left : d->block_rows;
    thr_parallelize(count * d->depth < PARALLEL_ELEMENTS ? NULL : threads, count, quantize_row, &block);
    if (count != conv.in.width) {  // the last
      conv.in.width = conv.out.width = count;
      i8k_conv_plan(&conv);
    }
    i8k_conv_sums(&conv, op->packed, quanta_of(d), sums_of(d), d->sums_stride, NULL, threads);
    thr_parallelize(count * d->channels < PARALLEL_ELEMENTS ? NULL : threads, count, scale_row, &block);
  }
  return XNX_OK;
}

static enum xnx_status reshape(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *input = operands->inputs[0], *filter = operands->inputs[1], *output = operands->output;
  if (output->type != DS_FLOAT32 || filter == NULL || filter->rank != 2) return XNX_INVALID_NODE;
  struct state *d = XNX_STATE(op, state);
  const size_t depth = (size_t)filter->sizes[1], channels = (size_t)filter->sizes[0];
  const size_t rows = xnx_element_count(input) / depth;
  if (xnx_element_count(input) != rows * depth || xnx_element_count(output) != rows * channels) return XNX_INVALID_NODE;
  if (depth > XNX_MAX_CHANNELS || channels > XNX_MAX_CHANNELS) return XNX_UNSUPPORTED;
  if (!xnx_is_constant(filter, DS_INT8, depth * channels)) return XNX_INVALID_NODE;
  const size_t block_rows = rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
  op->in = (struct ds_image){1, 1, block_rows, depth};
  op->out = (struct ds_image){1, 1, block_rows, channels};
  struct i8k_conv conv = {
      .isa = i8k_isa(), .in = op->in, .out = op->out, .window = DS_WINDOW_1X1, .min = INT8_MIN, .max = INT8_MAX};
  if (!i8k_conv_plan(&conv)) return XNX_UNSUPPORTED;
  if (op->packed != NULL && !i8k_conv_packs_alike(&conv, &d->conv)) return XNX_UNSUPPORTED;
  d->conv = conv;
  d->rows = rows;
  d->block_rows = block_rows;
  d->depth = depth;
  d->channels = channels;
  d->sums_stride = (channels + I8K_SUMS_MULTIPLE - 1) / I8K_SUMS_MULTIPLE * I8K_SUMS_MULTIPLE;
  return XNX_OK;
}

static enum xnx_status setup(struct xnx_operator *op, struct xnx_threads *threads) {
  (void)threads;
  struct state *d = XNX_STATE(op, state);
  const size_t row_bytes = d->sums_stride * sizeof(int32_t) + sizeof(struct row) + d->depth;
  return xnx_reserve(&d->block, d->block_rows * row_bytes + 16);  // so far behind the rows do the kernels read
}

// What the sums are scaled with.
static enum xnx_status set_channels(const struct xnx_operands *operands, struct state *d) {
  const struct ds_value *filter = operands->inputs[1], *bias = operands->inputs[2];
  const size_t channels = d->channels;
  if (filter->zero_point != 0 || filter->scale == NULL) return XNX_INVALID_NODE;
  if (filter->scale_count != 1 && filter->scale_count != channels) return XNX_INVALID_NODE;
  if (bias != NULL && !xnx_is_constant(bias, DS_FLOAT32, channels)) return XNX_INVALID_NODE;
  d->scales = calloc(3 * channels, sizeof *d->scales);
  if (d->scales == NULL) return XNX_OUT_OF_MEMORY;
  d->biases = d->scales + channels;
  d->filter_sums = (uint32_t *)(void *)(d->biases + channels);
  if (bias != NULL) memcpy(d->biases, bias->data, channels * sizeof *d->biases);
  for (size_t c = 0; c < channels; c++) {
    d->scales[c] = filter->scale[filter->scale_count == 1 ? 0 : c];
    if (!isnormal(d->scales[c]) || d->scales[c] < 0) return XNX_INVALID_NODE;
    const int8_t *weights = (const int8_t *)filter->data + c * d->depth;
    uint32_t sum = 0;
    for (size_t i = 0; i < d->depth; i++) sum += (uint32_t)weights[i];
    d->filter_sums[c] = sum;
  }
  return XNX_OK;
}

static enum xnx_status create(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct state *d = XNX_STATE(op, state);
  d->min = operands->node->output_min;
  d->max = operands->node->output_max;
  if (!(d->min <= d->max)) return XNX_INVALID_NODE;
  const enum xnx_status status = set_channels(operands, d);
  return status == XNX_OK ? xnx_pack(operands, &d->conv, operands->inputs[1]->data, NULL, d->scales, op) : status;
}

static void destroy(struct xnx_operator *op) {
  struct state *d = XNX_STATE(op, state);
  free(d->scales);
  free(d->block.data);
}

const struct xnx_functions xnx_native_dynamic_linear = {
    sizeof(struct state), XNX_PARALLEL_ELEMENTS, reshape, create, setup, run, destroy};
