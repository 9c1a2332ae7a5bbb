import DelegateSchema
import Operators
import TensorCore

extension DelegatedNode {
  static let maxPooling2D = DelegatedNode(op: .fusedMaxPool2d) { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    let window = try Window2d(call)
    guard window.area > 1 else { return "XNNPACK refuses a 1×1 pooling window" }
    guard window.dilation == [1, 1] || !window.isPadded else {
      return "XNNPACK has no pooling with both dilation and padding"
    }
    return try Capabilities.reasonAgainstRequantizing(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_MAX_POOLING_2D)
    node.as.window = ds_window(try Window2d(call))
  }

  /// A window as large as the image is XNNPACK's global average pooling. Smaller int8 windows run on a kernel of ours.
  static let averagePooling2D = DelegatedNode(op: .fusedAvgPool2d) { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    guard try Window2d(call).area > 1 else { return "XNNPACK refuses a 1×1 pooling window" }
    guard let x = try call.spec("self").quantization, let y = try call.output().quantization else { return nil }
    return Capabilities.reasonAgainstRatio("input scale / output scale", x.scale / y.scale, -8, 8)
  } encode: { call, node throws(OperatorError) in
    let window = try Window2d(call)
    node.set(window.isGlobal ? DS_GLOBAL_AVERAGE_POOLING : DS_AVERAGE_POOLING_2D)
    if !window.isGlobal { node.as.window = ds_window(window) }
  }
}
