// Convolutions as products of matrices whose rows are gathered through pointers, split in tiles over threads. There are
// pointers for some images of the batch; the others are so many images further.
#include <pthreadpool.h>
#include <string.h>

#include "kernels.h"

enum {
  MAX_POINTERS = 1 << 22,
  POINTED_PIXELS = 256,             // small images are taken together, so that tiles have all their rows
  MAX_MOVED = 1024,                 // pointers of a tile that are moved to other images, on the stack
  MAX_MOVED_TAPS = MAX_MOVED / 16,  // of one place: a build's max_rows is below 16
  MAX_COPIED = 1 << 26,             // bytes of the padded image
  MAX_BY_ROWS_CHANNELS = 32,        // above, a copy costs more than it saves
  CHUNK_TILES = 8,                  // tiles of rows by which a thread goes on
  PARALLEL_PRODUCTS = 1 << 19,      // below: waking the threads costs more than they save
  PARALLEL_TASKS = 8,
};

struct i8k_shape i8k_shape_of(const struct i8k_conv *conv) {
  const size_t c = conv->in_channels, height = conv->kernel_height, width = conv->kernel_width;
  struct i8k_shape shape = {
      .taps = height * width, .depth = c, .pixels = conv->batch * conv->out_height * conv->out_width};
  const size_t places = conv->out_height * conv->out_width;
  shape.images = conv->batch;
  const size_t reach_y = (conv->out_height - 1) * conv->stride_height + (height - 1) * conv->dilation_height + 1;
  const size_t reach_x = (conv->out_width - 1) * conv->stride_width + (width - 1) * conv->dilation_width + 1;
  const size_t inner_height = conv->pad_top + conv->in_height, inner_width = conv->pad_left + conv->in_width;
  const bool padded =
      conv->pad_top > 0 || conv->pad_left > 0 || reach_y > inner_height || reach_x > inner_width;
  shape.padded_height = reach_y > inner_height ? reach_y : inner_height;
  shape.padded_width = reach_x > inner_width ? reach_x : inner_width;
  shape.direct =
      !conv->depthwise && shape.taps == 1 && !padded && conv->stride_height == 1 && conv->stride_width == 1;
  shape.by_rows = !conv->depthwise && width > 1 && width <= 64 && conv->dilation_width == 1 &&
                  c <= MAX_BY_ROWS_CHANNELS && i8k_round_up(width * c, 4) < width * i8k_round_up(c, 4) &&
                  shape.padded_height <= MAX_COPIED / shape.padded_width / c / conv->batch;
  if (shape.by_rows) {
    shape.taps = height;
    shape.depth = width * c;
    shape.copied = padded;
  }
  if (!shape.direct && shape.taps <= MAX_MOVED_TAPS) {
    shape.images = i8k_min(conv->batch, (POINTED_PIXELS + places - 1) / places);
  }
  shape.unit = shape.images * places;
  return shape;
}

static bool fits(size_t a, size_t b, size_t limit) { return a <= limit / b; }

bool i8k_conv_supports(const struct i8k_conv *conv) {
  const size_t area_limit = MAX_POINTERS, bytes_limit = (size_t)1 << 40;
  if (!i8k_isa_available(conv->isa)) return false;
  if (conv->depthwise && conv->in_channels != conv->out_channels) return false;
  if (!fits(conv->kernel_height, conv->kernel_width, area_limit)) return false;
  if (!fits(conv->out_height, conv->out_width, bytes_limit)) return false;
  if (!fits(conv->out_height * conv->out_width, conv->batch, bytes_limit)) return false;
  const struct i8k_shape shape = i8k_shape_of(conv);
  if (!shape.direct && !fits(shape.unit, shape.taps, MAX_POINTERS)) return false;
  // Weights, and 8 bytes for bias and scale; rounding up adds at most 64 channels.
  const size_t depth = conv->depthwise ? 1 : i8k_round_up(shape.depth, 4);
  return fits(shape.taps + 4, depth, bytes_limit) &&
         fits((shape.taps + 4) * depth + 8, conv->out_channels + 64, bytes_limit);
}

bool i8k_conv_packs_alike(const struct i8k_conv *a, const struct i8k_conv *b) {
  const struct i8k_shape p = i8k_shape_of(a), q = i8k_shape_of(b);
  return p.taps == q.taps && p.depth == q.depth && p.by_rows == q.by_rows && a->out_channels == b->out_channels;
}

// Scratch memory: pointers, a pixel of zero points, the padded image.
static size_t pointer_bytes(const struct i8k_shape *shape) {
  return shape->direct ? 0 : i8k_round_up(shape->unit * shape->taps * sizeof(int8_t *), 64);
}

static size_t zero_bytes(const struct i8k_shape *shape, size_t channels) {
  return shape->direct || shape->by_rows ? 0 : i8k_round_up(channels + 64, 64);
}

