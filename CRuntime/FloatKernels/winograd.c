// Convolutions of 3 by 3 by Winograd's F(2x2, 3x3): tiles of 4 by 4 places of the input become 16 points, each point is
// a product of matrices (tiles, in) (in, out), and 16 points become 2 by 2 places of the output. Some tiles are taken
// at a time, so that their points stay in the cache: whole by one thread where there are enough of them, else all
// threads divide them by tiles and then by channels.
#include <stdatomic.h>
#include <string.h>

#include "kernels.h"

enum {
  MAX_POINT_BYTES = 1 << 19,  // of the input's points that are taken at a time
  MIN_TILES = 28, MAX_TILES = 112,
  PADDING = 16,               // elements between points, so that these do not share sets of the cache
  TASKS_PER_THREAD = 3,
  TRANSFORMED = 8,            // tiles in a piece of the input's transformation
};

struct layout {
  size_t rows, columns, tiles;  // tiles of an image in each direction; of all images
  size_t depth;                 // channels of a tile's point: whole vectors
  size_t block;                 // most tiles at a time
  size_t in_stride, out_stride, in_size, out_size;  // elements: from point to point; of all points
  size_t scratch;                                   // bytes of the zeros, as convolution.c has them
};

static struct layout layout_of(const struct f32k_conv *conv) {
  const size_t lanes = f32k_kernels_of(conv->isa)->lanes, rows = f32k_divided(conv->out.height, 2);
  const size_t columns = f32k_divided(conv->out.width, 2);
  struct layout l = {
      .rows = rows, .columns = columns, .tiles = conv->in.batch * rows * columns,
      .depth = f32k_round_up(conv->in.channels, lanes)};
  const size_t most = MAX_POINT_BYTES / (F32K_POINTS * sizeof(float)) / l.depth;
  l.block = f32k_min(l.tiles, f32k_min(MAX_TILES, f32k_max(MIN_TILES, most)));
  l.in_stride = l.block * l.depth + PADDING;
  l.out_stride = l.block * 2 * lanes + PADDING;
  l.in_size = F32K_POINTS * l.in_stride;
  l.out_size = F32K_POINTS * l.out_stride;
  l.scratch = f32k_round_up((conv->in.channels + F32K_MAX_LANES) * sizeof(float), 64);
  return l;
}

// For each thread the points of input and output.
size_t f32k_winograd_scratch_size(const struct f32k_conv *conv, size_t threads) {
  const struct layout l = layout_of(conv);
  return threads * ((l.in_size + l.out_size) * sizeof(float) + sizeof(atomic_flag) + 64) + 64;
}

struct run {
  const struct f32k_conv *conv;
  const struct f32k_kernels *kernels;
  struct layout layout;
  const float *packed, *input, *zeros;
  float *output, *points;  // points: of the slots
  atomic_flag *slots;      // one for each thread: whether it is taken
  size_t packed_outputs;
  size_t blocks;           // of nearly equal numbers of tiles
  size_t first, count;     // the tiles that all threads are at
};

// There are as many slots as threads, so that one is free.
static size_t take_slot(struct run *run) {
  size_t slot = 0;
  while (atomic_flag_test_and_set_explicit(&run->slots[slot], memory_order_acquire)) slot++;
  return slot;
}

static void leave_slot(struct run *run, size_t slot) {
  atomic_flag_clear_explicit(&run->slots[slot], memory_order_release);
}

static float *in_points(const struct run *run, size_t slot) {
  return run->points + slot * (run->layout.in_size + run->layout.out_size);
}

static float *out_points(const struct run *run, size_t slot) { return in_points(run, slot) + run->layout.in_size; }

// `count` tiles from `first` on, to the points of tile `index` and the following.
static void transform(const struct run *run, size_t first, size_t count, size_t index, float *points) {
  const struct f32k_conv *conv = run->conv;
  const struct layout *l = &run->layout;
  struct f32k_winograd task = {.channels = conv->in.channels, .point_stride = l->in_stride};
  for (size_t tile = first; tile < first + count; tile++, index++) {
    const size_t image = tile / (l->rows * l->columns), of_image = tile % (l->rows * l->columns);
    const size_t top = of_image / l->columns * 2 - conv->window.pad_top;
    const size_t left = of_image % l->columns * 2 - conv->window.pad_left;
    const float *pixels = run->input + image * conv->in.height * conv->in.width * conv->in.channels;
    for (size_t i = 0; i < F32K_POINTS; i++) {
      const size_t y = top + i / 4, x = left + i % 4;
      const bool inside = y < conv->in.height && x < conv->in.width;
      task.places[i] = inside ? pixels + (y * conv->in.width + x) * conv->in.channels : run->zeros;
    }
    task.points = points + index * l->depth;
    run->kernels->winograd_input(&task);
  }
}

