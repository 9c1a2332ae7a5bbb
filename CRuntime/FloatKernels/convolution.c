// Convolutions as products of matrices whose rows are found through pointers made on the way, and depthwise ones row by
// row, split over threads.
#include <string.h>

#include "kernels.h"

enum {
  MAX_POINTERS = 2048,             // of a chunk, on the stack
  MAX_COPIES = 8192,               // elements under the windows of a tile, likewise
  MAX_LINE_CHANNELS = 7,
  MAX_INPUT_ROWS = 512,            // under the window of depthwise convolutions, likewise
  MIN_WINOGRAD_CHANNELS = 16,
  MAX_WINOGRAD_CHANNELS = 4096,    // so that the points of the least number of tiles stay small
  CHUNK_TILES = 8,                 // tiles of rows by which a thread goes on
  PARALLEL_PRODUCTS = 1 << 18,     // below: handing out the work costs more than the threads save
  PARALLEL_DEPTHWISE = 1 << 15,    // the same
  PARALLEL_TASKS = 16,             // so many at least, where there are tiles and blocks for them
  ROW_PIECE_BLOCKS = 4,            // of one row of outputs
  SHARED_WEIGHTS = 1 << 19,        // bytes: more are divided, since they are not in a core's cache
};

// Of valid groups and windows.
static struct f32k_shape shape_of(const struct f32k_conv *conv) {
  const struct ds_image *in = &conv->in, *out = &conv->out;
  const struct ds_window *w = &conv->window;
  const size_t groups = conv->depthwise ? 1 : w->groups, lanes = f32k_kernels_of(conv->isa)->lanes;
  struct f32k_shape shape = {
      .groups = groups, .outputs = out->channels / groups,
      .packed_outputs = f32k_round_up(out->channels / groups, lanes), .taps = w->kernel_height * w->kernel_width,
      .depth = in->channels / groups, .pixels = in->batch * out->height * out->width};
  if (conv->depthwise) return shape;
  const bool dense = w->stride_height == 1 && w->stride_width == 1;
  shape.direct = dense && shape.taps == 1 && w->pad_top == 0 && w->pad_left == 0 && out->height == in->height &&
                 out->width == in->width;
  shape.winograd = dense && groups == 1 && w->kernel_height == 3 && w->kernel_width == 3 && w->dilation_height == 1 &&
                   w->dilation_width == 1 && in->channels >= MIN_WINOGRAD_CHANNELS &&
                   in->channels <= MAX_WINOGRAD_CHANNELS && out->channels >= MIN_WINOGRAD_CHANNELS;
  shape.by_lines = shape.taps > 1 && groups == 1 && w->dilation_width == 1 && shape.depth <= MAX_LINE_CHANNELS &&
                   shape.taps <= MAX_COPIES / F32K_MAX_ROWS / shape.depth &&
                   w->kernel_height <= MAX_POINTERS / F32K_MAX_ROWS;
  return shape;
}

static bool fits(size_t a, size_t b, size_t limit) { return a <= limit / b; }

bool f32k_conv_plan(struct f32k_conv *conv) {
  const struct ds_image *in = &conv->in, *out = &conv->out;
  const struct ds_window *w = &conv->window;
  const size_t limit = (size_t)1 << 38;
  if (!f32k_isa_available(conv->isa)) return false;
  if (conv->depthwise && in->channels != out->channels) return false;
  if (!conv->depthwise && (w->groups == 0 || in->channels % w->groups != 0 || out->channels % w->groups != 0)) {
    return false;
  }
  if (!fits(w->kernel_height, w->kernel_width, MAX_POINTERS)) return false;
  if (conv->depthwise &&
      !fits((size_t)w->kernel_height + 1, f32k_max(w->stride_height, w->dilation_height), MAX_INPUT_ROWS)) {
    return false;
  }
  if (!fits(out->height, out->width, limit)) return false;
  if (!fits(out->height * out->width, in->batch, limit)) return false;
  if (!fits(in->width, in->channels, limit)) return false;
  conv->shape = shape_of(conv);
  const struct f32k_shape *shape = &conv->shape;
  const size_t taps = shape->winograd ? F32K_POINTS : shape->taps, depth = conv->depthwise ? 1 : shape->depth;
  return fits(taps + 1, depth, limit) && fits((taps + 1) * depth, shape->groups * shape->packed_outputs, limit);
}

