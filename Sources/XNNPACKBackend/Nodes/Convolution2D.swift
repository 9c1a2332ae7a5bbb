import DelegateSchema
import Operators
import TensorCore

extension DelegatedNode {
  /// f32, qc8 and qs8 convolution with fused clamp; padding may differ on each side.
  static let convolution2D = DelegatedNode(op: .fusedConv2d) { call throws(OperatorError) in
    if let reason = try reasonAgainstConvolution(call) { return reason }
    return try Capabilities.reasonAgainstRequantization(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_CONVOLUTION_2D)
    node.as.window = ds_window(try Window2d(call))
    node.fillMissingBias(call)
  }

  /// A convolution whose result is added to a tensor while it is in the cache, on kernels of ours; on XNNPACK's, the sum
  /// follows the convolution within the node.
  static let convolution2DAdd = DelegatedNode(op: .fusedAddConv2d) { call throws(OperatorError) in
    if let reason = try reasonAgainstConvolution(call) { return reason }
    let channels = try call.spec("input").shape[1]
    if channels > 1, try call.int("groups") == channels { return "a depthwise convolution has no sum of its own" }
    guard let output = try call.output().quantization, let other = try call.spec("self").quantization else {
      return "an int8 tensor has no quantization parameters"
    }
    let scale = Float(try call.float("conv_scale"))
    let ratios = [("convolution", scale / output.scale), ("other", other.scale / output.scale)]
    for (name, ratio) in ratios {
      if let reason = Capabilities.reasonAgainstRatio("\(name) scale / output scale", ratio, -10, 8) { return reason }
    }
    return try Capabilities.reasonAgainstRequantization(call, outputScale: scale)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_CONVOLUTION_2D_ADD)
    node.as.add = ds_convolution_add(
      window: ds_window(try Window2d(call)), scale: Float(try call.float("conv_scale")),
      zero_point: Int32(clamping: try call.int("conv_zero_point")),
      min: max(-128, Float(try call.float("conv_min"))), max: min(127, Float(try call.float("conv_max"))))
    node.fillMissingBias(call)
  }

  /// A convolution that writes its channels of a concatenation.
  static let convolution2DCat = DelegatedNode(op: .fusedCatConv2d) { call throws(OperatorError) in
    if let reason = try reasonAgainstConvolution(call) { return reason }
    let channels = try call.spec("input").shape[1]
    if channels > 1, try call.int("groups") == channels { return "a depthwise convolution has an output of its own" }
    return try Capabilities.reasonAgainstRequantization(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_CONVOLUTION_2D_CAT)
    var inputs = withUnsafeBytes(of: node.inputs) { [Int32]($0.bindMemory(to: Int32.self).prefix(call.inputs.count)) }
    let other = try call.index(of: "self") == nil ? Int32(DS_NO_VALUE) : inputs.removeFirst()
    if inputs.count == 2 { inputs.append(Int32(DS_NO_VALUE)) }
    node.setInputs(inputs + [other])
    node.input_count = 4
    guard let start = Int32(exactly: try call.int("start")) else { throw call.error("'start' is out of range") }
    node.as.cat = ds_convolution_cat(window: ds_window(try Window2d(call)), start: start)
  }

  private static func reasonAgainstConvolution(_ call: OperatorCall) throws(OperatorError) -> String? {
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    guard try call.constant("weight") != nil else { return "its weight is not a constant" }
    if try call.optionalSpec("bias") != nil, try call.constant("bias") == nil { return "its bias is not a constant" }
    return nil
  }
}

extension ds_node {
  /// An input more, behind those of a call without bias, stands for none: `setInputs` has written it.
  mutating func fillMissingBias(_ call: OperatorCall) {
    if case .tensor = call.arguments["bias"] { return }
    input_count += 1
  }
}

extension ds_window {
  init(_ window: Window2d) {
    let (height, width) = (window.height, window.width)
    self.init(
      kernel_height: UInt32(height.kernel), kernel_width: UInt32(width.kernel), stride_height: UInt32(height.stride),
      stride_width: UInt32(width.stride), dilation_height: UInt32(height.dilation),
      dilation_width: UInt32(width.dilation), pad_top: UInt32(height.padBefore), pad_right: UInt32(width.padAfter),
      pad_bottom: UInt32(height.padAfter), pad_left: UInt32(width.padBefore), groups: UInt32(window.groups))
  }
}
