import DelegateSchema
import Operators
import TensorCore

extension DelegatedNode {
  static let add = sum(.fusedAdd, DS_ADD)
  static let subtract = sum(.fusedSub, DS_SUBTRACT)

  private static func sum(_ op: Operator, _ kind: ds_kind) -> DelegatedNode {
    let code = kind.rawValue
    return DelegatedNode(op: op) { call throws(OperatorError) in
      try reasonAgainstBinary(call) { a, b, y in
        Capabilities.reasonAgainstRatio("first input scale / output scale", a / y, -10, 8)
          ?? Capabilities.reasonAgainstRatio("second input scale / output scale", b / y, -10, 8)
      }
    } encode: { call, node throws(OperatorError) in
      node.kind = code
    }
  }

  static let multiply = DelegatedNode(op: .fusedMul) { call throws(OperatorError) in
    try reasonAgainstBinary(call) { a, b, y in
      Capabilities.reasonAgainstRatio("product of input scales / output scale", a * b / y, -16, 8)
    }
  } encode: { call, node throws(OperatorError) in
    node.set(DS_MULTIPLY)
  }

  private static func reasonAgainstBinary(
    _ call: OperatorCall, ratios: (Float, Float, Float) -> String?
  ) throws(OperatorError) -> String? {
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    guard try call.constant("self") == nil, try call.constant("other") == nil else {
      return "one of its operands is a constant"
    }
    let (a, b, y) = (try call.spec("self"), try call.spec("other"), try call.output())
    guard a.dataType == .int8 else { return a.dataType == .float32 ? nil : "XNNPACK has no \(a.dataType) operator" }
    guard let p = a.quantization, let q = b.quantization, let r = y.quantization else {
      return "an int8 tensor has no quantization parameters"
    }
    return ratios(p.scale, q.scale, r.scale)
  }
}