bool f32k_conv_packs_alike(const struct f32k_conv *a, const struct f32k_conv *b) {
  const struct f32k_shape *p = &a->shape, *q = &b->shape;
  return a->isa == b->isa && a->depthwise == b->depthwise && p->groups == q->groups && p->taps == q->taps &&
         p->depth == q->depth && p->outputs == q->outputs && p->winograd == q->winograd;
}

// Zeros: a place of the input, for depthwise a row of it.
static size_t zero_bytes(const struct f32k_conv *conv) {
  const size_t elements = conv->depthwise ? conv->in.width * conv->in.channels : conv->in.channels;
  return f32k_round_up((elements + F32K_MAX_LANES) * sizeof(float), 64);
}

size_t f32k_conv_scratch_size(const struct f32k_conv *conv, size_t threads) {
  if (conv->shape.direct || conv->shape.by_lines) return 0;
  return zero_bytes(conv) + (conv->shape.winograd ? f32k_winograd_scratch_size(conv, threads) : 0);
}

void f32k_conv_setup(const struct f32k_conv *conv, void *scratch) {
  if (f32k_conv_scratch_size(conv, 1) > 0) memset(scratch, 0, zero_bytes(conv));
}

struct run {
  const struct f32k_conv *conv;
  const struct f32k_kernels *kernels;
  const struct f32k_shape *shape;
  const float *packed, *input, *zeros;
  float *output;
  size_t chunks;                                      // of nearly equal numbers of rows
  size_t group_blocks, blocks, piece_blocks, pieces;  // of output channels: in a group; in all; in a piece; pieces
};

// A place of the output, and the place of the image that the first tap of its window is on, before padding: unsigned,
// so that a place before the image wraps around to one far behind it.
struct place {
  size_t out_y, out_x;
  const float *image;
  size_t y, x;
};

static struct place place_at(const struct run *run, size_t pixel) {
  const struct f32k_conv *conv = run->conv;
  const size_t row = pixel / conv->out.width, image = row / conv->out.height;
  const size_t out_y = row % conv->out.height, out_x = pixel % conv->out.width;
  return (struct place){
      out_y, out_x, run->input + image * conv->in.height * conv->in.width * conv->in.channels,
      out_y * conv->window.stride_height - conv->window.pad_top,
      out_x * conv->window.stride_width - conv->window.pad_left};
}

static void advance(const struct f32k_conv *conv, struct place *place) {
  place->x += conv->window.stride_width;
  if (++place->out_x < conv->out.width) return;
  place->out_x = 0;
  place->x = -(size_t)conv->window.pad_left;
  place->y += conv->window.stride_height;
  if (++place->out_y < conv->out.height) return;
  place->out_y = 0;
  place->y = -(size_t)conv->window.pad_top;
  place->image += conv->in.height * conv->in.width * conv->in.channels;
}

static void point(const struct run *run, size_t pixel, size_t rows, const float **pointers) {
  const struct f32k_conv *conv = run->conv;
  struct place place = place_at(run, pixel);
  for (size_t i = 0; i < rows; i++, advance(conv, &place)) {
    for (size_t ky = 0; ky < conv->window.kernel_height; ky++) {
      const size_t y = place.y + ky * conv->window.dilation_height;
      for (size_t kx = 0; kx < conv->window.kernel_width; kx++) {
        const size_t x = place.x + kx * conv->window.dilation_width;
        const bool inside = y < conv->in.height && x < conv->in.width;
        *pointers++ = inside ? place.image + (y * conv->in.width + x) * conv->in.channels : run->zeros;
      }
    }
  }
}

