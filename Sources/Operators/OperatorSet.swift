/// Operators by name, for readers of files: those of this library, and a user's own. Adding one here is its file in `Ops/` and
/// its line below.
public struct OperatorSet: Sendable {
  /// All operators of this library.
  public static let standard = OperatorSet(atenOperators + quantizedDecomposedOperators + fusedOperators)

  private var byName: [String: Operator] = [:]

  private init(_ operators: [Operator]) {
    byName = Dictionary(uniqueKeysWithValues: operators.map { ($0.name, $0) })
  }

  /// This set and more operators; of two with one name the new one stays.
  public func adding(_ operators: [Operator]) -> OperatorSet {
    var copy = self
    for op in operators { copy.byName[op.name] = op }
    return copy
  }

  /// All operators, by name.
  public var operators: [Operator] { byName.values.sorted { $0.name < $1.name } }

  /// The operator of that qualified name (`aten.relu.default`), or nil.
  public subscript(name: String) -> Operator? { byName[name] }

  /// The operator of that name, or one that refuses every call, so that a graph can hold what nothing here knows.
  package func resolve(_ name: String) -> Operator { byName[name] ?? Operator(unknown: name) }

  /// Operators of PyTorch's core library, f32 (data movement: any type), contiguous tensors.
  static let atenOperators: [Operator] = [
    .conv1d,
    .conv1dPadding,
    .conv2d,
    .conv2dPadding,
    .convTranspose1d,
    .convTranspose2d,
    .linear,
    .matmul,
    .bmm,
    .mm,
    .addmm,
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
    .prelu,
    .exp,
    .log,
    .sin,
    .cos,
    .erf,
    .floor,
    .ceil,
    .neg,
    .abs,
    .sqrt,
    .rsqrt,
    .square,
    .pow,
    .softmax,
    .logSoftmax,
    .scaledDotProductAttention,
    .lstm,
    .gru,
    .add,
    .sub,
    .rsub,
    .mul,
    .div,
    .minimum,
    .maximum,
    .maxPool1d,
    .maxPool2d,
    .avgPool1d,
    .avgPool2d,
    .adaptiveAvgPool1d,
    .adaptiveAvgPool2d,
    .meanDim,
    .upsampleNearest2d,
    .upsampleBilinear2d,
    .cat,
    .stack,
    .pad,
    .constantPadNd,
    .index,
    .roll,
    .slice,
    .chunk,
    .split,
    .splitWithSizes,
    .unbind,
    .view,
    .viewAs,
    .reshape,
    .reshapeAs,
    .flatten,
    .squeeze,
    .unsqueeze,
    .unflatten,
    .permute,
    .transposeInt,
    .t,
    .expand,
    .expandAs,
    .select,
    .dropout,
    .zeros,
    .ones,
    .full,
    .contiguous,
    .clone,
    .alias,
    .toDtype,
    .round,
    .bitwiseRightShift,
    .sumDim,
  ]

  /// Operators of Q/DQ graphs.
  static let quantizedDecomposedOperators: [Operator] = [
    .quantizePerTensor,
    .dequantizePerTensor,
    .quantizePerChannel,
    .dequantizePerChannel,
    .chooseQParams,
    .chooseQParamsSymmetric,
    .chooseQParamsPerToken,
    .quantizePerTensorTensor,
    .dequantizePerTensorTensor,
    .quantizePerToken,
    .dequantizePerToken,
    .observe,
  ]

  /// Operators of lowered graphs: one each for what a delegate runs as a unit; f32 and int8, channels last.
  static let fusedOperators: [Operator] = [
    .fusedConv2d,
    .fusedAddConv2d,
    .fusedCatConv2d,
    .fusedLinear,
    .fusedMatmul,
    .fusedDynamicLinear,
    .fusedDynamicConv2d,
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