size_t i8k_conv_scratch_size(const struct i8k_conv *conv) {
  const struct i8k_shape shape = i8k_shape_of(conv);
  const size_t image = shape.padded_height * shape.padded_width * conv->in_channels * conv->batch;
  return pointer_bytes(&shape) + zero_bytes(&shape, conv->in_channels) +
         (shape.copied ? i8k_round_up(image + 64, 64) : 0);
}

static void point_at_rows(
    const struct i8k_conv *conv, const struct i8k_shape *shape, const int8_t *image, const int8_t **pointers) {
  const size_t height = shape->copied ? shape->padded_height : conv->in_height;
  const size_t width = shape->copied ? shape->padded_width : conv->in_width;
  for (size_t n = 0; n < shape->images; n++) {
    for (size_t y = 0; y < conv->out_height; y++) {
      for (size_t x = 0; x < conv->out_width; x++) {
        for (size_t ky = 0; ky < conv->kernel_height; ky++) {
          const size_t row = n * height + y * conv->stride_height + ky * conv->dilation_height;
          *pointers++ = image + (row * width + x * conv->stride_width) * conv->in_channels;
        }
      }
    }
  }
}

// Sizes before padding are unsigned: a place before the image wraps around to one far behind it.
static void point_at_pixels(
    const struct i8k_conv *conv, const struct i8k_shape *shape, const int8_t *input, const int8_t *zero,
    const int8_t **pointers) {
  for (size_t n = 0; n < shape->images; n++) {
    const int8_t *image = input + n * conv->in_height * conv->in_width * conv->in_channels;
    for (size_t y = 0; y < conv->out_height; y++) {
      for (size_t x = 0; x < conv->out_width; x++) {
        for (size_t ky = 0; ky < conv->kernel_height; ky++) {
          const size_t iy = y * conv->stride_height + ky * conv->dilation_height - conv->pad_top;
          for (size_t kx = 0; kx < conv->kernel_width; kx++) {
            const size_t ix = x * conv->stride_width + kx * conv->dilation_width - conv->pad_left;
            const bool inside = iy < conv->in_height && ix < conv->in_width;
            *pointers++ = inside ? image + (iy * conv->in_width + ix) * conv->in_channels : zero;
          }
        }
      }
    }
  }
}

void i8k_conv_setup(const struct i8k_conv *conv, const int8_t *input, void *scratch) {
  const struct i8k_shape shape = i8k_shape_of(conv);
  if (shape.direct) return;
  const int8_t **pointers = scratch;
  int8_t *rest = (int8_t *)scratch + pointer_bytes(&shape);
  if (shape.by_rows) {
    if (shape.copied) memset(rest, conv->in_zero_point, i8k_conv_scratch_size(conv) - pointer_bytes(&shape));
    point_at_rows(conv, &shape, shape.copied ? rest : input, pointers);
  } else {
    memset(rest, conv->in_zero_point, zero_bytes(&shape, conv->in_channels));
    point_at_pixels(conv, &shape, input, rest, pointers);
  }
}

struct run {
  const struct i8k_conv *conv;
  const struct i8k_kernels *kernels;
  struct i8k_shape shape;
  struct i8k_requantize requantize;
  const char *packed;
  const int8_t *input;
  int8_t *output;
  void *scratch;
  const int8_t *zero;  // NULL where no pointer is to the zeros
  size_t unit_bytes;   // of the images that there are pointers for
  size_t chunk;        // rows
  size_t unit_chunks;  // in the places that there are pointers for
};

// The zeros around stay as setup wrote them.
static void copy_row(void *context, size_t n, size_t y) {
  const struct run *run = context;
  const struct i8k_conv *conv = run->conv;
  const size_t length = conv->in_width * conv->in_channels;
  const size_t row = n * run->shape.padded_height + conv->pad_top + y;
  int8_t *image = (int8_t *)run->scratch + pointer_bytes(&run->shape);
  memcpy(
      image + (row * run->shape.padded_width + conv->pad_left) * conv->in_channels,
      run->input + (n * conv->in_height + y) * length, length);
}

// `rows` places of a unit from `pixel` on. `moved` has space for their pointers.
static struct i8k_tile tile_at(
    const struct run *run, size_t unit, size_t pixel, size_t rows, const int8_t **moved) {
  const struct i8k_shape *shape = &run->shape;
  const int8_t *const *pointers = run->scratch;
  pointers += (pixel - unit * shape->unit) * shape->taps;
  if (unit > 0) {
    const size_t offset = unit * run->unit_bytes;
    for (size_t i = 0; i < rows * shape->taps; i++) {
      moved[i] = pointers[i] == run->zero ? pointers[i] : pointers[i] + offset;
    }
    pointers = moved;
  }
  return (struct i8k_tile){
      .rows = rows,
      .taps = shape->taps,
      .depth = shape->depth,
      .pointers = shape->direct ? NULL : pointers,
      .input = shape->direct ? run->input + pixel * shape->depth : NULL,
      .input_stride = shape->depth,
      .output = run->output + pixel * run->conv->out_channels,
      .output_stride = run->conv->out_channels,
      .requantize = &run->requantize};
}

