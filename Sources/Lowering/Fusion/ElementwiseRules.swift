import GraphIR
import Operators
import TensorCore

extension Fuser {
  static let elementwiseRules: [FusionRule] = [
    FusionRule([.add]) { fuser, node throws(GraphError) in try fuser.fuseBinary(node, .fusedAdd) },
    FusionRule([.sub]) { fuser, node throws(GraphError) in try fuser.fuseBinary(node, .fusedSub) },
    FusionRule([.mul]) { fuser, node throws(GraphError) in try fuser.fuseBinary(node, .fusedMul) },
    FusionRule(.traits(.clamps)) {
      fuser, node throws(GraphError) in
      try fuser.fuseClamp(node)
    },
    FusionRule(.traits(.pointwise)) { fuser, node throws(GraphError) in
      guard let input = node.inputs.first, let value = try fuser.int8(input) else {
        return .refused("its input is not quantized")
      }
      return try fuser.fuseTable(node, value)
    },
    FusionRule([.expand, .expandAs]) { fuser, node throws(GraphError) in
      try fuser.fuseExpansion(node)
    },
  ]

  /// An expansion of int8.
  private mutating func fuseExpansion(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("self"), try int8(input) != nil else { return .refused("its input is not quantized") }
    let shape = source.graph.spec(node.output).shape
    forms[node.output] = Form(try operand(input, shape, preferredOrder(input, input), isInt8: true))
    return .fused
  }

  private mutating func fuseBinary(_ node: Node, _ op: Operator) throws(GraphError) -> FusionOutcome {
    guard let a = node.value("self"), let b = node.value("other") else { return .refused("an operand is a scalar") }
    let (first, second) = (try weight(a), try weight(b))
    guard first == nil || second == nil else { return .refused("its operands are constants") }
    guard source.graph.spec(a).dataType == .float32, source.graph.spec(b).dataType == .float32 else {
      return .refused("it does not compute floats")
    }
    if node.op != .mul {
      let call = try call(node)
      let alpha = try reading { () throws(OperatorError) in try call.float("alpha") }
      guard alpha == 1 else { return .refused("alpha is \(alpha), not 1") }
    }
    var chain = try outputChain(of: node)
    let shape = source.graph.spec(node.output).shape
    let order = shape.rank == 4 ? preferredOrder(a, b) : .contiguous
    var operands: [ValueID] = []
    if try isInt8(a), try isInt8(b), chain.quantization != nil {
      for id in [a, b] { operands.append(try operand(id, shape, order, isInt8: true)) }
    } else {
      chain.quantization = nil
      for id in [a, b] { operands.append(try operand(id, shape, order, isInt8: false)) }
    }
    var output = outputSpec(chain)
    output.dimOrder = spec(operands[0]).dimOrder
    let arguments: [(String, Operand)] =
      [("self", .value(operands[0])), ("other", .value(operands[1]))] + chain.bounds()
    finish(chain, emit(op, name: chain.name, arguments, output: output, sources: chain.nodes))
    return .fused
  }

  /// Whether the operators here can take a value as int8: it is computed so, or a constant with one scale.
  private mutating func isInt8(_ id: ValueID) throws(GraphError) -> Bool {
    if let constant = try weight(id) { return constant.quantization.map { !$0.isPerChannel } ?? false }
    return try int8(id) != nil
  }

  /// An operand broadcast to `shape`: a computed value by an operator, a constant ahead of time.
  private mutating func operand(
    _ id: ValueID, _ shape: Shape, _ order: DimOrder, isInt8: Bool
  ) throws(GraphError) -> ValueID {
    let own = source.graph.spec(id).shape
    let aligned = Shape([Int](repeating: 1, count: max(0, shape.rank - own.rank)) + own.dimensions)
    var value: ValueID
    if let constant = try weight(id), isInt8 || constant.quantization == nil {
      let spec = TensorSpec(constant.tensor.dataType, aligned, quantization: isInt8 ? constant.quantization : nil)
      value = convert(
        addConstant(source.graph[id].name, constant.tensor.rowMajor().aligned().reinterpreted(as: spec)), to: order)
      return aligned == shape ? value : emitExpand(value, shape)
    }
    if isInt8, let quantized = try int8(id) {
      value = quantized
    } else {
      value = try real(id, own.rank == 4 ? order : .contiguous)
    }
    if aligned != own {
      value = emitView(convert(value, to: .contiguous), name: lowered.graph[value].name + "_view", aligned)
    }
    value = convert(value, to: order)
    return aligned == shape ? value : emitExpand(value, shape)
  }

  private mutating func emitExpand(_ value: ValueID, _ shape: Shape) -> ValueID {
    var output = spec(value)
    output.shape = shape
    return emit(
      .fusedExpand, name: lowered.graph[value].name + "_expand",
      [("self", .value(value)), ("size", .attribute(.ints(shape.dimensions)))], output: output)
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
      emit(.fusedClamp, name: node.name, [("self", .value(value))] + chain.bounds(), output: output, sources: [node]))
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
    let op = node.op
    let tableCall = OperatorCall(
      op: op, node: node.name, arguments: call.arguments, inputs: [TensorSpec(.float32, shape)],
      constants: [nil], outputs: [TensorSpec(.float32, shape)])
    let results = try reading { () throws(OperatorError) in
      try op.execute(tableCall, inputs: [Tensor(reals, shape: shape)])
    }
    let table = results[0].elements(as: Float.self).map(output.quantize)
    var spec = spec(value)
    spec.quantization = output
    forms[node.output] = Form(
      emit(
        .fusedLUT, name: node.name,
        [("self", .value(value)), ("table", .value(addConstant(node.name + "_table", Tensor(table, shape: shape))))],
        output: spec, sources: [node]))
    return .fused
  }
}
