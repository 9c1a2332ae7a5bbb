import TensorCore
import XNNExecutor

/// How a program is loaded.
public struct MethodOptions: Sendable {
  /// Whose kernels run convolutions and fully connected layers.
  public enum Kernels: String, Sendable, CaseIterable {
    /// The faster ones, by what was measured on processors of this kind.
    case auto
    /// The system's XNNPACK.
    case xnnpack
    /// The delegate's own, where it has one.
    case native

    var cValue: xnx_kernels {
      switch self {
      case .auto: .XNX_KERNELS_AUTO
      case .xnnpack: .XNX_KERNELS_XNNPACK
      case .native: .XNX_KERNELS_NATIVE
      }
    }
  }

  /// Whose kernels are preferred.
  public var kernels: Kernels
  /// Weights that `Method.packedWeights` gave for this program on a processor of this kind, by node, at addresses
  /// aligned to 64 bytes: used in place, so that methods share them. What is missing, or of another size, is packed.
  package var packedWeights: [String: Tensor]

  /// Options with the kernels to prefer.
  public init(kernels: Kernels = .auto) { self.init(kernels: kernels, packedWeights: [:]) }

  package init(kernels: Kernels, packedWeights: [String: Tensor]) {
    self.kernels = kernels
    self.packedWeights = packedWeights
  }

  /// What packed weights are made for: the instruction sets of int8 and f32, and the numbers of their layouts.
  package static var kernelBuild: String {
    let float = "\(String(cString: xnx_float_kernel_isa()))-\(xnx_float_packed_layout())"
    return "\(String(cString: xnx_kernel_isa()))-\(xnx_packed_layout())-f32-\(float)"
  }
}

extension DelegateOperator {
  var isNative: Bool { xnx_operator_is_native(handle) != 0 }
  var scratchByteCount: Int { xnx_operator_scratch_bytes(handle) }
}
