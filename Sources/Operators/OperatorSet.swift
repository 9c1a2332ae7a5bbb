/// All operators, by name. Adding one is its file in `Ops/` and its line here.
public enum OperatorSet {
  public static let all: [Operator] =
    atenOperators + quantizedDecomposedOperators + fusedOperators

  private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

  /// The operator of that qualified name (`aten.relu.default`), or nil.
  public static func named(_ name: String) -> Operator? { byName[name] }

  /// Operators of PyTorch's core library, f32 (data movement: any type), contiguous tensors.
  static let atenOperators: [Operator] = [
    .conv1d,
    .conv1dPadding,
    .conv2d,
    .conv2dPadding,
    .convTranspose2d,
    .linear,
    .matmul,
    .bmm,
    .mm,
    .batchNorm,
    .layerNorm,
    .groupNorm,
    .embedding,
    .relu,
    .relu6,
    .hardtanh,
    .clamp,
    .clampMin,
    .sigmoid,
    .tanh,
    .hardswish,
    .hardsigmoid,
    .silu,
    .gelu,
    .elu,
    .leakyRelu,
    .exp,
    .neg,
    .abs,
    .sqrt,
    .rsqrt,
    .square,
    .pow,
    .softmax,
    .add,
    .sub,
    .mul,
    .div,
    .maxPool2d,
    .avgPool2d,
    .adaptiveAvgPool2d,
    .meanDim,
    .upsampleNearest2d,
    .upsampleBilinear2d,
    .cat,
    .pad,
    .constantPadNd,
    .slice,
    .view,
    .reshape,
    .flatten,
    .squeeze,
    .unsqueeze,
    .permute,
    .transposeInt,
    .expand,
    .select,
    .dropout,
    .contiguous,
    .clone,
    .alias,
  ]

  /// Operators of Q/DQ graphs.
  static let quantizedDecomposedOperators: [Operator] = [
    .quantizePerTensor,
    .dequantizePerTensor,
    .quantizePerChannel,
    .dequantizePerChannel,
    .observe,
  ]

  /// Operators of lowered graphs: one each for what a delegate runs as a unit; f32 and int8, channels last.
  static let fusedOperators: [Operator] = [
    .fusedConv2d,
    .fusedLinear,
    .fusedMatmul,
    .fusedAdd,
    .fusedSub,
    .fusedMul,
    .fusedMaxPool2d,
    .fusedAvgPool2d,
    .fusedIm2col,
    .fusedClamp,
    .fusedPad,
    .fusedCat,
    .fusedSlice,
    .fusedLUT,
    .fusedSoftmax,
    .fusedLayerNorm,
    .fusedUpsampleNearest2d,
    .fusedUpsampleBilinear2d,
    .fusedExpand,
    .fusedQuantize,
    .fusedDequantize,
    .fusedView,
    .toDimOrderCopy,
  ]
}
