import DelegateSchema
import Operators
import TensorCore

/// How one fused operator becomes a node of a delegated subgraph: a struct of functions, one per file of Nodes/.
struct DelegatedNode: Sendable {
  let op: Operator
  /// Why XNNPACK cannot run the call; nil when it can.
  let reasonAgainst: @Sendable (OperatorCall) throws(OperatorError) -> String?
  /// Fills in the kind and what the kind needs; inputs, output and bounds are filled in for all.
  let encode: @Sendable (OperatorCall, inout ds_node) throws(OperatorError) -> Void
}

/// All nodes that XNNPACK can run, by fused operator. Delegating another operator is its file and its line here.
enum NodeTable {
  static let all: [DelegatedNode] = [
    .convolution2D, .convolution2DAdd, .convolution2DCat,
    .fullyConnected, .add, .subtract, .multiply, .maxPooling2D, .averagePooling2D,
    .clamp, .constantPad,
    .concatenate, .lookupTable, .quantize, .dequantize, .transpose, .dynamicLinear,
  ]

  static let byOperator = Dictionary(uniqueKeysWithValues: all.map { ($0.op, $0) })
}
