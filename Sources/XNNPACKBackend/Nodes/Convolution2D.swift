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
    node.as.window = try ds_window(convolution: call)
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
      window: try ds_window(convolution: call), scale: Float(try call.float("conv_scale")),
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
    node.as.cat = ds_convolution_cat(window: try ds_window(convolution: call), start: start)
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
  fileprivate init(convolution call: OperatorCall) throws(OperatorError) {
    let weight = try call.spec("weight").shape
    try self.init(
      call, kernel: (weight[2], weight[3]), dilation: try call.pair("dilation"), groups: try call.int("groups"))
  }

  /// Stride and padding (top, right, bottom, left) are read from the call.
  init(
    _ call: OperatorCall, kernel: (height: Int, width: Int), dilation: (height: Int, width: Int) = (1, 1),
    groups: Int = 1
  ) throws(OperatorError) {
    let stride = try call.pair("stride")
    var pads = try call.ints("padding")
    if pads.count == 1 { pads = [Int](repeating: pads[0], count: 4) }
    try call.check(pads.count == 4, "'padding' must have four integers")
    func narrow(_ value: Int) throws(OperatorError) -> UInt32 {
      guard let narrow = UInt32(exactly: value) else { throw call.error("\(value) is out of range") }
      return narrow
    }
    self.init(
      kernel_height: try narrow(kernel.height), kernel_width: try narrow(kernel.width),
      stride_height: try narrow(stride.height), stride_width: try narrow(stride.width),
      dilation_height: try narrow(dilation.height), dilation_width: try narrow(dilation.width),
      pad_top: try narrow(pads[0]), pad_right: try narrow(pads[1]), pad_bottom: try narrow(pads[2]),
      pad_left: try narrow(pads[3]), groups: try narrow(groups))
  }
}