// The elements under a window, with zeros around the image.
static void gather(const struct f32k_conv *conv, struct place place, float *to) {
  const size_t c = conv->in.channels, width = conv->window.kernel_width;
  size_t first = 0, end = width;  // of the columns inside
  while (first < end && place.x + first >= conv->in.width) first++;
  while (end > first && place.x + end - 1 >= conv->in.width) end--;
  memset(to, 0, conv->window.kernel_height * width * c * sizeof *to);
  for (size_t ky = 0; ky < conv->window.kernel_height && first < end; ky++) {
    const size_t y = place.y + ky * conv->window.dilation_height;
    if (y >= conv->in.height) continue;
    const float *from = place.image + (y * conv->in.width + place.x + first) * c;
    memcpy(to + (ky * width + first) * c, from, (end - first) * c * sizeof *to);
  }
}

struct rows {
  size_t first, end;
};

// The columns of the output whose windows are inside the image.
static struct rows inner_columns(const struct f32k_conv *conv) {
  const struct ds_window *w = &conv->window;
  const size_t width = w->pad_left + conv->in.width, first = f32k_divided(w->pad_left, w->stride_width);
  const size_t end = width < w->kernel_width ? 0 : (width - w->kernel_width) / w->stride_width + 1;
  return (struct rows){first, f32k_min(end, conv->out.width)};
}

// Pointers to the lines of `rows` windows from `place` on, which goes on to the next; those that are not whole inside
// the image are copied.
static void point_at_lines(
    const struct f32k_conv *conv, struct rows inner, struct place *place, size_t rows, const float **pointers,
    float *copies) {
  const size_t c = conv->in.channels, height = conv->window.kernel_height, length = conv->window.kernel_width * c;
  const size_t line = conv->window.dilation_height * conv->in.width * c, step = conv->window.stride_width * c;
  const size_t reach = (height - 1) * conv->window.dilation_height + 1;
  while (rows > 0) {
    const bool inside = place->y < conv->in.height && reach <= conv->in.height - place->y &&
                        place->out_x >= inner.first && place->out_x < inner.end;
    if (!inside) {
      gather(conv, *place, copies);
      for (size_t ky = 0; ky < height; ky++, copies += length) *pointers++ = copies;
      advance(conv, place);
      rows--;
      continue;
    }
    const size_t count = f32k_min(rows, inner.end - place->out_x);
    const float *first = place->image + (place->y * conv->in.width + place->x) * c;
    for (size_t i = 0; i < count; i++, first += step) {
      for (size_t ky = 0; ky < height; ky++) *pointers++ = first + ky * line;
    }
    rows -= count;
    place->out_x += count - 1;
    place->x += (count - 1) * conv->window.stride_width;
    advance(conv, place);
  }
}

static struct rows part(size_t count, size_t parts, size_t index) {
  return (struct rows){count * index / parts, count * (index + 1) / parts};
}

// The tile without its rows and the blocks from `block` on.
static struct f32k_tile tile_of(const struct run *run, size_t pixel, size_t block) {
  const struct f32k_shape *shape = run->shape;
  const size_t group = block / run->group_blocks, channel = block % run->group_blocks * 2 * run->kernels->lanes;
  const size_t packed = group * shape->packed_outputs + channel;
  return (struct f32k_tile){
      .taps = shape->taps,
      .depth = shape->depth,
      .offset = group * shape->depth,
      .input = run->input + pixel * run->conv->in.channels + group * shape->depth,
      .input_stride = run->conv->in.channels,
      .bias = run->packed + packed,
      .weights = run->packed + shape->groups * shape->packed_outputs + packed * shape->taps * shape->depth,
      .channels = f32k_min(2 * run->kernels->lanes, shape->outputs - channel),
      .output = run->output + pixel * run->conv->out.channels + group * shape->outputs + channel,
      .output_stride = run->conv->out.channels,
      .min = run->conv->min,
      .max = run->conv->max};
}

