import DelegateSchema
import Operators

extension DelegatedNode {
  /// f32 linear layer on int8 weights whose input is quantized row by row when it runs, on kernels of the executor's own.
  static let dynamicLinear = DelegatedNode(op: .fusedDynamicLinear) { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    guard try call.constant("weight") != nil else { return "its weight is not a constant" }
    if try call.optionalSpec("bias") != nil, try call.constant("bias") == nil { return "its bias is not a constant" }
    guard try call.string("rule") == "token" else { return "its parameters are of the whole tensor, not of each row" }
    return nil
  } encode: { call, node throws(OperatorError) in
    node.set(DS_DYNAMIC_LINEAR)
    node.fillMissingBias(call)
  }
}
