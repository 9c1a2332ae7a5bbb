// ADD, LOOKUP_TABLE and CONVERT of int8: one element out for each element in, in memory order. Results are exact: float
// operations one at a time in the order written, rounding half to even in the default floating-point mode.
#include <math.h>
#include <string.h>

#include "native/native.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Elements in pieces.
struct pieces {
  const void *context;
  void (*function)(const void *context, size_t start, size_t count);
  size_t count;
};

enum { PIECE = XNX_PARALLEL_ELEMENTS / 4 };

static void run_piece(void *context, size_t index) {
  const struct pieces *pieces = context;
  const size_t start = index * PIECE, left = pieces->count - start;
  pieces->function(pieces->context, start, left < PIECE ? left : PIECE);
}

// Calls function(context, start, length) over [0, count), in pieces on the threads when that pays.
static void run_elements(
    const void *context, void (*function)(const void *context, size_t start, size_t count), size_t count,
    struct thr_pool *threads) {
  if (count < XNX_PARALLEL_ELEMENTS) {
    function(context, 0, count);
  } else {
    struct pieces pieces = {context, function, count};
    thr_parallelize(threads, (count + PIECE - 1) / PIECE, run_piece, &pieces);
  }
}

// MARK: Tables

#if defined(__x86_64__)
// 64 elements at a time: the table's halves are two pairs of registers, the sign bit chooses. Returns the number done.
__attribute__((target("avx512vbmi,avx512bw"))) static size_t look_up_vectors(
    const uint8_t *table, const uint8_t *input, uint8_t *output, size_t count) {
  const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i x = _mm512_loadu_si512(input + i);
    const __m512i low = _mm512_permutex2var_epi8(t0, x, t1), high = _mm512_permutex2var_epi8(t2, x, t3);
    _mm512_storeu_si512(output + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high));
  }
  return i;
}

static bool has_vector_look_up(void) {
  return __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw");
}
#else
static size_t look_up_vectors(const uint8_t *table, const uint8_t *input, uint8_t *output, size_t count) {
  (void)table, (void)input, (void)output, (void)count;
  return 0;
}

static bool has_vector_look_up(void) { return false; }
#endif

struct table {
  uint8_t elements[256];  // indexed by the activation's bits
};

static void look_up(const void *context, size_t start, size_t count) {
  const struct xnx_operator *op = context;
  const uint8_t *table = XNX_STATE(op, table)->elements, *input = (const uint8_t *)op->inputs[0] + start;
  uint8_t *output = (uint8_t *)op->output + start;
  size_t i = has_vector_look_up() ? look_up_vectors(table, input, output, count) : 0;
  for (; i < count; i++) output[i] = table[input[i]];
}

static enum xnx_status run_look_up(const struct xnx_operator *op) {
  run_elements(op, look_up, op->elements, op->threads);
  return XNX_OK;
}

static enum xnx_status create_look_up(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *table = operands->inputs[1];
  if (!xnx_is_constant(table, DS_INT8, 256) || operands->output->type != DS_INT8) return XNX_INVALID_NODE;
  // The node's table begins at -128; ours is indexed by the value's bits, so it begins at 0.
  uint8_t *elements = XNX_STATE(op, table)->elements;
  memcpy(elements, (const uint8_t *)table->data + 128, 128);
  memcpy(elements + 128, table->data, 128);
  return XNX_OK;
}

const struct xnx_functions xnx_native_lookup_table = {
    sizeof(struct table), XNX_PARALLEL_ELEMENTS, xnx_reshape_unary, create_look_up, NULL, run_look_up, NULL};

// MARK: Conversions

XNX_DISPATCHED_WIDE static void quantize_elements(
    const float *restrict input, int8_t *restrict output, size_t count, struct xnx_conversion c) {
  const float min = (float)(-128 - c.zero_point), max = (float)(127 - c.zero_point);
  for (size_t i = 0; i < count; i++) {
    float x = input[i] * c.factor;
    x = x != x ? 0.0f : x;
    x = x < min ? min : x;
    x = x > max ? max : x;
    output[i] = (int8_t)(xnx_round_even(x) + c.zero_point);
  }
}

void xnx_quantize_elements(const float *input, int8_t *output, size_t count, struct xnx_conversion conversion) {
  quantize_elements(input, output, count, conversion);
}