// Blocks of channels by tiles of rows, through pointers or directly.
static void multiply(const struct run *run, struct rows rows, struct rows blocks) {
  const struct f32k_shape *shape = run->shape;
  const float *pointers[MAX_POINTERS];
  if (!shape->direct) point(run, rows.first, rows.end - rows.first, pointers);
  const size_t count = rows.end - rows.first, tiles = f32k_divided(count, run->kernels->max_rows);
  const size_t least = count / tiles, more = count % tiles;  // so many tiles have a row more
  for (size_t b = blocks.first; b < blocks.end; b++) {
    struct f32k_tile tile = tile_of(run, rows.first, b);
    if (!shape->direct) tile.pointers = pointers;
    for (size_t i = 0; i < tiles; i++) {
      tile.rows = least + (i < more);
      // The next block follows, and by then it is wanted.
      if (i + 1 == tiles && b + 1 < blocks.end) {
        tile.ahead = f32k_round_up(tile.channels, run->kernels->lanes) * shape->taps * shape->depth;
      }
      run->kernels->gemm(&tile);
      tile.output += tile.rows * tile.output_stride;
      if (shape->direct) {
        tile.input += tile.rows * tile.input_stride;
      } else {
        tile.pointers += tile.rows * shape->taps;
      }
    }
  }
}

static void multiply_lines(const struct run *run, struct rows rows, struct rows blocks) {
  const float *pointers[MAX_POINTERS];
  float copies[MAX_COPIES];
  const struct rows inner = inner_columns(run->conv);
  struct place place = place_at(run, rows.first);
  size_t count;
  for (size_t pixel = rows.first; pixel < rows.end; pixel += count) {
    count = f32k_min(run->kernels->max_rows, rows.end - pixel);
    point_at_lines(run->conv, inner, &place, count, pointers, copies);
    for (size_t b = blocks.first; b < blocks.end; b++) {
      struct f32k_tile tile = tile_of(run, pixel, b);
      tile.rows = count;
      tile.pointers = pointers;
      tile.taps = run->conv->window.kernel_height;
      tile.depth = run->conv->window.kernel_width * run->shape->depth;
      run->kernels->gemm(&tile);
    }
  }
}

// One chunk of rows by one piece of the channels, as many rows at a time as there are pointers for.
static void gemm_chunk(void *context, size_t index) {
  const struct run *run = context;
  const struct rows rows = part(run->shape->pixels, run->chunks, index / run->pieces);
  const size_t first = index % run->pieces * run->piece_blocks;
  const struct rows blocks = {first, f32k_min(run->blocks, first + run->piece_blocks)};
  const size_t most = run->shape->direct ? rows.end - rows.first : MAX_POINTERS / run->shape->taps;
  if (run->shape->by_lines) {
    multiply_lines(run, rows, blocks);
    return;
  }
  for (size_t row = rows.first; row < rows.end; row += most) {
    multiply(run, (struct rows){row, f32k_min(rows.end, row + most)}, blocks);
  }
}

static void row_piece(void *context, size_t index) {
  const struct run *run = context;
  const size_t first = index * run->piece_blocks, width = 2 * run->kernels->lanes;
  struct f32k_tile tile = tile_of(run, 0, first);
  tile.rows = 1;
  tile.channels = f32k_min(run->piece_blocks * width, run->shape->outputs - first * width);
  run->kernels->gemm(&tile);
}