static void write_tiles(
    const struct run *run, size_t first, size_t count, size_t channel, size_t channels, const float *points) {
  const struct f32k_conv *conv = run->conv;
  const struct layout *l = &run->layout;
  const size_t width = f32k_round_up(channels, run->kernels->lanes);
  struct f32k_winograd task = {
      .channels = channels, .point_stride = l->out_stride, .bias = run->packed + channel, .min = conv->min,
      .max = conv->max};
  for (size_t i = 0; i < count; i++) {
    const size_t row = (first + i) / l->columns, image = row / l->rows;
    const size_t top = row % l->rows * 2, left = (first + i) % l->columns * 2;
    for (size_t j = 0; j < 4; j++) {
      const size_t y = top + j / 2, x = left + j % 2;
      const bool inside = y < conv->out.height && x < conv->out.width;
      const size_t pixel = (image * conv->out.height + y) * conv->out.width + x;
      task.outputs[j] = inside ? run->output + pixel * conv->out.channels + channel : NULL;
    }
    task.points = (float *)points + i * width;
    run->kernels->winograd_output(&task);
  }
}

// One block of output channels of some tiles.
static void multiply(
    const struct run *run, size_t first, size_t count, size_t channel, const float *inputs, float *outputs) {
  static const float no_bias[F32K_MAX_BLOCK] = {0};
  const struct layout *l = &run->layout;
  const size_t depth = run->conv->in.channels, lanes = run->kernels->lanes;
  const size_t channels = f32k_min(2 * lanes, run->conv->out.channels - channel);
  const size_t width = f32k_round_up(channels, lanes), tiles = f32k_divided(count, run->kernels->max_rows);
  struct f32k_tile tile = {
      .taps = 1, .depth = depth, .input_stride = l->depth, .bias = no_bias,
      .weights = run->packed + run->packed_outputs + channel * F32K_POINTS * depth, .channels = width,
      .output_stride = width, .min = -__builtin_inff(), .max = __builtin_inff()};
  const size_t least = count / tiles, more = count % tiles;  // so many tiles have a row more
  for (size_t p = 0; p < F32K_POINTS; p++, tile.weights += depth * width) {
    tile.input = inputs + p * l->in_stride;
    tile.output = outputs + p * l->out_stride;
    for (size_t i = 0; i < tiles; i++) {
      tile.rows = least + (i < more);
      tile.ahead = i + 1 == tiles ? depth * width : 0;  // the next point; of the last the next block
      run->kernels->gemm(&tile);
      tile.input += tile.rows * l->depth;
      tile.output += tile.rows * width;
    }
  }
  write_tiles(run, first, count, channel, channels, outputs);
}

// Some tiles, from input to output.
static void whole_block(void *context, size_t index) {
  struct run *run = context;
  const struct layout *l = &run->layout;
  const size_t first = l->tiles * index / run->blocks, count = l->tiles * (index + 1) / run->blocks - first;
  const size_t slot = take_slot(run);
  transform(run, first, count, 0, in_points(run, slot));
  for (size_t channel = 0; channel < run->conv->out.channels; channel += 2 * run->kernels->lanes) {
    multiply(run, first, count, channel, in_points(run, slot), out_points(run, slot));
  }
  leave_slot(run, slot);
}

static void transform_piece(void *context, size_t index) {
  const struct run *run = context;
  const size_t start = index * TRANSFORMED, count = f32k_min(TRANSFORMED, run->count - start);
  transform(run, run->first + start, count, start, in_points(run, 0));
}

static void multiply_piece(void *context, size_t index) {
  struct run *run = context;
  const size_t slot = take_slot(run);
  multiply(run, run->first, run->count, index * 2 * run->kernels->lanes, in_points(run, 0), out_points(run, slot));
  leave_slot(run, slot);
}

void f32k_winograd_run(
    const struct f32k_conv *conv, const float *packed, const float *input, float *output, void *scratch,
    struct thr_pool *threads) {
  const size_t lanes = f32k_kernels_of(conv->isa)->lanes, count = thr_pool_count(threads);
  struct run run = {
      .conv = conv, .kernels = f32k_kernels_of(conv->isa), .layout = layout_of(conv), .packed = packed,
      .input = input, .zeros = scratch, .output = output,
      .packed_outputs = conv->shape.packed_outputs};
  const struct layout *l = &run.layout;
  run.points = (float *)scratch + l->scratch / sizeof(float);
  run.slots = (atomic_flag *)(void *)(run.points + count * (l->in_size + l->out_size));
  for (size_t i = 0; i < count; i++) atomic_flag_clear_explicit(&run.slots[i], memory_order_relaxed);
  const size_t channel_blocks = f32k_divided(conv->out.channels, 2 * lanes), tasks = TASKS_PER_THREAD * count;
  run.blocks = f32k_divided(l->tiles, l->block);
  if (count > 1 && run.blocks < tasks) {
    const size_t least = channel_blocks < 2 * count ? run.kernels->max_rows : MIN_TILES;
    run.blocks = f32k_max(run.blocks, f32k_min(f32k_divided(l->tiles, least), tasks));
  }
  if (count == 1 || run.blocks >= tasks || channel_blocks < 2 * count) {
    thr_parallelize(threads, run.blocks, whole_block, &run);
    return;
  }
  run.blocks = f32k_divided(l->tiles, l->block);
  for (size_t i = 0; i < run.blocks; i++) {
    run.first = l->tiles * i / run.blocks;
    run.count = l->tiles * (i + 1) / run.blocks - run.first;
    thr_parallelize(threads, f32k_divided(run.count, TRANSFORMED), transform_piece, &run);
    thr_parallelize(threads, channel_blocks, multiply_piece, &run);
  }
}
