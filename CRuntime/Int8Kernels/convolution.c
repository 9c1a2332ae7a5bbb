// Convolutions as products of matrices whose rows are gathered through pointers, split in tiles over threads. There are
// pointers for some images of the batch; the others are so many images further.
#include <string.h>

#include "kernels.h"

enum {
  MAX_POINTERS = 1 << 22,
  POINTED_PIXELS = 256,             // small images are taken together, so that tiles have all their rows
  MAX_ROWS = 16,                    // a build's max_rows is below
  MAX_MOVED = 1024,                 // pointers of a tile that are moved to other images, on the stack
  MAX_MOVED_TAPS = MAX_MOVED / MAX_ROWS,  // of one place
  MAX_COPIED = 1 << 26,             // bytes of the padded image
  BY_ROWS_CHANNELS = 16,            // up to here, rows of a window are worth the copy for longer taps alone
  MAX_BY_ROWS_CHANNELS = 32,        // up to here, where single pixels would be rounded up to more
  CHUNK_TILES = 8,                  // tiles of rows by which a thread goes on
  PARALLEL_PRODUCTS = 1 << 20,      // below: handing out the work costs more than the threads save
  PARALLEL_TASKS = 16,              // so many at least, where there are tiles and blocks for them
  SHARED_WEIGHTS = 1 << 19,         // bytes: more are divided, since they are not in a core's cache
};

// Of valid groups and windows.
static struct i8k_shape shape_of(const struct i8k_conv *conv) {
  const struct ds_image *in = &conv->in, *out = &conv->out;
  const struct ds_window *w = &conv->window;
  const size_t groups = conv->depthwise ? 1 : w->groups, places = out->height * out->width;
  const size_t height = w->kernel_height, width = w->kernel_width;
  struct i8k_shape shape = {
      .groups = groups, .outputs = out->channels, .taps = height * width, .depth = in->channels,
      .pixels = in->batch * places, .images = in->batch, .unit = in->batch * places};
  if (groups > 1) {
    shape.outputs /= groups;
    shape.depth /= groups;
  }
  const size_t c = shape.depth;
  shape.direct = !conv->depthwise && shape.taps == 1 && w->pad_top == 0 && w->pad_left == 0 && w->stride_height == 1 &&
                 w->stride_width == 1 && out->height == in->height && out->width == in->width;
  if (shape.direct || conv->depthwise) return shape;
  const size_t reach_y = (out->height - 1) * w->stride_height + (height - 1) * w->dilation_height + 1;
  const size_t reach_x = (out->width - 1) * w->stride_width + (width - 1) * w->dilation_width + 1;
  const size_t inner_height = w->pad_top + in->height, inner_width = w->pad_left + in->width;
  const bool padded = w->pad_top > 0 || w->pad_left > 0 || reach_y > inner_height || reach_x > inner_width;
  shape.padded_height = reach_y > inner_height ? reach_y : inner_height;
  shape.padded_width = reach_x > inner_width ? reach_x : inner_width;
  shape.by_rows = groups == 1 && width > 1 && width <= 64 && w->dilation_width == 1 &&
                  (c <= BY_ROWS_CHANNELS ||
                   (c <= MAX_BY_ROWS_CHANNELS && i8k_round_up(width * c, 4) < width * i8k_round_up(c, 4))) &&
                  shape.padded_height <= MAX_COPIED / shape.padded_width / c / in->batch;
  if (shape.by_rows) {
    shape.taps = height;
    shape.depth = width * c;
    shape.copied = padded;
  }
  if (shape.taps <= MAX_MOVED_TAPS) shape.images = i8k_min(in->batch, i8k_divided(POINTED_PIXELS, places));
  shape.unit = shape.images * places;
  return shape;
}

static bool fits(size_t a, size_t b, size_t limit) { return a <= limit / b; }

