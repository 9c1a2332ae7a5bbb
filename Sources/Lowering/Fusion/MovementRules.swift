import GraphIR
import Operators
import TensorCore

extension Fuser {
  static let movementRules: [FusionRule] = [
    FusionRule(.traits(.reshapes)) { fuser, node throws(GraphError) in try fuser.fuseView(node) },
    FusionRule([.pad, .constantPadNd]) { fuser, node throws(GraphError) in
      try fuser.fusePad(node)
    },
    FusionRule([.t]) { fuser, node throws(GraphError) in try fuser.fuseTransposition(node) },
    FusionRule([.permute, .transposeInt]) { fuser, node throws(GraphError) in
      try fuser.fusePermutation(node)
    },
  ]

  // MARK: Views

  private mutating func fuseView(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.inputs.first, constant(input) == nil else { return .refused("its input is a constant") }
    let shape = source.graph.spec(node.output).shape
    var value = try settled(input)
    let from = spec(value)
    if from.dimOrder == .channelsLast {
      let (channels, height, width) = (from.shape[1], from.shape[2], from.shape[3])
      let isSameOrder = channels == 1 || height * width == 1
      if !isSameOrder, isReadByLinears(node.output), shape == [from.shape[0], channels * height * width] {
        var form = Form(emitView(node, value, shape))
        form.flattened = (channels, height, width)
        forms[node.output] = form
        return .fused
      }
      if !isSameOrder || shape.rank == 4 { value = convert(value, to: .contiguous) }
    }
    forms[node.output] = Form(emitView(node, value, shape))
    return .fused
  }

  private mutating func emitView(_ node: Node, _ value: ValueID, _ shape: Shape) -> ValueID {
    emitView(value, name: node.name, shape, [node])
  }

  /// The elements of a contiguous value under another shape.
  mutating func emitView(_ value: ValueID, name: String, _ shape: Shape, _ sources: [Node] = []) -> ValueID {
    let input = spec(value)
    return emit(
      .fusedView, name: name,
      [("self", .value(value)), ("size", .attribute(.ints(shape.dimensions)))],
      output: TensorSpec(input.dataType, shape, quantization: input.quantization), sources: sources)
  }

  /// Whether all that happens to a value, quantization aside, is to be a linear's input.
  private func isReadByLinears(_ id: ValueID) -> Bool {
    guard !source.graph.outputs.contains(id), let indices = users[id] else { return false }
    return indices.allSatisfy { index in
      let user = source.graph.nodes[index]
      switch user.op {
      case .linear: return user.value("input") == id && user.value("weight") != id
      case .quantizePerTensor, .dequantizePerTensor:
        return isReadByLinears(user.output)
      default: return false
      }
    }
  }

  /// Elements in memory order (H, W, C) back into the order (C, H, W) of the source graph.
  mutating func emitUnflatten(_ value: ValueID, _ channels: Int, _ height: Int, _ width: Int) -> ValueID {
    let flat = spec(value)
    let batch = flat.shape[0]
    let image = emit(
      .fusedView, name: lowered.graph[value].name + "_nhwc",
      [("self", .value(value)), ("size", .attribute(.ints([batch, height, width, channels])))],
      output: TensorSpec(flat.dataType, [batch, height, width, channels], quantization: flat.quantization))
    // Seen as (N, H, W, C), making it channels last would move W inwards; a plain permutation is meant.
    let permuted = emit(
      .permute, name: lowered.graph[value].name + "_nchw",
      [("self", .value(image)), ("dims", .attribute(.ints([0, 3, 1, 2])))],
      output: TensorSpec(flat.dataType, [batch, channels, height, width], quantization: flat.quantization))
    return emit(
      .fusedView, name: lowered.graph[value].name + "_flat",
      [("self", .value(permuted)), ("size", .attribute(.ints(flat.shape.dimensions)))], output: flat)
  }

