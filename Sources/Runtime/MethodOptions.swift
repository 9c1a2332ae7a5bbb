import TensorCore
import XNNExecutor

/// How a program is loaded.
public struct MethodOptions: Sendable {
  /// Whose kernels run int8 convolutions and fully connected layers.
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

  public var kernels: Kernels
  /// Weights that `Method.packedWeights` gave for this program on a processor of this kind, by node, at addresses
  /// aligned to 64 bytes: used in place, so that methods share them. What is missing, or of another size, is packed.
  public var packedWeights: [String: Tensor]

  public init(kernels: Kernels = .auto, packedWeights: [String: Tensor] = [:]) {
    self.kernels = kernels
    self.packedWeights = packedWeights
  }

  /// What packed weights are made for: the instruction set, and the number of their layout.
  public static var kernelBuild: String { "\(String(cString: xnx_kernel_isa()))-\(xnx_packed_layout())" }
}

extension DelegateOperator {
  var isNative: Bool { xnx_operator_is_native(handle) != 0 }
}
