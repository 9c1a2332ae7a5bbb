import GraphIR
import Operators
import TensorCore

/// How calls of operators become others that the delegate or a kernel runs.
struct RewriteRow: Sendable {
  typealias Call = EdgeRewriter.Call

  let pattern: OperatorPattern
  /// The results of what takes the call's place; nil where it stays as it is.
  let apply: @Sendable (inout EdgeRewriter, Call) throws(GraphError) -> [ValueID]?

  init(
    several pattern: OperatorPattern,
    _ apply: @escaping @Sendable (inout EdgeRewriter, Call) throws(GraphError) -> [ValueID]?
  ) {
    (self.pattern, self.apply) = (pattern, apply)
  }

  init(
    _ pattern: OperatorPattern, _ apply: @escaping @Sendable (inout EdgeRewriter, Call) throws(GraphError) -> ValueID?
  ) {
    self.init(several: pattern) { rewriter, call throws(GraphError) in try apply(&rewriter, call).map { [$0] } }
  }

  /// An int8 operator as a float one between conversions, contiguous.
  static func throughFloat(_ op: Operator, _ float: Operator) -> RewriteRow {
    RewriteRow([op]) { rewriter, call throws(GraphError) in try rewriter.throughFloat(call, float, contiguous: true) }
  }

  static let all =
    unary + binary + products + normalizations + linear + convolutions + pooling + movement + conversions

  static let byOperator = OperatorTable(all, by: \.pattern)

  /// The operators that ExecuTorch has nothing for, and why.
  static let refused: [Operator: String] = [
    .lstm: "ExecuTorch has no recurrent layers; export the model with the steps written out",
    .gru: "ExecuTorch has no recurrent layers; export the model with the steps written out",
    .chooseQParamsSymmetric: "ExecuTorch chooses affine parameters only",
    .observe: "an observed program is for calibration; convert it first",
    .fusedAddConv2d: "the delegate has no convolution with a sum; a program is written before such are joined",
    .fusedCatConv2d: "the delegate has no convolution into a part; a program is written before such are joined",
    .fusedIm2col: "the delegate orders sums by itself; a program is written from another lowering than calibration's",
  ]

  /// Whether something takes calls of an operator: a node of the delegate, a kernel, or others in its place.
  static func writes(_ op: Operator) -> Bool {
    DelegateRow.byOperator[op] != nil || KernelRow.byOperator[op] != nil || byOperator[op] != nil
  }
}