  /// A permutation of int8 is the ATen operator itself, which takes any element type.
  private mutating func fusePermutation(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.inputs.first, constant(input) == nil, let value = try int8(input) else {
      return .refused("its input is not quantized")
    }
    let plain = convert(value, to: .contiguous)
    var output = spec(plain)
    output.shape = source.graph.spec(node.output).shape
    let rest = node.arguments.filter { $0.name != "self" }.map { ($0.name, $0.operand) }
    forms[node.output] = Form(
      emit(node.op, name: node.name, [("self", .value(plain))] + rest, output: output, sources: [node]))
    return .fused
  }

  /// A matrix's transposition is a permutation.
  private mutating func fuseTransposition(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("self"), constant(input) == nil else { return .refused("its input is a constant") }
    let value = convert(try settled(input), to: .contiguous)
    var output = spec(value)
    output.shape = source.graph.spec(node.output).shape
    let dims: [Int] = (0..<output.shape.rank).reversed()
    forms[node.output] = Form(
      emit(
        .permute, name: node.name, [("self", .value(value)), ("dims", .attribute(.ints(dims)))],
        output: output, sources: [node]))
    return .fused
  }

  // MARK: Padding

  private mutating func fusePad(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("self"), constant(input) == nil else { return .refused("its input is a constant") }
    guard source.graph.spec(input).dataType == .float32 else { return .refused("it does not move floats") }
    let call = try call(node)
    let isConstant = try reading { () throws(OperatorError) in
      call.schema.parameter(named: "mode") == nil ? true : try call.string("mode") == "constant"
    }
    guard isConstant else { return .refused("only constant padding is fused") }
    let (pads, fill) = try reading { () throws(OperatorError) in
      (try call.ints("pad"), try call.optionalFloat("value") ?? 0)
    }
    guard pads.allSatisfy({ $0 >= 0 }) else { return .refused("negative padding is not fused") }
    let shape = source.graph.spec(input).shape
    var form = try form(input)
    if shape.rank == 4, pads.count <= 4, fill == 0 {
      // (left, right, top, bottom), innermost first.
      let sides = pads + [Int](repeating: 0, count: 4 - pads.count)
      let own = [sides[2], sides[1], sides[3], sides[0]]
      form.pendingPad = zip(form.pendingPad ?? [0, 0, 0, 0], own).map(+)
      forms[node.output] = form
      return .fused
    }
    var before = [Int](repeating: 0, count: shape.rank)
    var after = before
    for index in 0..<pads.count / 2 {
      before[shape.rank - 1 - index] = pads[2 * index]
      after[shape.rank - 1 - index] = pads[2 * index + 1]
    }
    let value = try settled(input)
    if let quantization = spec(value).quantization {
      let represented = (Float(quantization.quantize(Float(fill))) - Float(quantization.zeroPoint)) * quantization.scale
      guard represented == Float(fill) else { return .refused("int8 cannot hold the padding value \(fill) exactly") }
    }
    forms[node.output] = Form(emitPad(value, before: before, after: after, value: fill, name: node.name, [node]))
    return .fused
  }

  /// Zeros around height and width: (top, right, bottom, left).
  mutating func emitPad(_ value: ValueID, spatial: [Int]) -> ValueID {
    emitPad(
      value, before: [0, 0, spatial[0], spatial[3]], after: [0, 0, spatial[2], spatial[1]], value: 0,
      name: lowered.graph[value].name + "_pad", [])
  }

  private mutating func emitPad(
    _ value: ValueID, before: [Int], after: [Int], value fill: Double, name: String, _ sources: [Node]
  ) -> ValueID {
    var output = spec(value)
    output.shape = Shape(zip(output.shape.dimensions, zip(before, after)).map { $0 + $1.0 + $1.1 })
    return emit(
      .fusedPad, name: name,
      [
        ("self", .value(value)), ("pre", .attribute(.ints(before))), ("post", .attribute(.ints(after))),
        ("value", .attribute(.float(fill))),
      ], output: output, sources: sources)
  }
}