static void run_gemm(struct run *run, struct thr_pool *threads) {
  const size_t count = thr_pool_count(threads);
  const size_t tiles = f32k_divided(run->shape->pixels, run->kernels->max_rows);
  run->group_blocks = f32k_divided(run->shape->outputs, 2 * run->kernels->lanes);
  run->blocks = run->shape->groups * run->group_blocks;
  if (run->shape->direct && run->shape->pixels == 1 && run->shape->groups == 1) {
    run->piece_blocks = count == 1 ? run->blocks : ROW_PIECE_BLOCKS;
    thr_parallelize(threads, f32k_divided(run->blocks, run->piece_blocks), row_piece, run);
    return;
  }
  const size_t weights = run->shape->taps * run->shape->depth * run->conv->out.channels * sizeof(float);
  run->chunks = f32k_divided(tiles, CHUNK_TILES);
  run->pieces = 1;
  if (count > 1 && run->chunks < PARALLEL_TASKS) {
    if (weights <= SHARED_WEIGHTS || run->blocks < count) {
      run->chunks = f32k_min(f32k_round_up(PARALLEL_TASKS, count), tiles);
    } else {
      run->pieces = f32k_min(run->blocks, f32k_divided(PARALLEL_TASKS, run->chunks));
    }
  }
  run->piece_blocks = f32k_divided(run->blocks, run->pieces);
  run->pieces = f32k_divided(run->blocks, run->piece_blocks);
  thr_parallelize(threads, run->chunks * run->pieces, gemm_chunk, run);
}

// Some rows of the output, two at a time: that saves reading the input twice, and gives more sums at a time.
static void depthwise_chunk(void *context, size_t index) {
  const struct run *run = context;
  const struct f32k_conv *conv = run->conv;
  const struct ds_window *w = &conv->window;
  const struct rows rows = part(conv->in.batch * conv->out.height, run->chunks, index);
  size_t count;
  for (size_t row = rows.first; row < rows.end; row += count) {
    const size_t image = row / conv->out.height, y = row % conv->out.height;
    count = row + 1 < rows.end && y + 1 < conv->out.height ? 2 : 1;
    const float *inputs[MAX_INPUT_ROWS];
    const size_t height = (count - 1) * w->stride_height + (w->kernel_height - 1) * w->dilation_height + 1;
    const size_t length = conv->in.width * conv->in.channels;
    for (size_t i = 0; i < height; i++) {
      const size_t in = y * w->stride_height + i - w->pad_top;
      inputs[i] = in < conv->in.height ? run->input + (image * conv->in.height + in) * length : run->zeros;
    }
    const struct f32k_rows task = {
        .rows = inputs, .count = count, .conv = conv, .packed = run->packed,
        .output = run->output + row * conv->out.width * conv->out.channels};
    run->kernels->depthwise(&task);
  }
}

static void run_depthwise(struct run *run, struct thr_pool *threads) {
  const size_t rows = run->conv->in.batch * run->conv->out.height;
  run->chunks = threads == NULL ? 1 : f32k_min(f32k_divided(rows, 2), PARALLEL_TASKS);
  thr_parallelize(threads, run->chunks, depthwise_chunk, run);
}

void f32k_conv_run(
    const struct f32k_conv *conv, const void *packed, const float *input, float *output, void *scratch,
    struct thr_pool *threads) {
  struct run run = {
      .conv = conv, .kernels = f32k_kernels_of(conv->isa), .shape = &conv->shape, .packed = packed,
      .input = input, .zeros = scratch, .output = output};
  const size_t per_pixel = run.shape->taps * (conv->depthwise ? 1 : run.shape->depth) * conv->out.channels;  // products
  const size_t least = conv->depthwise ? PARALLEL_DEPTHWISE : PARALLEL_PRODUCTS;
  if (run.shape->pixels < least / per_pixel + 1) threads = NULL;
  if (conv->depthwise) {
    run_depthwise(&run, threads);
  } else if (run.shape->winograd) {
    f32k_winograd_run(conv, packed, input, output, scratch, threads);
  } else {
    run_gemm(&run, threads);
  }
}
