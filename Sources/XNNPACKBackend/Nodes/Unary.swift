import DelegateSchema
import Operators
import TensorCore

extension DelegatedNode {
  static let clamp = DelegatedNode(operatorName: "fused.clamp") { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    return try Capabilities.reasonAgainstRequantizing(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_CLAMP)
  }

  /// Any int8 function of one element, on a kernel of ours.
  static let lookupTable = DelegatedNode(operatorName: "fused.lut") { call throws(OperatorError) in
    guard try call.constant("table") != nil else { return "its table is not a constant" }
    return try Capabilities.reasonAgainstLayout(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_LOOKUP_TABLE)
  }

  static let quantize = DelegatedNode(operatorName: "fused.quantize") { call throws(OperatorError) in
    try Capabilities.reasonAgainstLayout(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_CONVERT)
  }

  static let dequantize = DelegatedNode(operatorName: "fused.dequantize") { call throws(OperatorError) in
    try Capabilities.reasonAgainstLayout(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_CONVERT)
  }
}
