import Operators
import TensorCore

/// Limits of the system's XNNPACK (Debian 12, February 2022) that it enforces when an operator is created. Checked ahead
/// of time so that a refusal has a reason; `XNNPACKBackendTests` check them against the library.
enum Capabilities {
  /// Convolution and linear: input · weight / output scale of every channel.
  ///
  /// - Parameter outputScale: of the sums of products.
  static func reasonAgainstRequantization(
    _ call: OperatorCall, outputScale: Float
  ) throws(OperatorError) -> String? {
    guard let x = try call.spec("input").quantization, let w = try call.spec("weight").quantization else {
      return "an int8 tensor has no quantization parameters"
    }
    guard w.zeroPoint == 0 else { return "the weight's zero point is \(w.zeroPoint), not 0" }
    for scale in w.scales {
      let ratio = x.scale * scale / outputScale
      guard ratio.isNormal, ratio < 256 else {
        return "input scale · weight scale / output scale is \(ratio); XNNPACK takes normal numbers below 256"
      }
    }
    return nil
  }

  static func reasonAgainstRequantization(_ call: OperatorCall) throws(OperatorError) -> String? {
    guard try call.spec("input").dataType == .int8 else { return nil }
    guard let output = try call.output().quantization else { return "an int8 tensor has no quantization parameters" }
    return try reasonAgainstRequantization(call, outputScale: output.scale)
  }

  /// A ratio of scales in [2^low, 2^high).
  static func reasonAgainstRatio(_ name: String, _ ratio: Float, _ low: Int, _ high: Int) -> String? {
    let bounds = (Float(sign: .plus, exponent: low, significand: 1), Float(sign: .plus, exponent: high, significand: 1))
    return ratio >= bounds.0 && ratio < bounds.1
      ? nil : "\(name) is \(ratio); XNNPACK takes [2^\(low), 2^\(high))"
  }

  /// The fused operators' spatial tensors are f32 or int8 in channels-last order.
  static func reasonAgainstLayout(_ call: OperatorCall) throws(OperatorError) -> String? {
    for spec in call.inputs + call.outputs {
      guard spec.dataType == .float32 || spec.dataType == .int8 || spec.dataType == .int32 else {
        return "XNNPACK has no \(spec.dataType) operator for it"
      }
    }
    guard call.outputs.allSatisfy({ $0.shape.elementCount > 0 }) else { return "its output is empty" }
    return nil
  }

  /// Input and output int8 under the same parameters, or both f32.
  static func reasonAgainstRequantizing(_ call: OperatorCall) throws(OperatorError) -> String? {
    let output = try call.output().quantization
    return call.inputs.allSatisfy { $0.quantization == output }
      ? nil : "its input and output have different quantization parameters"
  }
}