bool i8k_conv_plan(struct i8k_conv *conv) {
  const struct ds_image *in = &conv->in, *out = &conv->out;
  const struct ds_window *w = &conv->window;
  const size_t area_limit = MAX_POINTERS, bytes_limit = (size_t)1 << 40;
  if (!i8k_isa_available(conv->isa)) return false;
  if (conv->depthwise && in->channels != out->channels) return false;
  if (!conv->depthwise && (w->groups == 0 || in->channels % w->groups != 0 || out->channels % w->groups != 0)) {
    return false;
  }
  if (!fits(w->kernel_height, w->kernel_width, area_limit)) return false;
  if (!fits(out->height, out->width, bytes_limit)) return false;
  if (!fits(out->height * out->width, in->batch, bytes_limit)) return false;
  const struct i8k_shape shape = shape_of(conv);
  if (conv->depthwise) {
    if (!fits(in->width, in->channels, bytes_limit)) return false;
  } else if (!shape.direct && !fits(shape.unit, shape.taps, MAX_POINTERS)) {
    return false;
  }
  conv->shape = shape;
  // Weights, and 8 bytes for bias and scale; rounding up adds at most 64 channels.
  const size_t depth = conv->depthwise ? 1 : i8k_round_up(shape.depth, 4);
  return fits(shape.taps + 4, depth, bytes_limit) &&
         fits((shape.taps + 4) * depth + 8, out->channels + 64 * shape.groups, bytes_limit);
}

bool i8k_conv_packs_alike(const struct i8k_conv *a, const struct i8k_conv *b) {
  const struct i8k_shape *p = &a->shape, *q = &b->shape;
  return p->taps == q->taps && p->depth == q->depth && p->by_rows == q->by_rows && p->groups == q->groups &&
         a->window.kernel_height == b->window.kernel_height && a->out.channels == b->out.channels;
}

// Scratch memory: pointers, a pixel of zero points, the padded image; depthwise a row of zero points alone.
static size_t pointer_bytes(const struct i8k_shape *shape) {
  return shape->direct ? 0 : i8k_round_up(shape->unit * shape->taps * sizeof(int8_t *), 64);
}

static size_t zero_bytes(const struct i8k_shape *shape, size_t channels) {
  return shape->direct || shape->by_rows ? 0 : i8k_round_up(channels + 64, 64);
}

size_t i8k_conv_scratch_size(const struct i8k_conv *conv) {
  if (conv->depthwise) return i8k_round_up(conv->in.width * conv->in.channels + 64, 64);
  const struct i8k_shape *shape = &conv->shape;
  const size_t image = shape->padded_height * shape->padded_width * conv->in.channels * conv->in.batch;
  return pointer_bytes(shape) + zero_bytes(shape, conv->in.channels) +
         (shape->copied ? i8k_round_up(image + 64, 64) : 0);
}

static void point_at_rows(const struct i8k_conv *conv, const int8_t *image, const int8_t **pointers) {
  const struct i8k_shape *shape = &conv->shape;
  const struct ds_window *w = &conv->window;
  const size_t height = shape->copied ? shape->padded_height : conv->in.height;
  const size_t width = shape->copied ? shape->padded_width : conv->in.width;
  for (size_t n = 0; n < shape->images; n++) {
    for (size_t y = 0; y < conv->out.height; y++) {
      for (size_t x = 0; x < conv->out.width; x++) {
        for (size_t ky = 0; ky < w->kernel_height; ky++) {
          const size_t row = n * height + y * w->stride_height + ky * w->dilation_height;
          *pointers++ = image + (row * width + x * w->stride_width) * conv->in.channels;
        }
      }
    }
  }
}

// Sizes before padding are unsigned: a place before the image wraps around to one far behind it.
static void point_at_pixels(
    const struct i8k_conv *conv, const int8_t *input, const int8_t *zero, const int8_t **pointers) {
  const struct ds_image *in = &conv->in;
  const struct ds_window *w = &conv->window;
  for (size_t n = 0; n < conv->shape.images; n++) {
    const int8_t *image = input + n * in->height * in->width * in->channels;
    for (size_t y = 0; y < conv->out.height; y++) {
      for (size_t x = 0; x < conv->out.width; x++) {
        for (size_t ky = 0; ky < w->kernel_height; ky++) {
          const size_t iy = y * w->stride_height + ky * w->dilation_height - w->pad_top;
          for (size_t kx = 0; kx < w->kernel_width; kx++) {
            const size_t ix = x * w->stride_width + kx * w->dilation_width - w->pad_left;
            const bool inside = iy < in->height && ix < in->width;
            *pointers++ = inside ? image + (iy * in->width + ix) * in->channels : zero;
          }
        }
      }
    }
  }
}

void i8k_conv_setup(const struct i8k_conv *conv, const int8_t *input, void *scratch) {
  if (conv->depthwise) {
    memset(scratch, conv->in_zero_point, i8k_conv_scratch_size(conv));
    return;
  }
  const struct i8k_shape *shape = &conv->shape;
  if (shape->direct) return;
  const int8_t **pointers = scratch;
  int8_t *rest = (int8_t *)scratch + pointer_bytes(shape);
  if (shape->by_rows) {
    if (shape->copied) memset(rest, conv->in_zero_point, i8k_conv_scratch_size(conv) - pointer_bytes(shape));
    point_at_rows(conv, shape->copied ? rest : input, pointers);
  } else {
    memset(rest, conv->in_zero_point, zero_bytes(shape, conv->in.channels));
    point_at_pixels(conv, input, rest, pointers);
  }
}

