import DelegateSchema
import Operators
import TensorCore

extension DelegatedNode {
  /// f32, qc8 and qs8 convolution with fused clamp; padding may differ on each side.
  static let convolution2D = DelegatedNode(operatorName: "fused.conv2d") { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    guard try call.constant("weight") != nil else { return "its weight is not a constant" }
    if try call.optionalSpec("bias") != nil, try call.constant("bias") == nil { return "its bias is not a constant" }
    return try Capabilities.reasonAgainstRequantization(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_CONVOLUTION_2D)
    let weight = try call.spec("weight").shape
    node.as.window = try ds_window(
      call, kernel: (weight[2], weight[3]), dilation: try call.pair("dilation"), groups: try call.int("groups"))
    node.fillMissingBias(call)
  }
}

extension ds_node {
  /// The third input of a call without bias stands for none.
  mutating func fillMissingBias(_ call: OperatorCall) {
    if call.inputs.count == 2 {
      input_count = 3
      inputs.2 = Int32(DS_NO_VALUE)
    }
  }
}

extension ds_window {
  /// Stride and padding (top, right, bottom, left) are read from the call.
  init(
    _ call: OperatorCall, kernel: (height: Int, width: Int), dilation: (height: Int, width: Int) = (1, 1),
    groups: Int = 1
  ) throws(OperatorError) {
    let stride = try call.pair("stride")
    var pads = try call.ints("padding")
    if pads.count == 1 { pads = [Int](repeating: pads[0], count: 4) }
    try call.check(pads.count == 4, "'padding' must have four integers")
    func narrow(_ value: Int) throws(OperatorError) -> Int32 {
      guard let narrow = Int32(exactly: value) else { throw call.error("\(value) is out of range") }
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
