import DelegateSchema
import Operators
import TensorCore

extension DelegatedNode {
  static let maxPooling2D = DelegatedNode(op: .fusedMaxPool2d) { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    let kernel = try call.pair("kernel_size")
    guard kernel.height * kernel.width > 1 else { return "XNNPACK refuses a 1×1 pooling window" }
    let (dilation, pads) = (try call.pair("dilation"), try call.ints("padding"))
    guard dilation == (1, 1) || pads.allSatisfy({ $0 == 0 }) else {
      return "XNNPACK has no pooling with both dilation and padding"
    }
    return try Capabilities.reasonAgainstRequantizing(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_MAX_POOLING_2D)
    node.as.window = try ds_window(
      call, kernel: try call.pair("kernel_size"), dilation: try call.pair("dilation"))
  }

  /// A window as large as the image is XNNPACK's global average pooling. Smaller int8 windows run on a kernel of ours.
  static let averagePooling2D = DelegatedNode(op: .fusedAvgPool2d) { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    let kernel = try call.pair("kernel_size")
    guard kernel.height * kernel.width > 1 else { return "XNNPACK refuses a 1×1 pooling window" }
    guard let x = try call.spec("self").quantization, let y = try call.output().quantization else { return nil }
    return Capabilities.reasonAgainstRatio("input scale / output scale", x.scale / y.scale, -8, 8)
  } encode: { call, node throws(OperatorError) in
    let kernel = try call.pair("kernel_size")
    let shape = try call.spec("self").shape
    let pads = try call.ints("padding")
    let isGlobal = kernel == (shape[2], shape[3]) && pads.allSatisfy { $0 == 0 }
    node.set(isGlobal ? DS_GLOBAL_AVERAGE_POOLING : DS_AVERAGE_POOLING_2D)
    if !isGlobal { node.as.window = try ds_window(call, kernel: kernel) }
  }
}