struct run {
  const struct i8k_conv *conv;
  const struct i8k_kernels *kernels;
  const struct i8k_shape *shape;
  struct i8k_requantize requantize;
  const char *packed;
  const int8_t *input;
  int8_t *output;
  size_t output_stride;
  int32_t *sums;  // in place of `output`, or NULL
  size_t sums_stride;
  const struct i8k_add *add;  // of the output and `other`, or NULL
  const int8_t *other;
  void *scratch;
  const int8_t *zero;  // NULL where no pointer is to the zeros
  size_t unit_bytes;   // of the images that there are pointers for
  size_t unit_chunks;  // of nearly equal numbers of rows, in the places that there are pointers for
  size_t group_blocks;                  // of output channels, in a group
  size_t blocks, piece_blocks, pieces;  // in all; in a piece; pieces
};

// The zeros around stay as setup wrote them.
static void copy_row(void *context, size_t index) {
  const struct run *run = context;
  const struct i8k_conv *conv = run->conv;
  const size_t n = index / conv->in.height, y = index % conv->in.height;
  const size_t length = conv->in.width * conv->in.channels;
  const size_t row = n * run->shape->padded_height + conv->window.pad_top + y;
  int8_t *image = (int8_t *)run->scratch + pointer_bytes(run->shape);
  memcpy(
      image + (row * run->shape->padded_width + conv->window.pad_left) * conv->in.channels,
      run->input + (n * conv->in.height + y) * length, length);
}

static struct i8k_tile tile_of(const struct run *run) {
  return (struct i8k_tile){
      .taps = run->shape->taps,
      .depth = run->shape->depth,
      .input_stride = run->conv->in.channels,
      .output_stride = run->output_stride,
      .sums_stride = run->sums_stride,
      .requantize = &run->requantize};
}

// Sets the tile to `rows` places of a unit from `pixel` on. `moved` has space for their pointers.
static void place_tile(
    const struct run *run, size_t unit, size_t pixel, size_t rows, const int8_t **moved, struct i8k_tile *tile) {
  const struct i8k_shape *shape = run->shape;
  tile->rows = rows;
  if (shape->direct) {
    tile->input = run->input + pixel * run->conv->in.channels;
  } else {
    const int8_t *const *pointers = run->scratch;
    pointers += (pixel - unit * shape->unit) * shape->taps;
    if (unit > 0) {
      const size_t offset = unit * run->unit_bytes;
      for (size_t i = 0; i < rows * shape->taps; i++) {
        moved[i] = pointers[i] == run->zero ? pointers[i] : pointers[i] + offset;
      }
      pointers = moved;
    }
    tile->pointers = pointers;
  }
  if (run->sums != NULL) {
    tile->sums = run->sums + pixel * run->sums_stride;
  } else {
    tile->output = run->output + pixel * run->output_stride;
  }
}

struct rows {
  size_t unit, first, count;
};

static struct rows rows_of(const struct run *run, size_t chunk) {
  const size_t unit = chunk / run->unit_chunks, part = chunk % run->unit_chunks;
  const size_t first_of_unit = unit * run->shape->unit;
  const size_t first = first_of_unit + run->shape->unit * part / run->unit_chunks;
  const size_t end = first_of_unit + run->shape->unit * (part + 1) / run->unit_chunks;
  const size_t last = i8k_min(end, run->shape->pixels);  // the last unit may have fewer images
  return (struct rows){unit, first, last > first ? last - first : 0};
}

// Rows of a chunk that wait in the first-level cache to be added, neighbouring blocks side by side.
struct products {
  size_t stride, channels;
  int8_t bytes[CHUNK_TILES * MAX_ROWS * I8K_ADDED];
};

static size_t channel_of(const struct run *run, size_t block) {
  const size_t group = run->shape->groups == 1 ? 0 : block / run->group_blocks;
  return group * run->shape->outputs + (block - group * run->group_blocks) * I8K_BLOCK;
}

