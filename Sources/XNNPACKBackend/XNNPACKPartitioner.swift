import DelegateSchema
import Lowering
import Operators
import TensorCore

/// Gives the system's XNNPACK what it can run, and says of everything else why not.
public struct XNNPACKPartitioner: Partitioner {
  package static let backendName = "XnnpackBackend"

  /// The partitioner for this machine's XNNPACK.
  public init() {}

  /// `XnnpackBackend`
  public var backend: String { XNNPACKPartitioner.backendName }

  /// Why neither XNNPACK nor the kernels beside it run the call; nil when one of them does.
  public func reasonAgainst(_ call: OperatorCall) -> String? {
    guard let node = NodeTable.byOperator[call.op] else { return "the XNNPACK delegate has no node for it" }
    if let large = (call.inputs + call.outputs).first(where: { $0.byteCount > Int(Int32.max) }) {
      return "a tensor of \(large.byteCount) bytes is too large"
    }
    guard call.inputs.count <= DS_MAX_INPUTS else { return "it has \(call.inputs.count) inputs" }
    do { return try node.reasonAgainst(call) } catch { return error.reason }
  }

  /// The node as the executor reads it (`CRuntime/DelegateSchema`).
  public func encode(_ call: OperatorCall, inputs: [Int], outputs: [Int]) throws(OperatorError) -> [UInt8] {
    guard let entry = NodeTable.byOperator[call.op] else {
      throw call.error("the XNNPACK delegate has no node for it")
    }
    var node = ds_node()
    node.input_count = UInt32(inputs.count)
    node.setInputs(inputs.map(Int32.init))
    node.output = Int32(outputs[0])
    let isQuantized = call.outputs[0].dataType == .int8
    node.output_min = isQuantized ? -128 : -.infinity
    node.output_max = isQuantized ? 127 : .infinity
    if call.schema.parameter(named: "output_min") != nil {
      node.output_min = max(node.output_min, Float(try call.float("output_min")))
      node.output_max = min(node.output_max, Float(try call.float("output_max")))
    }
    try entry.encode(call, &node)
    return withUnsafeBytes(of: node) { [UInt8]($0) }
  }
}

extension ds_node {
  mutating func setInputs(_ indices: [Int32]) {
    withUnsafeMutableBytes(of: &inputs) { bytes in
      let slots = bytes.assumingMemoryBound(to: Int32.self)
      for slot in slots.indices { slots[slot] = slot < indices.count ? indices[slot] : Int32(DS_NO_VALUE) }
    }
  }

  mutating func set(_ kind: ds_kind) { self.kind = kind.rawValue }
}