XNX_DISPATCHED_WIDE static void dequantize_elements(
    const int8_t *restrict input, float *restrict output, size_t count, struct xnx_conversion c) {
  for (size_t i = 0; i < count; i++) output[i] = (float)(input[i] - c.zero_point) * c.factor;
}

void xnx_dequantize_elements(const int8_t *input, float *output, size_t count, struct xnx_conversion conversion) {
  dequantize_elements(input, output, count, conversion);
}

static void convert(const void *context, size_t start, size_t count) {
  const struct xnx_operator *op = context;
  const struct xnx_conversion conversion = *XNX_STATE(op, xnx_conversion);
  if (op->type == DS_FLOAT32) {
    quantize_elements((const float *)op->inputs[0] + start, (int8_t *)op->output + start, count, conversion);
  } else {
    dequantize_elements((const int8_t *)op->inputs[0] + start, (float *)op->output + start, count, conversion);
  }
}

static enum xnx_status run_convert(const struct xnx_operator *op) {
  run_elements(op, convert, op->elements, op->threads);
  return XNX_OK;
}

enum xnx_status xnx_conversion_of(const struct xnx_operands *operands, struct xnx_conversion *conversion) {
  const struct ds_value *in = operands->inputs[0], *out = operands->output;
  const bool quantizes = in->type == DS_FLOAT32;
  if (out->type != (uint32_t)(quantizes ? DS_INT8 : DS_FLOAT32)) return XNX_UNSUPPORTED;
  struct xnx_quantization q;
  const enum xnx_status status = xnx_quantization_of(quantizes ? out : in, &q);
  if (status != XNX_OK) return status;
  *conversion = (struct xnx_conversion){quantizes ? 1.0f / q.scale : q.scale, q.zero_point};
  return isnormal(conversion->factor) ? XNX_OK : XNX_UNSUPPORTED;
}

static enum xnx_status create_convert(const struct xnx_operands *operands, struct xnx_operator *op) {
  return xnx_conversion_of(operands, XNX_STATE(op, xnx_conversion));
}

const struct xnx_functions xnx_native_convert = {
    sizeof(struct xnx_conversion), XNX_PARALLEL_ELEMENTS, xnx_reshape_unary, create_convert, NULL, run_convert, NULL};

// MARK: Sums

struct sum {
  const struct i8k_add *add;
  const int8_t *a, *b;
  int8_t *output;
};

static void add_elements(const void *context, size_t start, size_t count) {
  const struct sum *sum = context;
  i8k_add_run(i8k_isa(), sum->add, sum->a + start, sum->b + start, sum->output + start, count);
}

void xnx_add_elements(
    const struct i8k_add *add, const int8_t *a, const int8_t *b, int8_t *output, size_t count,
    struct thr_pool *threads) {
  const struct sum sum = {add, a, b, output};
  run_elements(&sum, add_elements, count, threads);
}

enum xnx_status xnx_add_of(const struct xnx_quantization q[3], const struct ds_node *node, struct i8k_add *add) {
  struct xnx_bounds bounds;
  const enum xnx_status status = xnx_bounds_of(node->output_min, node->output_max, DS_INT8, &bounds);
  if (status != XNX_OK) return status;
  const float scales[3] = {q[0].scale, q[1].scale, q[2].scale};
  const int8_t zero_points[3] = {q[0].zero_point, q[1].zero_point, q[2].zero_point};
  const bool exists = i8k_add_init(add, scales, zero_points, (int8_t)bounds.min, (int8_t)bounds.max);
  return exists ? XNX_OK : XNX_UNSUPPORTED;
}

static enum xnx_status create_add(const struct xnx_operands *operands, struct xnx_operator *op) {
  struct xnx_quantization q[3];
  const enum xnx_status status = xnx_binary_quantizations(operands, q);
  return status == XNX_OK ? xnx_add_of(q, operands->node, XNX_STATE(op, i8k_add)) : status;
}

static enum xnx_status run_add(const struct xnx_operator *op) {
  xnx_add_elements(XNX_STATE(op, i8k_add), op->inputs[0], op->inputs[1], op->output, op->elements, op->threads);
  return XNX_OK;
}

const struct xnx_functions xnx_native_add = {
    sizeof(struct i8k_add), XNX_PARALLEL_ELEMENTS, xnx_reshape_binary, create_add, NULL, run_add, NULL};