// One block of channels by some rows, in `tiles` of nearly equal numbers of rows. `products` is NULL but for sums.
static void gemm_block(
    const struct run *run, size_t block, const struct rows *rows, size_t tiles, struct products *products) {
  const struct i8k_shape *shape = run->shape;
  const size_t channel = channel_of(run, block), group = shape->groups == 1 ? 0 : block / run->group_blocks;
  const size_t of_group = channel - group * shape->outputs;
  const size_t packed_channel = group * i8k_round_up(shape->outputs, I8K_HALF_BLOCK) + of_group;
  const size_t height = tiles == 1 ? rows->count : rows->count / tiles, higher = rows->count - height * tiles;
  const size_t input_channel = group * shape->depth;
  struct i8k_tile tile = tile_of(run);
  tile.block = run->packed + packed_channel * (8 + shape->taps * i8k_round_up(shape->depth, 4));
  tile.channels = i8k_min(I8K_BLOCK, shape->outputs - of_group);
  tile.offset = input_channel;
  if (products != NULL) tile.output_stride = products->stride;
  size_t pixel = rows->first;
  for (size_t i = 0; i < tiles; i++, pixel += tile.rows) {
    const int8_t *moved[MAX_MOVED];
    place_tile(run, rows->unit, pixel, height + (i < higher), moved, &tile);
    if (shape->direct) tile.input += input_channel;
    if (tile.sums != NULL) {
      tile.sums += channel;
    } else if (products != NULL) {
      tile.output = products->bytes + (pixel - rows->first) * products->stride + products->channels;
    } else {
      tile.output += channel;
    }
    run->kernels->gemm(&tile);
  }
}

// Blocks of channels by the rows of a chunk.
static void gemm_blocks(const struct run *run, size_t begin, size_t end, const struct rows *rows, size_t tiles) {
  if (run->add == NULL) {
    for (size_t b = begin; b < end; b++) gemm_block(run, b, rows, tiles, NULL);
    return;
  }
  const size_t channels = run->conv->out.channels;
  struct products products;
  products.stride = i8k_min(I8K_ADDED, channels);
  products.channels = 0;
  size_t first = channel_of(run, begin);
  for (size_t b = begin; b < end; b++) {
    gemm_block(run, b, rows, tiles, &products);
    const size_t next = b + 1 < run->blocks ? channel_of(run, b + 1) : channels;
    products.channels = next - first;
    if (products.channels + I8K_BLOCK <= I8K_ADDED && b + 1 < end) continue;
    const size_t place = rows->first * channels + first;
    struct i8k_rows sum = {
        .a = products.bytes, .a_stride = products.stride, .b = run->other + place, .b_stride = channels,
        .output = run->output + place, .output_stride = channels, .count = rows->count, .length = products.channels};
    if (products.stride == sum.length && channels == sum.length) {  // one row after another
      sum.length *= sum.count;
      sum.count = 1;
    }
    run->kernels->add(run->add, &sum);
    products.channels = 0;
    first = next;
  }
}

// One chunk of rows by one piece of the channels.
static void gemm_chunk(void *context, size_t index) {
  const struct run *run = context;
  const struct rows rows = rows_of(run, index / run->pieces);
  const size_t tiles = i8k_divided(rows.count, run->kernels->max_rows);
  const size_t first = index % run->pieces * run->piece_blocks;
  if (tiles > 0) gemm_blocks(run, first, i8k_min(run->blocks, first + run->piece_blocks), &rows, tiles);
}

// Chunks for some threads: each thread gets the same part of every image, so that it finds most of an operator's input
// in its core's cache.
static size_t chunks_for(const struct run *run, size_t units, size_t chunks, size_t most, size_t threads) {
  if (threads == 1 || units * chunks >= PARALLEL_TASKS) return chunks;
  const size_t divided = i8k_divided(most, i8k_divided(most, i8k_divided(PARALLEL_TASKS, units)));
  return i8k_min(i8k_round_up(divided, threads), run->shape->unit);
}

static void run_gemm(struct run *run, size_t units, struct thr_pool *threads) {
  run->group_blocks = i8k_divided(run->shape->outputs, I8K_BLOCK);
  run->blocks = run->shape->groups * run->group_blocks;
  const struct rows rows = {0, 0, run->shape->pixels};
  if (units == 1 && rows.count <= run->kernels->max_rows && threads == NULL) {
    gemm_blocks(run, 0, run->blocks, &rows, 1);
    return;
  }
  const size_t tiles = i8k_divided(run->shape->unit, run->kernels->max_rows);
  const size_t weights = run->shape->taps * run->shape->depth * run->conv->out.channels;
  run->unit_chunks = i8k_divided(tiles, CHUNK_TILES);
  if (weights <= SHARED_WEIGHTS) {
    run->unit_chunks = chunks_for(run, units, run->unit_chunks, tiles, thr_pool_count(threads));
  }
  const size_t chunks = units * run->unit_chunks;
  run->pieces =
      threads == NULL || chunks >= PARALLEL_TASKS ? 1 : i8k_min(run->blocks, i8k_divided(PARALLEL_TASKS, chunks));
  run->piece_blocks = i8k_divided(run->blocks, run->pieces);
  run->pieces = i8k_divided(run->blocks, run->piece_blocks);
  thr_parallelize(threads, chunks * run->pieces, gemm_chunk, run);
}

