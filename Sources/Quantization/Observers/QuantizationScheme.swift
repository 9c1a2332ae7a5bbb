/// How a real range is mapped to integers, by PyTorch's `torch.qscheme` names.
public enum QuantizationScheme: String, Hashable, Sendable, CaseIterable, Codable {
  /// One scale and one zero point for the whole tensor; the integer range covers [min(min, 0), max(max, 0)].
  case perTensorAffine
  /// One scale for the whole tensor; the real range is widened to be symmetric about 0.
  case perTensorSymmetric
  /// A scale and a zero point per index of one dimension.
  case perChannelAffine
  /// A scale per index of one dimension; each real range is widened to be symmetric about 0.
  case perChannelSymmetric
  /// A scale and a real zero point per index of one dimension (embeddings); 0 need not lie in the range.
  case perChannelAffineFloatQParams
  /// A scale and a zero point per vector along the last dimension, chosen at run time (torchao's `PerToken`).
  case perTokenAffine

  /// Whether each index of one dimension has parameters of its own.
  public var isPerChannel: Bool {
    switch self {
    case .perChannelAffine, .perChannelSymmetric, .perChannelAffineFloatQParams: true
    case .perTensorAffine, .perTensorSymmetric, .perTokenAffine: false
    }
  }

  /// Whether the real range is widened to be symmetric about 0.
  public var isSymmetric: Bool {
    switch self {
    case .perTensorSymmetric, .perChannelSymmetric: true
    case .perTensorAffine, .perChannelAffine, .perChannelAffineFloatQParams, .perTokenAffine: false
    }
  }
}
