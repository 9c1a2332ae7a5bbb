import GraphIR
import Operators
import TensorCore
import TorchFormats

/// An operator of ExecuTorch's kernel library and the operators here that it is the out-variant of, but for the order of
/// the arguments.
struct KernelRow: Sendable {
  /// What the kernel's argument stands for.
  enum Parameter: Sendable {
    /// The operator's argument of that name.
    case named(String)
    /// The operator's list of tensors, which may lack some.
    case optionalTensors(String)
    /// Given when written; read for `adapt` alone.
    case fixed(String, Attribute)
    /// Follows from the call when written; not looked at when read.
    case derived(@Sendable (OperatorCall) throws(OperatorError) -> Attribute)
  }

  /// A kernel's call that is read: what it becomes.
  struct Reading {
    var op: Operator
    var arguments: [(String, Operand)]
    /// As the file records them, of the first result.
    let result: TensorSpec
    /// Of the first tensor argument.
    let input: TensorSpec?
    let builder: GraphBuilder

    subscript(name: String) -> Operand? { arguments.first { $0.0 == name }?.1 }
  }

  let kernel: ExecutionPlan.Operator
  /// What is written with it. The first is what it is read as.
  let operators: [Operator]
  /// In the kernel's order; results follow them.
  let parameters: [Parameter]
  /// Results of the kernel behind those of the operator, which nothing reads: statistics, indices.
  let unread: @Sendable (OperatorCall) throws(OperatorError) -> [TensorSpec]
  /// Changes what a call becomes that is not just the operator.
  let adapt: (@Sendable (inout Reading) -> Void)?

  init(
    _ kernel: String, _ operators: Operator..., parameters: [Parameter],
    unread: @escaping @Sendable (OperatorCall) throws(OperatorError) -> [TensorSpec] = { _ in [] },
    adapt: (@Sendable (inout Reading) -> Void)? = nil
  ) {
    let parts = kernel.split(separator: ".", maxSplits: 1).map(String.init)
    self.kernel = .init(name: parts[0], overload: parts.count > 1 ? parts[1] : "")
    (self.operators, self.parameters, self.unread, self.adapt) = (operators, parameters, unread, adapt)
  }

  /// A kernel whose arguments are the operator's of those names.
  init(_ kernel: String, _ op: Operator, _ names: String) {
    self.init(kernel, op, parameters: KernelRow.names(names))
  }

  static func names(_ text: String) -> [Parameter] { text.split(separator: " ").map { .named(String($0)) } }

  static let all =
    unary + binary + products + normalizations + linear + convolutions + pooling + movement + conversions

  /// The first row of a kernel is the one that it is read by.
  static let byKernel = Dictionary(all.map { ($0.kernel, $0) }, uniquingKeysWith: { first, _ in first })
  /// The first row of an operator is the one that it is written by.
  static let byOperator = Dictionary(
    all.flatMap { row in row.operators.map { ($0, row) } }, uniquingKeysWith: { first, _ in first })
}