static struct i8k_requantize requantize_of(const struct i8k_conv *conv) {
  return (struct i8k_requantize){
      (float)(conv->min - conv->out_zero_point), (float)(conv->max - conv->out_zero_point), conv->out_zero_point,
      conv->min, conv->max};
}

// Whether the build has a kernel for the whole of it: a linear layer of batch 1.
static bool is_row(const struct i8k_conv *conv) {
  return conv->shape.direct && conv->shape.pixels == 1 && conv->shape.groups == 1 && conv->out.channels >= I8K_BLOCK &&
         i8k_kernels_of(conv->isa)->row != NULL;
}

// In a microsecond model what comes before the products costs as much as they do.
static void run_row(const struct i8k_conv *conv, const void *packed, const int8_t *input, int8_t *output) {
  const struct i8k_requantize requantize = requantize_of(conv);
  const struct i8k_tile tile = {
      .rows = 1, .taps = 1, .depth = conv->in.channels, .input = input, .block = packed, .channels = conv->out.channels,
      .output = output, .requantize = &requantize};
  i8k_kernels_of(conv->isa)->row(&tile);
}

// For the convolution's work, but that of depthwise ones, which decide themselves.
static struct thr_pool *threads_for(const struct i8k_conv *conv, struct thr_pool *threads) {
  if (threads == NULL || conv->depthwise) return threads;
  const size_t per_pixel = conv->shape.taps * conv->shape.depth * conv->out.channels;  // products
  return conv->shape.pixels < PARALLEL_PRODUCTS / per_pixel + 1 ? NULL : threads;
}

// With the output, input and scratch memory set.
static void run_conv(const struct i8k_conv *conv, struct run run, struct thr_pool *threads) {
  run.conv = conv;
  run.kernels = i8k_kernels_of(conv->isa);
  run.shape = &conv->shape;
  run.output_stride = conv->out_stride > 0 ? conv->out_stride : conv->out.channels;
  run.requantize = requantize_of(conv);
  if (conv->depthwise) {
    i8k_depthwise_run(conv, &run.requantize, run.packed, run.input, run.output, run.scratch, threads);
    return;
  }
  const struct i8k_shape *shape = run.shape;
  const size_t image = shape->copied ? shape->padded_height * shape->padded_width : conv->in.height * conv->in.width;
  run.unit_bytes = shape->images * image * conv->in.channels;
  if (!shape->direct && !shape->by_rows) run.zero = (const int8_t *)run.scratch + pointer_bytes(shape);
  if (shape->copied) thr_parallelize(threads, conv->in.batch * conv->in.height, copy_row, &run);
  run_gemm(&run, shape->pixels == shape->unit ? 1 : i8k_divided(shape->pixels, shape->unit), threads);
}

void i8k_conv_run(
    const struct i8k_conv *conv, const void *packed, const int8_t *input, int8_t *output, void *scratch,
    struct thr_pool *threads) {
  threads = threads_for(conv, threads);
  if (threads == NULL && is_row(conv)) {
    run_row(conv, packed, input, output);
    return;
  }
  run_conv(conv, (struct run){.packed = packed, .input = input, .output = output, .scratch = scratch}, threads);
}

void i8k_conv_run_sum(
    const struct i8k_conv *conv, const void *packed, const int8_t *input, const struct i8k_add *add,
    const int8_t *other, int8_t *output, void *scratch, struct thr_pool *threads) {
  const struct run run = {
      .packed = packed, .input = input, .output = output, .add = add, .other = other, .scratch = scratch};
  run_conv(conv, run, threads_for(conv, threads));
}

void i8k_conv_sums(
    const struct i8k_conv *conv, const void *packed, const int8_t *input, int32_t *sums, size_t stride, void *scratch,
    struct thr_pool *threads) {
  const struct run run = {
      .packed = packed, .input = input, .sums = sums, .sums_stride = stride, .scratch = scratch};
  run_conv(conv, run, threads_for(conv, threads));
}
