// The build for any processor.
#include "generic.h"

static void gemm(const struct i8k_tile *tile) { i8k_generic_gemm(tile); }
static void depthwise(const struct i8k_depthwise_tile *tile) { i8k_generic_depthwise(tile); }
static void add(const struct i8k_add *a, const struct i8k_rows *rows) { i8k_generic_add(a, rows); }

const struct i8k_kernels i8k_portable = {
    .preferred = 0,  // compiled for any processor, where XNNPACK has its own for many
    .max_rows = 8, .input_offset = 0, .interleaved = false, .gemm = gemm, .depthwise = depthwise,
    .add = add};
