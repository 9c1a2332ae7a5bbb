import GraphIR
import Operators
import TensorCore

/// Where the result of a computation goes: an activation that is clamped in the same operator, and the parameters it is
/// quantized with.
struct OutputChain {
  /// The value that the fused operator's output stands for: the node's own, or its activation's.
  var result: ValueID
  /// The node itself and the activation that is fused into it.
  var nodes: [Node]
  /// Bounds of the activation, as reals.
  var minimum = -Double.infinity
  var maximum = Double.infinity
  /// The quantization of the result; nil when it is used as reals.
  var quantization: QuantizationParameters?

  var name: String { nodes.last!.name }

  /// The bounds as the fused operators take them: reals, or quanta.
  func bounds() -> [(String, Operand)] {
    var low = minimum
    var high = maximum
    if let quantization {
      low = low.isFinite ? Double(quantization.quantize(Float(low))) : -128
      high = high.isFinite ? Double(quantization.quantize(Float(high))) : 127
    }
    var arguments: [(String, Operand)] = []
    if quantization == nil ? low.isFinite : low > -128 {
      arguments.append(("output_min", .attribute(.float(low))))
    }
    if quantization == nil ? high.isFinite : high < 127 {
      arguments.append(("output_max", .attribute(.float(high))))
    }
    return arguments
  }
}

extension Fuser {
  /// See `QuantizedGraph`, likewise the next two.
  func activationBounds(_ node: Node) throws(GraphError) -> (low: Double, high: Double)? {
    try graph.activationBounds(node)
  }

  /// The parameters a source value is quantized with when that is all that happens to it, movement of its elements aside.
  public func quantization(of id: ValueID) throws(GraphError) -> QuantizationParameters? {
    try graph.quantization(of: id)
  }

  func quantizationParameters(of node: Node) throws(GraphError) -> QuantizationParameters? {
    try graph.int8Parameters(of: node)
  }

  /// Follows a node's output through a fusible activation to its quantize node.
  func outputChain(of node: Node) throws(GraphError) -> OutputChain {
    var chain = OutputChain(result: node.output, nodes: [node])
    if let next = graph.onlyUser(of: node.output), let (low, high) = try activationBounds(next) {
      chain.result = next.output
      chain.nodes.append(next)
      chain.minimum = low
      chain.maximum = high
    }
    chain.quantization = try quantization(of: chain.result)
    return chain
  }

  /// Records that a chain's result has been computed, and that its nodes need no more work.
  mutating func finish(_ chain: OutputChain, _ output: ValueID) {
    for node in chain.nodes { covered.insert(node.name) }
    forms[chain.result] = Form(output)
  }

  /// The output spec of a chain computed by a fused operator.
  func outputSpec(_ chain: OutputChain) -> TensorSpec {
    let shape = source.graph.spec(chain.result).shape
    return TensorSpec(
      chain.quantization == nil ? .float32 : .int8, shape, dimOrder: shape.rank == 4 ? .channelsLast : .contiguous,
      quantization: chain.quantization)
  }
}
