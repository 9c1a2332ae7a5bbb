// CONCATENATE of int8 and TRANSPOSE: elements move and keep their value.
#include <string.h>

#include "native/native.h"

// Rows of all parts. Those of the library's operator are of one part after another, far from their place in a cache.
enum { CONCATENATED_ROWS = 64 };

static void concatenate_rows(void *context, size_t index) {
  const struct xnx_operator *op = context;
  const struct xnx_columns *columns = XNX_STATE(op, xnx_columns);
  const size_t first = index * CONCATENATED_ROWS, left = columns->rows - first;
  const size_t end = first + (left < CONCATENATED_ROWS ? left : CONCATENATED_ROWS);
  for (size_t i = 0; i < columns->count; i++) {
    const size_t next = i + 1 < columns->count ? columns->offsets[i + 1] : columns->stride;
    const size_t length = next - columns->offsets[i];
    const int8_t *input = op->inputs[i];
    int8_t *output = (int8_t *)op->output + columns->offsets[i];
    for (size_t row = first; row < end; row++) {
      memcpy(output + row * columns->stride, input + row * length, length);
    }
  }
}

static enum xnx_status reshape_concatenate(const struct xnx_operands *operands, struct xnx_operator *op) {
  return xnx_columns_of(operands, XNX_STATE(op, xnx_columns));
}

static enum xnx_status run_concatenate(const struct xnx_operator *op) {
  const struct xnx_columns *columns = XNX_STATE(op, xnx_columns);
  const bool small = op->elements < XNX_PARALLEL_ELEMENTS;
  const size_t pieces = (columns->rows + CONCATENATED_ROWS - 1) / CONCATENATED_ROWS;
  thr_parallelize(small ? NULL : op->threads, pieces, concatenate_rows, (void *)(uintptr_t)op);
  return XNX_OK;
}

const struct xnx_functions xnx_native_concatenate = {
    sizeof(struct xnx_columns), XNX_PARALLEL_ELEMENTS, reshape_concatenate, NULL, NULL, run_concatenate, NULL};

// Tiles of 16 x 16 elements keep both sides of a transpose in the first-level cache. Sizes that are constants at their
// call are compiled to vector code: whole tiles, and the three channels of an image.
enum { TILE = 16, PIECE_BYTES = XNX_PARALLEL_ELEMENTS / 4 };

#define XNX_TRANSPOSE_TILE(name, element)                                                                          \
  static inline __attribute__((always_inline)) void name##_of(                                                     \
      const element *restrict input, element *restrict output, size_t rows, size_t columns, size_t height,         \
      size_t width) {                                                                                              \
    for (size_t x = 0; x < width; x++) {                                                                           \
      for (size_t y = 0; y < height; y++) output[x * rows + y] = input[y * columns + x];                           \
    }                                                                                                              \
  }                                                                                                                \
  static void name(                                                                                                \
      const element *input, element *output, size_t rows, size_t columns, size_t height, size_t width) {           \
    if (height == TILE && width == TILE) {                                                                         \
      name##_of(input, output, rows, columns, TILE, TILE);                                                         \
    } else if (rows == 3 && width == TILE) {                                                                       \
      name##_of(input, output, 3, columns, 3, TILE);                                                               \
    } else {                                                                                                       \
      name##_of(input, output, rows, columns, height, width);                                                      \
    }                                                                                                              \
  }
XNX_TRANSPOSE_TILE(transpose_tile_1, uint8_t)
XNX_TRANSPOSE_TILE(transpose_tile_4, uint32_t)

// Matrices whose rows become columns: an image is height * width rows of channels; the other order is channels rows of
// height * width.
struct matrices {
  size_t count, rows, columns, element_size;
};

// A band of TILE columns of the input's matrix `index`, all rows: it becomes TILE whole rows of the output.
static void transpose_band(const struct xnx_operator *op, size_t index, size_t band) {
  const struct matrices *m = XNX_STATE(op, matrices);
  const size_t matrix = index * m->rows * m->columns, left = band * TILE;
  const size_t width = m->columns - left < TILE ? m->columns - left : TILE;
  for (size_t top = 0; top < m->rows; top += TILE) {
    const size_t height = m->rows - top < TILE ? m->rows - top : TILE;
    const size_t from = matrix + top * m->columns + left, to = matrix + left * m->rows + top;
    if (m->element_size == 1) {
      transpose_tile_1(
          (const uint8_t *)op->inputs[0] + from, (uint8_t *)op->output + to, m->rows, m->columns, height, width);
    } else {
      transpose_tile_4(
          (const uint32_t *)op->inputs[0] + from, (uint32_t *)op->output + to, m->rows, m->columns, height, width);
    }
  }
}

// As many bands as make a piece of work, of all matrices one after another.
struct bands {
  const struct xnx_operator *op;
  size_t of_matrix, count, step;
};

static void transpose_bands(void *context, size_t index) {
  const struct bands *bands = context;
  const size_t first = index * bands->step, left = bands->count - first;
  const size_t end = first + (left < bands->step ? left : bands->step);
  for (size_t i = first; i < end; i++) transpose_band(bands->op, i / bands->of_matrix, i % bands->of_matrix);
}

static enum xnx_status reshape_transpose(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *in = operands->inputs[0], *out = operands->output;
  const int32_t to_channels_last = operands->node->as.to_channels_last;
  if (out->type != in->type || in->rank != 4 || !xnx_same_sizes(in, out) || !xnx_same_quantization(in, out) ||
      (to_channels_last != 0 && to_channels_last != 1)) {
    return XNX_INVALID_NODE;
  }
  const size_t pixels = (size_t)in->sizes[1] * (size_t)in->sizes[2], channels = (size_t)in->sizes[3];
  *XNX_STATE(op, matrices) = (struct matrices){
      .count = (size_t)in->sizes[0],
      .rows = to_channels_last == 1 ? channels : pixels,
      .columns = to_channels_last == 1 ? pixels : channels,
      .element_size = xnx_element_size(in)};
  return XNX_OK;
}

static enum xnx_status run_transpose(const struct xnx_operator *op) {
  const struct matrices *m = XNX_STATE(op, matrices);
  const size_t bytes = m->rows * m->columns * m->element_size;
  if (m->rows == 1 || m->columns == 1) {
    memcpy(op->output, op->inputs[0], m->count * bytes);
    return XNX_OK;
  }
  const size_t of_matrix = (m->columns + TILE - 1) / TILE, band_bytes = m->rows * TILE * m->element_size;
  struct bands bands = {op, of_matrix, m->count * of_matrix, (PIECE_BYTES + band_bytes - 1) / band_bytes};
  thr_parallelize(
      m->count * bytes < XNX_PARALLEL_ELEMENTS ? NULL : op->threads, (bands.count + bands.step - 1) / bands.step,
      transpose_bands, &bands);
  return XNX_OK;
}

const struct xnx_functions xnx_native_transpose = {
    sizeof(struct matrices), XNX_PARALLEL_ELEMENTS, reshape_transpose, NULL, NULL, run_transpose, NULL};
