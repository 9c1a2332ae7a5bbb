import TensorCore

extension Operator {
  /// Maximum over windows, f32 or int8, [N, C, L] or [C, L]; see `maxPool2d`.
  public static let maxPool1d = Operator(
    "aten.max_pool1d.default(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=0, int[1] dilation=1, "
      + "bool ceil_mode=False) -> Tensor", traits: [.choosesElements, .sharesQuantization], on: .maxPool2d)

  /// Mean over windows, f32, [N, C, L] or [C, L]; see `avgPool2d`.
  public static let avgPool1d = Operator(
    "aten.avg_pool1d.default(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=0, "
      + "bool ceil_mode=False, bool count_include_pad=True) -> Tensor", traits: .ownQuantization, on: .avgPool2d)

  /// Mean over the windows that divide each line into `output_size`, f32, [N, C, L] or [C, L]; see `adaptiveAvgPool2d`.
  public static let adaptiveAvgPool1d = Operator(
    "aten.adaptive_avg_pool1d.default(Tensor self, int[1] output_size) -> Tensor", on: .adaptiveAvgPool2d)
}
