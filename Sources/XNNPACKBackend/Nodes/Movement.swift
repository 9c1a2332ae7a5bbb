import DelegateSchema
import Operators
import TensorCore

extension DelegatedNode {
  static let constantPad = DelegatedNode(op: .fusedPad) { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    guard try call.output().dimOrder == .channelsLast else {
      return "only images, channels last, are padded in a delegate"
    }
    guard try call.ints("interior").allSatisfy({ $0 == 0 }) else { return "XNNPACK pads around an image, not within" }
    return nil
  } encode: { call, node throws(OperatorError) in
    node.set(DS_CONSTANT_PAD)
    let (before, after) = (try call.ints("pre"), try call.ints("post"))
    let spec = try call.spec("self")
    try call.check(before.count == 4 && after.count == 4, "padding of a 4-D tensor needs four sizes on each side")
    let order = [0, 2, 3, 1]
    var padding = ds_padding()
    withUnsafeMutableBytes(of: &padding.before) { slots in
      for i in 0..<4 { slots.storeBytes(of: Int32(clamping: before[order[i]]), toByteOffset: 4 * i, as: Int32.self) }
    }
    withUnsafeMutableBytes(of: &padding.after) { slots in
      for i in 0..<4 { slots.storeBytes(of: Int32(clamping: after[order[i]]), toByteOffset: 4 * i, as: Int32.self) }
    }
    let value = Float(try call.float("value"))
    padding.value = spec.quantization.map { Float($0.quantize(value)) } ?? value
    node.as.padding = padding
  }

  static let concatenate = DelegatedNode(op: .fusedCat) { call throws(OperatorError) in
    if let reason = try Capabilities.reasonAgainstLayout(call) { return reason }
    let output = try call.output()
    // What is 4-D has its sizes in the order of an image that is channels last, whatever it is in memory.
    let innermost = output.shape.rank == 4 ? (output.dimOrder == .channelsLast ? 1 : nil) : output.shape.rank - 1
    let isInnermost = try call.int("dim") == innermost
    guard isInnermost else { return "XNNPACK concatenates along the innermost dimension in memory only" }
    return try Capabilities.reasonAgainstRequantizing(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_CONCATENATE)
  }

  /// Between NCHW and NHWC, on a kernel of ours: the library has no transpose.
  static let transpose = DelegatedNode(op: .toDimOrderCopy) {
    call throws(OperatorError) in
    try Capabilities.reasonAgainstLayout(call)
  } encode: { call, node throws(OperatorError) in
    node.set(DS_TRANSPOSE)
    node.as.to_channels_last = try call.output().dimOrder == .channelsLast ? 1 : 0
  }
}
