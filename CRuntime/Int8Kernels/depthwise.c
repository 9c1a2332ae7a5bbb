// Depthwise convolutions in rows of the output by blocks of channels, over threads.
#include "kernels.h"

enum {
  CHUNK_ROWS = 16,              // rows of the output that a thread computes for a block: the image stays in the cache
  PARALLEL_PRODUCTS = 1 << 16,  // below: handing out the work costs more than the threads save
  PARALLEL_TASKS = 16,          // so many at least, where there are rows and blocks for them
};

struct run {
  const struct i8k_conv *conv;
  const struct i8k_kernels *kernels;
  const struct i8k_requantize *requantize;
  const void *packed;
  const int8_t *input, *zero;
  int8_t *output;
  size_t chunk_rows, chunks;      // of an image
  size_t piece_channels, pieces;  // of the channels
};

static void run_task(void *context, size_t index) {
  const struct run *run = context;
  const struct i8k_conv *conv = run->conv;
  const size_t piece = index % run->pieces, chunk = index / run->pieces % run->chunks;
  const size_t image = index / run->pieces / run->chunks;
  const struct i8k_depthwise_tile tile = {
      .conv = conv,
      .requantize = run->requantize,
      .packed = run->packed,
      .input = run->input + image * conv->in.height * conv->in.width * conv->in.channels,
      .zero = run->zero,
      .output = run->output + image * conv->out.height * conv->out.width * conv->out.channels,
      .first_row = chunk * run->chunk_rows,
      .end_row = i8k_min((chunk + 1) * run->chunk_rows, conv->out.height),
      .first_channel = piece * run->piece_channels,
      .end_channel = i8k_min((piece + 1) * run->piece_channels, conv->out.channels)};
  run->kernels->depthwise(&tile);
}

void i8k_depthwise_run(
    const struct i8k_conv *conv, const struct i8k_requantize *requantize, const void *packed, const int8_t *input,
    int8_t *output, const int8_t *zero, struct thr_pool *threads) {
  const size_t blocks = i8k_divided(conv->out.channels, I8K_DEPTHWISE_BLOCK);
  struct run run = {
      .conv = conv, .kernels = i8k_kernels_of(conv->isa), .requantize = requantize, .packed = packed, .input = input,
      .output = output, .zero = zero, .chunk_rows = CHUNK_ROWS};
  size_t piece_blocks = blocks;
  const size_t products = conv->shape.taps * conv->out.channels;
  if (conv->shape.pixels < PARALLEL_PRODUCTS / products + 1) threads = NULL;
  if (thr_pool_count(threads) > 1) {
    // Rows first: a thread then finds most of its input in its core's cache.
    const size_t wanted = i8k_divided(PARALLEL_TASKS, conv->in.batch);
    const size_t most = i8k_round_up(i8k_divided(conv->out.height, wanted), I8K_DEPTHWISE_ROWS);
    run.chunk_rows = i8k_min(run.chunk_rows, most);
    const size_t chunks = i8k_divided(conv->out.height, run.chunk_rows) * conv->in.batch;
    if (chunks < PARALLEL_TASKS) piece_blocks = i8k_divided(blocks, i8k_divided(PARALLEL_TASKS, chunks));
  }
  run.chunks = i8k_divided(conv->out.height, run.chunk_rows);
  run.piece_channels = piece_blocks * I8K_DEPTHWISE_BLOCK;
  run.pieces = i8k_divided(blocks, piece_blocks);
  thr_parallelize(threads, conv->in.batch * run.chunks * run.pieces, run_task, &run);
}
