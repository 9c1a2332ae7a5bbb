import TensorCore

// int8 operators that are computed on real numbers inside: see `Operator.init(int8Form:of:)`.

extension Operator {
  package static let fusedSoftmax = Operator(
    int8Form: "fused.softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor", of: .softmax)

  package static let fusedLayerNorm = Operator(
    int8Form: "fused.layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None, "
      + "float eps=1e-05, bool cudnn_enable=True) -> Tensor", of: .layerNorm)

  package static let fusedUpsampleNearest2d = Operator(
    int8Form: "fused.upsample_nearest2d(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
    of: .upsampleNearest2d)

  package static let fusedUpsampleBilinear2d = Operator(
    int8Form: "fused.upsample_bilinear2d(Tensor input, SymInt[]? output_size, bool align_corners, "
      + "float[]? scale_factors) -> Tensor", of: .upsampleBilinear2d)
}
