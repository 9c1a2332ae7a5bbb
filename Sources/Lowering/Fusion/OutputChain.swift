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
  /// Bounds of a clamping activation; nil for any other node.
  func activationBounds(_ node: Node) throws(GraphError) -> (Double, Double)? {
    let bounds: (low: Double, high: Double)
    switch node.operatorName {
    case "aten.relu.default": return (0, .infinity)
    case "aten.relu6.default": return (0, 6)
    case "aten.hardtanh.default":
      let call = try call(node)
      bounds = try reading { () throws(OperatorError) in (try call.float("min_val"), try call.float("max_val")) }
    case "aten.clamp.default":
      let call = try call(node)
      bounds = try reading { () throws(OperatorError) in
        (try call.optionalFloat("min") ?? -.infinity, try call.optionalFloat("max") ?? .infinity)
      }
    default: return nil
    }
    // Where they cross, the upper bound wins, as in PyTorch.
    return (min(bounds.low, bounds.high), bounds.high)
  }

  /// The only reader of a value, if there is one and the value is no output of the graph.
  func onlyUser(_ id: ValueID) -> Node? {
    guard let indices = users[id], indices.count == 1, !source.graph.outputs.contains(id) else { return nil }
    return source.graph.nodes[indices[0]]
  }

  /// Follows a node's output through a fusible activation to its quantize node.
  func outputChain(of node: Node) throws(GraphError) -> OutputChain {
    var chain = OutputChain(result: node.output, nodes: [node])
    if let next = onlyUser(node.output), let (low, high) = try activationBounds(next) {
      chain.result = next.output
      chain.nodes.append(next)
      chain.minimum = low
      chain.maximum = high
    }
    chain.quantization = try quantization(of: chain.result)
    return chain
  }

  /// The parameters a value is quantized with when that is all that happens to it, movement of its elements aside.
  func quantization(of id: ValueID) throws(GraphError) -> QuantizationParameters? {
    var id = id
    while let next = onlyUser(id) {
      if next.operatorName == "quantized_decomposed.quantize_per_tensor.default" {
        return try quantizationParameters(of: next)
      }
      guard Fuser.movementOperators.contains(next.operatorName) else { return nil }
      id = next.output
    }
    return nil
  }

  /// int8 per-tensor parameters of a quantize or dequantize node; nil when it is of another kind.
  func quantizationParameters(of node: Node) throws(GraphError) -> QuantizationParameters? {
    let call = try call(node)
    return try reading { () throws(OperatorError) in
      guard try call.dataType("dtype") == .int8, try call.int("quant_min") == -128, try call.int("quant_max") == 127
      else { return nil }
      let scale = Float(try call.float("scale"))
      let zeroPoint = try call.int("zero_point")
      guard scale.isFinite, scale > 0, (-128...127).contains(zeroPoint) else { return nil }
      return QuantizationParameters(scale: scale, zeroPoint: Int32(zeroPoint))
    }
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
