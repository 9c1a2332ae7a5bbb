import GraphIR
import Lowering
import Operators
import TensorCore
import TorchFormats

/// A kind of node of ExecuTorch's XNNPACK delegate: how operators become such nodes, and what they are read back as.
struct DelegateRow: Sendable {
  /// The kinds that it reads; none where it writes those of another row.
  let kinds: [XNNNodeKind]
  /// The operators that it writes; none where files of others have such nodes, and ours have something else.
  let operators: [Operator]
  /// Why the delegate cannot run a call of those operators; nil when it can.
  let reasonAgainst: @Sendable (OperatorCall) throws(OperatorError) -> String?
  let write: @Sendable (inout XNNGraphWriter, Node, OperatorCall) throws(OperatorError) -> Void
  let read: @Sendable (inout XNNGraphReader, XNNGraph.Node) throws(FormatError) -> Void

  init(
    _ kinds: [XNNNodeKind], _ operators: [Operator],
    reasonAgainst: @escaping @Sendable (OperatorCall) throws(OperatorError) -> String? = { _ in nil },
    write: @escaping @Sendable (inout XNNGraphWriter, Node, OperatorCall) throws(OperatorError) -> Void,
    read: @escaping @Sendable (inout XNNGraphReader, XNNGraph.Node) throws(FormatError) -> Void
  ) {
    (self.kinds, self.operators) = (kinds, operators)
    (self.reasonAgainst, self.write, self.read) = (reasonAgainst, write, read)
  }

  static let all = unary + binary + products + normalizations + linear + convolutions + pooling + movement

  static let byOperator = Dictionary(uniqueKeysWithValues: all.flatMap { row in row.operators.map { ($0, row) } })
  static let byKind = Dictionary(uniqueKeysWithValues: all.flatMap { row in row.kinds.map { ($0, row) } })

  /// The kinds that no row reads, and why.
  static let unread: [XNNNodeKind: String] = [
    .argMaxPooling2d: "no operator here gives the places of maxima",
    .scaledDotProductAttention: "ExecuTorch's exporter writes none: attention is products and a softmax",
  ]
}

/// What ExecuTorch's XNNPACK delegate runs.
struct XNNSupport: DelegateSupport {
  func reasonAgainst(_ call: OperatorCall) -> String? {
    guard let row = DelegateRow.byOperator[call.op] else { return "the XNNPACK delegate has no operator for it" }
    for (spec, constant) in zip(call.inputs + call.outputs, call.constants + call.outputs.map { _ in nil }) {
      if spec.shape.rank > XNNGraph.maximumRank { return "a tensor has \(spec.shape.rank) dimensions" }
      if spec.shape.elementCount == 0 { return "a tensor is empty" }
      // Biases alone are int32.
      if spec.dataType != .float32, spec.quantization == nil, spec.dataType != .int32 || constant == nil {
        return "it computes \(spec.dataType)"
      }
    }
    do { return try row.reasonAgainst(call) } catch { return error.reason }
  }
}

extension OperatorCall {
  /// The bounds of the result as reals: infinite where there are none, or where int8 ends anyway.
  func realBounds() throws(OperatorError) -> (low: Float, high: Float) {
    guard schema.parameter(named: "output_min") != nil else { return (-.infinity, .infinity) }
    let (low, high) = (Float(try float("output_min")), Float(try float("output_max")))
    guard let quantization = outputs[0].quantization else { return (low, high) }
    func real(_ quantum: Float) -> Float { (quantum - Float(quantization.zeroPoint)) * quantization.scale }
    return (low > -128 ? real(low) : -.infinity, high < 127 ? real(high) : .infinity)
  }
}
