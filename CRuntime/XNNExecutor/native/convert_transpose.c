// CONVERT_TRANSPOSE: f32 (N, C, H, W) to int8 (N, H, W, C), and int8 back to f32, each element read and written once.
#include "native/native.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// A block of places by channels waits, as int8, where it is brought from one order into the other.
enum { PLACES = 512, CHANNELS = 16 };

struct state {
  size_t images, places, channels;
  struct xnx_conversion conversion;
};

// Blocks that a thread takes at once.
struct blocks {
  const struct xnx_operator *op;
  size_t of_image, count, step;
};

#if defined(__x86_64__)
#define XNX_AVX512 __attribute__((target("avx512f,avx512bw")))

// What quantize_elements computes, in the lowest byte; the other bytes repeat its sign.
XNX_AVX512 static inline __m512i quanta(__mmask16 places, const float *input, const struct state *c) {
  const int32_t zero_point = c->conversion.zero_point;
  const __m512 min = _mm512_set1_ps((float)(-128 - zero_point)), max = _mm512_set1_ps((float)(127 - zero_point));
  const __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(places, input), _mm512_set1_ps(c->conversion.factor));
  const __mmask16 numbers = _mm512_cmp_ps_mask(x, x, _CMP_ORD_Q);
  const __m512 bounded = _mm512_min_ps(_mm512_maskz_max_ps(numbers, x, min), max);
  return _mm512_add_epi32(_mm512_cvtps_epi32(bounded), _mm512_set1_epi32(zero_point));
}

// Three channels, 16 places at a time: a vector of four bytes for each place loses each fourth.
XNX_AVX512 static void quantize_three_vectors(
    const struct state *c, const float *input, int8_t *output, size_t count) {
  const __m512i three = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const __m512i together = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
  for (size_t i = 0; i < count; i += 16) {
    const size_t places = count - i < 16 ? count - i : 16;
    const __mmask16 mask = (__mmask16)(0xFFFF >> (16 - places));
    // An input comes from far away: a processor that follows one place in memory well is slower to follow three.
    for (size_t plane = 0; plane < 3; plane++) {
      _mm_prefetch((const char *)(input + plane * c->places + i) + 512, _MM_HINT_T0);
    }
    const __m512i first = _mm512_and_si512(quanta(mask, input + i, c), _mm512_set1_epi32(0xFF));
    const __m512i second = _mm512_and_si512(quanta(mask, input + c->places + i, c), _mm512_set1_epi32(0xFF));
    const __m512i third = quanta(mask, input + 2 * c->places + i, c);
    const __m512i all = _mm512_or_si512(
        _mm512_or_si512(first, _mm512_slli_epi32(second, 8)), _mm512_slli_epi32(third, 16));
    const __m512i bytes = _mm512_permutexvar_epi32(together, _mm512_shuffle_epi8(all, three));
    _mm512_mask_storeu_epi8(output + 3 * i, ~UINT64_C(0) >> (64 - 3 * places), bytes);
  }
}

static bool has_three_vectors(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}
#else
static void quantize_three_vectors(const struct state *c, const float *input, int8_t *output, size_t count) {
  (void)c, (void)input, (void)output, (void)count;
}

static bool has_three_vectors(void) { return false; }
#endif

// `input` and `output` are at the block's first place of its image.
static void quantize_block(const struct state *c, const float *input, int8_t *output, size_t places) {
  if (c->channels == 1) {
    xnx_quantize_elements(input, output, places, c->conversion);
    return;
  }
  if (c->channels == 3 && has_three_vectors()) {
    quantize_three_vectors(c, input, output, places);
    return;
  }
  int8_t block[CHANNELS][PLACES];
  for (size_t first = 0; first < c->channels; first += CHANNELS) {
    const size_t channels = c->channels - first < CHANNELS ? c->channels - first : CHANNELS;
    for (size_t i = 0; i < channels; i++) {
      xnx_quantize_elements(input + (first + i) * c->places, block[i], places, c->conversion);
    }
    for (size_t x = 0; x < places; x++) {
      for (size_t i = 0; i < channels; i++) output[x * c->channels + first + i] = block[i][x];
    }
  }
}

