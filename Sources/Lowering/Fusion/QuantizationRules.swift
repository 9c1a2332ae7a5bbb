import GraphIR
import Operators
import TensorCore

extension Fuser {
  static let quantizationRules: [FusionRule] = [
    FusionRule([.quantizePerTensor]) { fuser, node throws(GraphError) in
      try fuser.quantize(node)
    },
    FusionRule([.dequantizePerTensor]) { fuser, node throws(GraphError) in
      try fuser.dequantize(node)
    },
    FusionRule([.dequantizePerChannel]) { fuser, node throws(GraphError) in
      try fuser.dequantizeConstant(node)
    },
    FusionRule([.observe]) { fuser, node throws(GraphError) in
      try fuser.observe(node)
    },
    FusionRule(.traits(.passesThrough)) {
      fuser, node throws(GraphError) in
      guard let input = node.inputs.first, fuser.forms[input] != nil else { return .refused("its input is a constant") }
      fuser.forms[node.output] = try fuser.form(input)
      return .fused
    },
  ]

  /// A weight: the operator that reads it takes the integers, by `weight(_:)`. Of other constants (an embedding's table of
  /// uint8) all readers take reals.
  private mutating func dequantizeConstant(_ node: Node) throws(GraphError) -> FusionOutcome {
    if try weight(node.output) != nil || isBias(node) { return .fused }
    return try dequantizedConstant(node) != nil ? .fused : .refused("its scales are computed")
  }

  /// Whether it dequantizes constants for layers that read them as their bias: those take the integers as they stand, or ask
  /// for the reals (`constantReals`).
  private func isBias(_ node: Node) -> Bool {
    guard let readers = users[node.output], node.callInputs.allSatisfy({ sourceConstants[$0] != nil })
    else {
      return false
    }
    return readers.allSatisfy { index in
      let reader = source.graph.nodes[index]
      return reader.op.layer != nil && reader.value("bias") == node.output
        && reader.inputs.count { $0 == node.output } == 1
    } && !source.graph.outputs.contains(node.output)
  }

  private mutating func quantize(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("input"), let target = try quantizationParameters(of: node) else {
      return .refused("only int8 per-tensor quantization with range [-128, 127] can be lowered")
    }
    guard forms[input] != nil else { return .refused("it quantizes a constant; fold it ahead of time") }
    var form = try form(input)
    if let current = spec(form.id).quantization {
      if current != target { form.id = requantized(form.id, from: current, to: target, node) }
    } else {
      let real = spec(form.id)
      form.id = emit(
        .fusedQuantize, name: node.name, [("self", .value(form.id))],
        output: TensorSpec(.int8, real.shape, dimOrder: real.dimOrder, quantization: target), sources: [node])
    }
    quantized[node.output] = form
    return .fused
  }

  /// int8 under other parameters: exactly dequantize and quantize, as a table.
  mutating func requantized(
    _ id: ValueID, from current: QuantizationParameters, to target: QuantizationParameters, _ node: Node
  ) -> ValueID {
    let table = (-128...127).map { quantum in
      target.quantize((Float(quantum) - Float(current.zeroPoint)) * current.scale)
    }
    var output = spec(id)
    output.quantization = target
    return emit(
      .fusedLUT, name: node.name + "_requantize",
      [("self", .value(id)), ("table", .value(addConstant(node.name + "_table", Tensor(table, shape: [256]))))],
      output: output, sources: [node])
  }

  private mutating func dequantize(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("input") else { return .refused("it has no input") }
    if sourceConstants[input] != nil { return try dequantizeConstant(node) }
    guard let form = quantized[input], let parameters = try quantizationParameters(of: node) else {
      return .refused("its input does not come from an int8 per-tensor quantize node")
    }
    guard spec(form.id).quantization == parameters else {
      return .refused("its scale or zero point differs from the quantize node's")
    }
    forms[node.output] = form
    return .fused
  }

  /// Keeps the observed value as an output of the lowered graph.
  private mutating func observe(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("input") else { return .refused("it has no input") }
    if let tensor = sourceConstants[input] {
      // Weights are observed when the observer is inserted.
      forms[node.output] = forms[input] ?? Form(addConstant(source.graph[input].name, tensor))
      observedConstants[node.output] = tensor
      return .fused
    }
    let call = try call(node)
    let observer = try reading { () throws(OperatorError) in try call.int("observer") }
    let value = try settled(input)
    observed.append((observer, value))
    forms[node.output] = Form(value)
    return .fused
  }

  // MARK: Weights

  /// A constant operand of a convolution or linear: its elements, and for int8 its scales.
  struct Weight {
    let tensor: Tensor
    /// Nil for float weights.
    let quantization: QuantizationParameters?
  }

  /// The weight that a value stands for: a float constant, or the integers behind a dequantize node. Nil when it is
  /// computed.
  func weight(_ id: ValueID) throws(GraphError) -> Weight? {
    if let tensor = sourceConstants[id] ?? observedConstants[id] { return Weight(tensor: tensor, quantization: nil) }
    guard let index = producers[id] else { return nil }
    let node = source.graph.nodes[index]
    guard let input = node.value("input"), let tensor = sourceConstants[input], tensor.dataType == .int8 else {
      return nil
    }
    switch node.op {
    case .dequantizePerTensor:
      let call = try call(node)
      let (scale, zeroPoint) = try reading { () throws(OperatorError) in
        (Float(try call.float("scale")), try call.int("zero_point"))
      }
      return Weight(
        tensor: tensor,
        quantization: QuantizationParameters(scale: scale, zeroPoint: Int32(clamping: zeroPoint)))
    case .dequantizePerChannel:
      return try perChannelWeight(tensor, node)
    default: return nil
    }
  }

  private func perChannelWeight(_ tensor: Tensor, _ node: Node) throws(GraphError) -> Weight? {
    let call = try call(node)
    return try reading { () throws(OperatorError) in
      guard let scales = try call.constant("scales"), let axis = tensor.shape.normalizedDimension(try call.int("axis")),
        scales.shape.dimensions == [tensor.shape[axis]]
      else { return nil }
      if let zeroPoints = try call.constant("zero_points") {
        let isSymmetric = zeroPoints.withUnsafeBytes { bytes in bytes.allSatisfy { $0 == 0 } }
        guard isSymmetric else { return nil }
      }
      let values: [Float]
      switch scales.dataType {
      case .float32: values = scales.elements()
      case .float64: values = scales.elements(as: Double.self).map(Float.init)
      default: return nil
      }
      return Weight(tensor: tensor, quantization: QuantizationParameters(perChannel: values, axis: axis))
    }
  }
}
