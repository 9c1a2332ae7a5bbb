import DelegateSchema
import Operators

extension DelegatedNode {
  /// f32 and qs8 fully connected; per-channel weights run as a 1×1 qc8 convolution.
  static let fullyConnected = DelegatedNode(op: .fusedLinear) { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    guard try call.constant("weight") != nil else { return "its weight is not a constant" }
    if try call.optionalSpec("bias") != nil, try call.constant("bias") == nil { return "its bias is not a constant" }
    return try Capabilities.reasonAgainstRequantization(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_FULLY_CONNECTED)
    node.fillMissingBias(call)
  }
}
