import GraphIR
import Operators
import TensorCore

extension Fuser {
  static let elementwiseRules: [FusionRule] = [
    FusionRule(["aten.add.Tensor"]) { fuser, node throws(GraphError) in try fuser.fuseBinary(node, "fused.add") },
    FusionRule(["aten.mul.Tensor"]) { fuser, node throws(GraphError) in try fuser.fuseBinary(node, "fused.mul") },
    FusionRule(["aten.relu.default", "aten.hardtanh.default", "aten.clamp.default"]) {
      fuser, node throws(GraphError) in
      try fuser.fuseClamp(node)
    },
    FusionRule(["aten.sigmoid.default"]) { fuser, node throws(GraphError) in
      guard let input = node.inputs.first, let value = try fuser.int8(input) else {
        return .refused("its input is not quantized")
      }
      return try fuser.fuseTable(node, value)
    },
  ]

  private mutating func fuseBinary(_ node: Node, _ operatorName: String) throws(GraphError) -> FusionOutcome {
    guard let a = node.value("self"), let b = node.value("other") else { return .refused("an operand is a scalar") }
    guard constant(a) == nil, constant(b) == nil else { return .refused("an operand is a constant") }
    guard source.graph.spec(a) == source.graph.spec(b) else {
      return .refused("its operands differ in shape: \(source.graph.spec(a)) and \(source.graph.spec(b))")
    }
    guard source.graph.spec(a).dataType == .float32 else { return .refused("it does not compute floats") }
    if node.operatorName == "aten.add.Tensor" {
      let call = try call(node)
      let alpha = try reading { () throws(OperatorError) in try call.float("alpha") }
      guard alpha == 1 else { return .refused("alpha is \(alpha), not 1") }
    }
    var chain = try outputChain(of: node)
    let order = preferredOrder(a, b)
    var operands: [ValueID]
    if let x = try int8(a), let y = try int8(b), chain.quantization != nil {
      operands = [convert(x, to: order), convert(y, to: order)]
    } else {
      chain.quantization = nil
      operands = [try real(a, order), try real(b, order)]
    }
    var output = outputSpec(chain)
    output.dimOrder = spec(operands[0]).dimOrder
    let arguments: [(String, Operand)] =
      [("self", .value(operands[0])), ("other", .value(operands[1]))] + chain.bounds()
    finish(chain, emit(operatorName, name: chain.name, arguments, output: output, sources: chain.nodes))
    return .fused
  }

  /// Channels last if one of the operands already is.
  private func preferredOrder(_ a: ValueID, _ b: ValueID) -> DimOrder {
    for id in [a, b] { if let form = forms[id], spec(form.id).dimOrder == .channelsLast { return .channelsLast } }
    return .contiguous
  }

  /// A clamp that could not be fused into what computes its input.
  private mutating func fuseClamp(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.inputs.first, constant(input) == nil, let (low, high) = try activationBounds(node) else {
      return .refused("its input is a constant")
    }
    var chain = OutputChain(result: node.output, nodes: [node], minimum: low, maximum: high)
    var value = try settled(input)
    if let current = spec(value).quantization {
      // A bound inside the grid changes reals off the grid unless the result is quantized again.
      let target = try quantization(of: node.output)
      if let target, target != current { return try fuseTable(node, value) }
      if target != nil || (low == 0 && high == .infinity) {
        chain.quantization = current
      } else {
        value = try real(input, spec(value).dimOrder)
      }
    }
    let output = TensorSpec(
      spec(value).dataType, spec(value).shape, dimOrder: spec(value).dimOrder, quantization: chain.quantization)
    finish(
      chain,
      emit("fused.clamp", name: node.name, [("self", .value(value))] + chain.bounds(), output: output, sources: [node]))
    return .fused
  }

  /// Any function of one element between int8 and int8: a table made with the float operator itself.
  mutating func fuseTable(_ node: Node, _ value: ValueID) throws(GraphError) -> FusionOutcome {
    guard let input = spec(value).quantization, let output = try quantization(of: node.output) else {
      return .refused("its output is not quantized")
    }
    let reals = (-128...127).map { (Float($0) - Float(input.zeroPoint)) * input.scale }
    let call = try call(node)
    let shape: Shape = [256]
    guard let op = OperatorSet.named(node.operatorName) else { throw error(node, "unknown operator") }
    let tableCall = OperatorCall(
      schema: op.schema, node: node.name, arguments: call.arguments, inputs: [TensorSpec(.float32, shape)],
      constants: [nil], outputs: [TensorSpec(.float32, shape)])
    let results = try reading { () throws(OperatorError) in
      try op.execute(tableCall, inputs: [Tensor(reals, shape: shape)])
    }
    let table = results[0].elements(as: Float.self).map(output.quantize)
    var spec = spec(value)
    spec.quantization = output
    forms[node.output] = Form(
      emit(
        "fused.lut", name: node.name,
        [("self", .value(value)), ("table", .value(addConstant(node.name + "_table", Tensor(table, shape: shape))))],
        output: spec, sources: [node]))
    return .fused
  }
}
