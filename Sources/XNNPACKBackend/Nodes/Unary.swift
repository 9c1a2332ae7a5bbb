import DelegateSchema
import Operators
import TensorCore

extension DelegatedNode {
  static let clamp = DelegatedNode(op: .fusedClamp) { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    return try Capabilities.reasonAgainstRequantizing(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_CLAMP)
  }

  /// Any int8 function of one element, on a kernel of ours.
  static let lookupTable = DelegatedNode(op: .fusedLUT) { call throws(OperatorError) in
    guard try call.constant("table") != nil else { return "its table is not a constant" }
    return try Capabilities.reasonAgainstLayout(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_LOOKUP_TABLE)
  }

  static let quantize = conversion(.fusedQuantize, transposingTo: .channelsLast)
  static let dequantize = conversion(.fusedDequantize, transposingTo: .contiguous)

  /// In place of two nodes, a conversion may transpose besides, on a kernel of ours: what the delegate computes is
  /// channels last, and what the model takes and gives is contiguous.
  private static func conversion(_ op: Operator, transposingTo order: DimOrder) -> DelegatedNode {
    DelegatedNode(op: op) { call throws(OperatorError) in
      let (input, output) = (try call.spec("self").dimOrder, try call.output().dimOrder)
      if input != output, output != order { return "no kernel converts and transposes in this direction" }
      return try Capabilities.reasonAgainstLayout(call)
    } encode: { call, node throws(OperatorError) in
      let output = try call.output().dimOrder
      if try call.spec("self").dimOrder == output {
        node.set(DS_CONVERT)
      } else {
        node.set(DS_CONVERT_TRANSPOSE)
        node.as.to_channels_last = output == .channelsLast ? 1 : 0
      }
    }
  }
}