// One chunk of rows by some blocks of channels. Tiles have nearly equal numbers of rows.
static void gemm_chunk(void *context, size_t chunk, size_t first_block, size_t block_count) {
  const struct run *run = context;
  const size_t unit = chunk / run->unit_chunks, first_of_unit = unit * run->shape.unit;
  const size_t first = first_of_unit + chunk % run->unit_chunks * run->chunk;
  const size_t end = i8k_min(run->shape.pixels, first_of_unit + run->shape.unit);
  if (first >= end) return;  // the last unit may have fewer images
  const size_t count = i8k_min(run->chunk, end - first);
  const size_t tiles = (count + run->kernels->max_rows - 1) / run->kernels->max_rows;
  const size_t block_depth = 8 + run->shape.taps * i8k_round_up(run->shape.depth, 4);
  for (size_t b = first_block; b < first_block + block_count; b++) {
    const size_t channel = b * I8K_BLOCK;
    size_t pixel = first;
    for (size_t i = 0; i < tiles; i++) {
      const int8_t *moved[MAX_MOVED];
      struct i8k_tile tile = tile_at(run, unit, pixel, count / tiles + (i < count % tiles), moved);
      tile.block = run->packed + channel * block_depth;
      tile.channels = i8k_min(I8K_BLOCK, run->conv->out_channels - channel);
      tile.output += channel;
      run->kernels->gemm(&tile);
      pixel += tile.rows;
    }
  }
}

static void depthwise_rows(void *context, size_t unit, size_t first_in_unit, size_t count) {
  const struct run *run = context;
  const size_t first = unit * run->shape.unit + first_in_unit;
  const size_t end = i8k_min(run->shape.pixels, first + count);  // the last unit may have fewer images
  const size_t most = unit > 0 ? MAX_MOVED / run->shape.taps : count;
  for (size_t pixel = first; pixel < end; pixel += most) {
    const int8_t *moved[MAX_MOVED];
    struct i8k_tile tile = tile_at(run, unit, pixel, i8k_min(most, end - pixel), moved);
    tile.block = run->packed;
    tile.channels = run->conv->out_channels;
    run->kernels->depthwise(&tile);
  }
}

void i8k_conv_run(
    const struct i8k_conv *conv, const void *packed, const int8_t *input, int8_t *output, void *scratch,
    struct pthreadpool *pool) {
  struct run run = {
      .conv = conv, .kernels = i8k_kernels_of(conv->isa), .shape = i8k_shape_of(conv), .packed = packed,
      .input = input, .output = output, .scratch = scratch,
      .requantize = {
          (float)(conv->min - conv->out_zero_point), (float)(conv->max - conv->out_zero_point),
          conv->out_zero_point}};
  const struct i8k_shape *shape = &run.shape;
  const size_t image = shape->copied ? shape->padded_height * shape->padded_width : conv->in_height * conv->in_width;
  run.unit_bytes = shape->images * image * conv->in_channels;
  if (!shape->direct && !shape->by_rows) run.zero = (const int8_t *)scratch + pointer_bytes(shape);
  const size_t pixels = shape->pixels, units = (pixels + shape->unit - 1) / shape->unit;
  const size_t depth = conv->depthwise ? 1 : shape->depth;
  const size_t per_pixel = shape->taps * depth * conv->out_channels;  // products
  if (pixels < PARALLEL_PRODUCTS / per_pixel + 1) pool = NULL;
  if (shape->copied) pthreadpool_parallelize_2d(pool, copy_row, &run, conv->batch, conv->in_height, 0);
  if (conv->depthwise) {
    pthreadpool_parallelize_2d_tile_1d(
        pool, depthwise_rows, &run, units, shape->unit, i8k_min(shape->unit, 128), 0);
    return;
  }
  run.chunk = run.kernels->max_rows * CHUNK_TILES;
  run.unit_chunks = (shape->unit + run.chunk - 1) / run.chunk;
  const size_t chunks = units * run.unit_chunks;
  const size_t blocks = i8k_round_up(conv->out_channels, I8K_BLOCK) / I8K_BLOCK;
  const size_t pieces = pool == NULL || chunks >= PARALLEL_TASKS ? 1 : i8k_min(blocks, PARALLEL_TASKS / chunks);
  pthreadpool_parallelize_2d_tile_1d(pool, gemm_chunk, &run, chunks, blocks, (blocks + pieces - 1) / pieces, 0);
}
