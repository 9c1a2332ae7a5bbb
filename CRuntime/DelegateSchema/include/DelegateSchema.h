// The nodes of a delegated subgraph, as plain data: the one description that the ahead-of-time half writes and the
// executor reads. It names no XNNPACK type.
//
// Tensors are referred to by their index in the program's value table. Activations are channels last (N, H, W, C);
// filters are (O, H, W, I). Everything here is fixed-width, so that an array of nodes can be stored as bytes.
#ifndef DELEGATE_SCHEMA_H
#define DELEGATE_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

// clang-format off
// X(NAME, name as printed): one line per kind of node.
#define DS_NODE_KINDS(X)                                   \
  X(CONVOLUTION_2D,         "convolution_2d")              \
  X(FULLY_CONNECTED,        "fully_connected")             \
  X(ADD,                    "add")                         \
  X(SUBTRACT,               "subtract")                    \
  X(MULTIPLY,               "multiply")                    \
  X(MAX_POOLING_2D,         "max_pooling_2d")              \
  X(AVERAGE_POOLING_2D,     "average_pooling_2d")          \
  X(GLOBAL_AVERAGE_POOLING, "global_average_pooling_2d")   \
  X(CLAMP,                  "clamp")                       \
  X(CONSTANT_PAD,           "constant_pad")                \
  X(CONCATENATE,            "concatenate")                 \
  X(LOOKUP_TABLE,           "lookup_table")                \
  X(CONVERT,                "convert")                     \
  X(TRANSPOSE,              "transpose")                   \
  X(DYNAMIC_LINEAR,         "dynamic_linear")              \
  X(CONVERT_TRANSPOSE,      "convert_transpose")           \
  X(CONVOLUTION_2D_ADD,     "convolution_2d_add")          \
  X(CONVOLUTION_2D_CAT,     "convolution_2d_cat")
// clang-format on

#define DS_KIND_MEMBER(name, text) DS_##name,
enum ds_kind { DS_NODE_KINDS(DS_KIND_MEMBER) DS_KIND_COUNT };
#undef DS_KIND_MEMBER

enum { DS_MAX_INPUTS = 8, DS_NO_VALUE = -1 };

// Window of a convolution or pooling, for nodes and kernels alike; padding may differ on each side.
struct ds_window {
  uint32_t kernel_height, kernel_width;
  uint32_t stride_height, stride_width;
  uint32_t dilation_height, dilation_width;
  uint32_t pad_top, pad_right, pad_bottom, pad_left;
  uint32_t groups;  // convolution only
};

// Of a product of matrices. A macro, to be used in initializers.
#define DS_WINDOW_1X1                                                                                               \
  {.kernel_height = 1, .kernel_width = 1, .stride_height = 1, .stride_width = 1, .dilation_height = 1,             \
   .dilation_width = 1, .groups = 1}

// Sizes of an activation that a window goes over; not part of a node.
struct ds_image {
  size_t batch, height, width, channels;
};

// A convolution (not depthwise) whose output, int8 with these parameters and bounds in quanta, is added to a tensor.
struct ds_convolution_add {
  struct ds_window window;
  float scale;
  int32_t zero_point;
  float min, max;
};

// A convolution (int8) into channels of its output, from `start` on; the others stay, or come from another tensor.
struct ds_convolution_cat {
  struct ds_window window;
  int32_t start;
};

// Elements added before and after each of the four dimensions N, H, W, C; filled with `value` (a quantum for int8).
struct ds_padding {
  int32_t before[4], after[4];
  float value;
};

struct ds_node {
  uint32_t kind;  // enum ds_kind
  uint32_t input_count;
  // CONVOLUTION_2D, FULLY_CONNECTED: activation, filter (constant), bias (constant; int32 for int8) or DS_NO_VALUE.
  // DYNAMIC_LINEAR: activation (f32, quantized row by row), filter (constant int8), bias (constant f32) or DS_NO_VALUE.
  // CONVOLUTION_2D_ADD: the other operand of the sum, then as CONVOLUTION_2D.
  // CONVOLUTION_2D_CAT: as CONVOLUTION_2D, then what has the other channels or DS_NO_VALUE; setup takes that one first.
  // LOOKUP_TABLE: activation, table of 256 int8 (constant), indexed by the activation's value + 128.
  // CONCATENATE: the parts, in order, along C.
  int32_t inputs[DS_MAX_INPUTS];
  int32_t output;
  // Bounds of the output: reals for f32 (infinite: none), quanta for int8 ([-128, 127]: none).
  float output_min, output_max;
  union {
    struct ds_window window;
    struct ds_convolution_add add;
    struct ds_convolution_cat cat;
    struct ds_padding padding;
    // TRANSPOSE and CONVERT_TRANSPOSE: 1 from (N, C, H, W) to (N, H, W, C), 0 the other way.
    int32_t to_channels_last;
  } as;
};

_Static_assert(sizeof(struct ds_window) == 44, "ds_window has no padding");
_Static_assert(sizeof(struct ds_padding) == 36, "ds_padding has no padding");
_Static_assert(sizeof(struct ds_convolution_add) == 60, "ds_convolution_add has no padding");
_Static_assert(sizeof(struct ds_node) == 52 + 60, "ds_node has no padding");

enum ds_type { DS_FLOAT32, DS_INT8, DS_INT32 };

// A tensor of the program, as the executor needs it. Lengths in elements.
struct ds_value {
  uint32_t type;  // enum ds_type
  uint32_t rank;  // 1 to 4
  // Memory order: (N, H, W, C) for activations, (O, H, W, I) for filters. Transpositions alone read or write
  // (N, C, H, W), and their sizes are given in the order (N, H, W, C) too.
  int32_t sizes[4];
  // real = (q - zero_point) * scale[0], or * scale[channel] when scale_count > 1. Zero scales for float values.
  uint32_t scale_count;
  int32_t zero_point;
  const float *scale;  // must outlive the create call
  const void *data;    // constants only, else NULL; must outlive the create call (tables: the delegate)
};

#define DS_KIND_NAME(name, text) text,
static inline const char *ds_kind_name(uint32_t kind) {
  static const char *const names[] = {DS_NODE_KINDS(DS_KIND_NAME)};
  return kind < DS_KIND_COUNT ? names[kind] : "unknown";
}
#undef DS_KIND_NAME

#endif  // DELEGATE_SCHEMA_H
