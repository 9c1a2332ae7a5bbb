import TensorCore

extension Operator {
  /// Cross-correlation with zero padding, f32: input [N, C, L] or [C, L], weight [O, C / groups, k], bias [O].
  public static let conv1d = Operator(
    "aten.conv1d.default(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, SymInt[1] padding=0, "
      + "SymInt[1] dilation=1, SymInt groups=1) -> Tensor", layer: .convolution(spatial: 1), on: .conv2d,
    weight: "[O, C / groups, k]")

  /// As `conv1d`, padding by name.
  public static let conv1dPadding = Operator(
    "aten.conv1d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, str padding=\"valid\", "
      + "SymInt[1] dilation=1, SymInt groups=1) -> Tensor", layer: .convolution(spatial: 1), on: .conv2dPadding,
    weight: "[O, C / groups, k]")

  /// The gradient of a convolution with respect to its input, f32: input [N, C, L] or [C, L], weight [C, O / groups, k],
  /// bias [O].
  public static let convTranspose1d = Operator(
    "aten.conv_transpose1d.default(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, "
      + "SymInt[1] padding=0, SymInt[1] output_padding=0, SymInt groups=1, SymInt[1] dilation=1) -> Tensor",
    layer: .transposedConvolution(spatial: 1),
    on: .convTranspose2d, weight: "[C, O / groups, k]")
}