static void dequantize_block(const struct state *c, const int8_t *input, float *output, size_t places) {
  if (c->channels == 1) {
    xnx_dequantize_elements(input, output, places, c->conversion);
    return;
  }
  int8_t block[CHANNELS][PLACES];
  for (size_t first = 0; first < c->channels; first += CHANNELS) {
    const size_t channels = c->channels - first < CHANNELS ? c->channels - first : CHANNELS;
    for (size_t x = 0; x < places; x++) {
      for (size_t i = 0; i < channels; i++) block[i][x] = input[x * c->channels + first + i];
    }
    for (size_t i = 0; i < channels; i++) {
      xnx_dequantize_elements(block[i], output + (first + i) * c->places, places, c->conversion);
    }
  }
}

static void convert_blocks(void *context, size_t index) {
  const struct blocks *blocks = context;
  const struct xnx_operator *op = blocks->op;
  const struct state *c = XNX_STATE(op, state);
  const size_t first = index * blocks->step, left = blocks->count - first;
  const size_t end = first + (left < blocks->step ? left : blocks->step);
  for (size_t i = first; i < end; i++) {
    const size_t image = i / blocks->of_image * c->places * c->channels, place = i % blocks->of_image * PLACES;
    const size_t places = c->places - place < PLACES ? c->places - place : PLACES;
    const size_t planar = image + place, interleaved = image + place * c->channels;
    if (op->type == DS_FLOAT32) {
      quantize_block(c, (const float *)op->inputs[0] + planar, (int8_t *)op->output + interleaved, places);
    } else {
      dequantize_block(c, (const int8_t *)op->inputs[0] + interleaved, (float *)op->output + planar, places);
    }
  }
}

static enum xnx_status run(const struct xnx_operator *op) {
  const struct state *c = XNX_STATE(op, state);
  const size_t elements = PLACES * c->channels, of_image = (c->places + PLACES - 1) / PLACES;
  struct blocks blocks = {op, of_image, c->images * of_image, (XNX_PARALLEL_ELEMENTS / 4 + elements - 1) / elements};
  thr_parallelize(
      c->images * c->places * c->channels < XNX_PARALLEL_ELEMENTS ? NULL : op->threads,
      (blocks.count + blocks.step - 1) / blocks.step, convert_blocks, &blocks);
  return XNX_OK;
}

static enum xnx_status reshape(const struct xnx_operands *operands, struct xnx_operator *op) {
  const struct ds_value *in = operands->inputs[0], *out = operands->output;
  const int32_t to_channels_last = operands->node->as.to_channels_last;
  if (in->rank != 4 || !xnx_same_sizes(in, out) || (to_channels_last != 0 && to_channels_last != 1)) {
    return XNX_INVALID_NODE;
  }
  if (in->type != (uint32_t)(to_channels_last == 1 ? DS_FLOAT32 : DS_INT8)) return XNX_UNSUPPORTED;
  struct state *c = XNX_STATE(op, state);
  c->images = (size_t)in->sizes[0];
  c->places = (size_t)in->sizes[1] * (size_t)in->sizes[2];
  c->channels = (size_t)in->sizes[3];
  if (c->places == 1) {  // the same in both orders
    c->places = c->channels;
    c->channels = 1;
  }
  return XNX_OK;
}

static enum xnx_status create(const struct xnx_operands *operands, struct xnx_operator *op) {
  return xnx_conversion_of(operands, &XNX_STATE(op, state)->conversion);
}

const struct xnx_functions xnx_native_convert_transpose = {
    sizeof(struct state), XNX_PARALLEL_ELEMENTS, reshape, create, NULL, run, NULL};
