import GraphIR
import Operators
import TensorCore

/// Rewrites a fused graph so that ExecuTorch can run it: every node becomes one of its XNNPACK delegate, or a kernel of
/// its portable library on contiguous reals.
///
/// Where ExecuTorch has no int8 operator for what is one here (tables, softmax, products of activations), its integers
/// are dequantized, the float operator runs, and its result is quantized: the same integers, but for the float
/// operator's last bits.
struct EdgeRewriter {
  /// The Q/DQ graph, which knows the functions that tables were made of.
  private let source: ExportedProgram
  private let lowered: ExportedProgram
  private let sourceNodes: [String: Node]
  private let producers: [ValueID: Int]
  private let users: [ValueID: [Int]]
  private(set) var result: ExportedProgram
  private var values: [ValueID: ValueID] = [:]
  /// Of the result.
  private var constants: [ValueID: Tensor] = [:]

  static func rewrite(_ lowered: ExportedProgram, source: ExportedProgram) throws(GraphError) -> ExportedProgram {
    var rewriter = EdgeRewriter(lowered, source)
    try rewriter.run()
    return rewriter.result
  }

  private init(_ lowered: ExportedProgram, _ source: ExportedProgram) {
    self.source = source
    self.lowered = lowered
    sourceNodes = Dictionary(source.graph.nodes.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    producers = lowered.graph.producers()
    users = lowered.graph.users()
    result = ExportedProgram(name: lowered.name, extraFiles: source.extraFiles)
  }

  private mutating func run() throws(GraphError) {
    let stored = lowered.storedConstants()
    for id in lowered.graph.inputs {
      if let tensor = stored[id] {
        values[id] = addConstant(lowered.graph[id].name, tensor)
      } else {
        let input = result.graph.addValue(lowered.graph[id].name, lowered.graph.spec(id))
        result.graph.inputs.append(input)
        result.inputKinds.append(.userInput)
        values[id] = input
      }
    }
    for node in lowered.graph.nodes { values[node.output] = try rewrite(node) }
    result.graph.outputs = lowered.graph.outputs.map { values[$0]! }
    result.graph.removeDeadNodes()
    result.removeUnusedConstants()
  }

  private func error(_ node: Node, _ reason: String) -> GraphError {
    GraphError(program: lowered.name, node: node.name, operatorName: node.op.name, reason: reason)
  }

  // MARK: Building

  private mutating func addConstant(_ name: String, _ tensor: Tensor) -> ValueID {
    let id = result.addBuffer(name, tensor)
    constants[id] = tensor
    return id
  }

  private func spec(_ id: ValueID) -> TensorSpec { result.graph.spec(id) }

  private mutating func emit(
    _ op: Operator, _ node: Node, suffix: String = "", _ arguments: [(String, Operand)], _ output: TensorSpec
  ) -> ValueID {
    let made = result.graph.makeNode(
      op, name: node.name + suffix, arguments: arguments.map { .init($0.0, $0.1) }, output: output,
      metadata: node.metadata)
    result.graph.nodes.append(made)
    return made.output
  }

  private mutating func dequantized(_ id: ValueID, _ node: Node) -> ValueID {
    guard let quantization = spec(id).quantization else { return id }
    if let tensor = constants[id], !quantization.isPerChannel {
      let reals = tensor.elements(as: Int8.self).map { quantum in
        (Float(quantum) - Float(quantization.zeroPoint)) * quantization.scale
      }
      return addConstant(
        result.graph[id].name + "_real", Tensor(reals, shape: tensor.shape, dimOrder: tensor.spec.dimOrder))
    }
    let output = TensorSpec(.float32, spec(id).shape, dimOrder: spec(id).dimOrder)
    return emit(.fusedDequantize, node, suffix: "_dequantize", [("self", .value(id))], output)
  }

  /// Reals as a value of that spec: quantized if it is int8, in its dim order.
  private mutating func settled(_ id: ValueID, as target: TensorSpec, _ node: Node) -> ValueID {
    var id = id
    if target.quantization != nil {
      var output = target
      output.dimOrder = spec(id).dimOrder
      id = emit(.fusedQuantize, node, suffix: "_quantize", [("self", .value(id))], output)
    }
    return reordered(id, target.dimOrder, node)
  }

  private mutating func reordered(_ id: ValueID, _ order: DimOrder, _ node: Node) -> ValueID {
    var output = spec(id)
    guard output.dimOrder != order, output.shape.rank == 4 else { return id }
    output.dimOrder = order
    let name = order == .channelsLast ? "channels_last" : "contiguous"
    return emit(
      .toDimOrderCopy, node, suffix: "_\(name)",
      [("self", .value(id)), ("dim_order", .attribute(.string(name)))], output)
  }

  private func mapped(_ operand: Operand) -> Operand {
    switch operand {
    case .value(let id): .value(values[id]!)
    case .values(let ids): .values(ids.map { values[$0]! })
    case .attribute: operand
    }
  }

  private mutating func copy(_ node: Node) -> ValueID {
    emit(
      node.op, node, node.arguments.map { ($0.name, mapped($0.operand)) }, lowered.graph.spec(node.output))
  }

  // MARK: Rules

  private mutating func rewrite(_ node: Node) throws(GraphError) -> ValueID {
    guard node.outputs.count == 1 else { throw error(node, "ExecuTorch has no operator for it") }
    let output = lowered.graph.spec(node.output)
    switch node.op {
    case .fusedLUT: return try rewriteTable(node, output)
    case .fusedSoftmax: return throughFloat(node, .softmax)
    case .fusedLayerNorm: return throughFloat(node, .layerNorm)
    case .fusedUpsampleNearest2d: return throughFloat(node, .upsampleNearest2d)
    case .fusedUpsampleBilinear2d: return throughFloat(node, .upsampleBilinear2d)
    case .fusedMatmul:
      let isPlain = node.inputs.allSatisfy { lowered.graph.spec($0).shape.rank == 2 }
      return throughFloat(node, isPlain ? .mm : .matmul)
    case .fusedAvgPool2d: return try rewriteAverage(node, output)
    case .fusedSlice: return try rewriteSlice(node, output)
    case .fusedExpand: return rewriteExpand(node, output)
    case .fusedConv2d: return try rewriteConvolution(node, output)
    case .fusedDynamicLinear, .fusedDynamicConv2d: return rewriteDynamic(node, output)
    case .matmul: return rewriteProduct(node, output)
    case .add, .sub, .mul, .div:
      return try rewriteScalarOperand(node, output)
    case .fusedCat: return rewriteConcatenation(node, output)
    case .fusedAdd, .fusedSub, .fusedMul: return rewriteBinary(node, output)
    case .silu, .hardsigmoid, .clampMin, .relu6:
      guard let input = node.inputs.first else { throw error(node, "has no input") }
      return try emitFunction(node, call(node), values[input]!)
    default: return copy(node)
    }
  }

  private func call(_ node: Node) throws(GraphError) -> OperatorCall {
    try lowered.call(of: node, constants: [:]).1
  }

  private func reading<R>(_ body: () throws(OperatorError) -> R) throws(GraphError) -> R {
    do { return try body() } catch { throw GraphError(error, program: lowered.name) }
  }

  /// The float operator of that name between dequantized operands and a quantized result, contiguous.
  private mutating func throughFloat(_ node: Node, _ op: Operator) -> ValueID {
    var arguments: [(String, Operand)] = []
    for argument in node.arguments where !argument.name.hasPrefix("output_m") {
      guard case .value(let id) = argument.operand else {
        arguments.append((argument.name, argument.operand))
        continue
      }
      let real = reordered(dequantized(values[id]!, node), .contiguous, node)
      let name = op == .mm && argument.name == "other" ? "mat2" : argument.name
      arguments.append((name, .value(real)))
    }
    let output = lowered.graph.spec(node.output)
    let real = emit(op, node, suffix: "_float", arguments, TensorSpec(.float32, output.shape))
    return settled(real, as: output, node)
  }

  /// A number in a tensor's place becomes a constant.
  private mutating func rewriteScalarOperand(_ node: Node, _ output: TensorSpec) throws(GraphError) -> ValueID {
    guard output.dataType == .float32, let input = node.value("self"), node.value("other") == nil else {
      return copy(node)
    }
    let call = try call(node)
    let number = try reading { () throws(OperatorError) in
      let other = try call.float("other")
      return call.schema.parameter(named: "alpha") == nil ? other : try call.float("alpha") * other
    }
    let names: [Operator: Operator] = [.add: .fusedAdd, .sub: .fusedSub, .mul: .fusedMul]
    let operand = scalar(Float(number), spec(values[input]!), node)
    return emit(
      names[node.op] ?? node.op, node,
      [("self", .value(values[input]!)), ("other", .value(operand))], output)
  }

  /// A product of matrices has a kernel of its own.
  private mutating func rewriteProduct(_ node: Node, _ output: TensorSpec) -> ValueID {
    guard node.inputs.count == 2, node.inputs.allSatisfy({ lowered.graph.spec($0).shape.rank == 2 }) else {
      return copy(node)
    }
    return emit(
      .mm, node,
      [("self", .value(values[node.inputs[0]]!)), ("mat2", .value(values[node.inputs[1]]!))], output)
  }

  /// The delegate takes weights with a scale per channel only, which may all be equal.
  private mutating func rewriteDynamic(_ node: Node, _ output: TensorSpec) -> ValueID {
    guard let id = node.value("weight"), let tensor = constants[values[id]!],
      let quantization = tensor.spec.quantization, !quantization.isPerChannel
    else { return copy(node) }
    var spec = tensor.spec
    let scales = [Float](repeating: quantization.scale, count: spec.shape[0])
    spec.quantization = QuantizationParameters(perChannel: scales, axis: 0)
    let weight = addConstant(lowered.graph[id].name, tensor.reinterpreted(as: spec))
    let arguments = node.arguments.map { argument in
      (argument.name, argument.name == "weight" ? .value(weight) : mapped(argument.operand))
    }
    return emit(node.op, node, arguments, output)
  }

  private mutating func rewriteTable(_ node: Node, _ output: TensorSpec) throws(GraphError) -> ValueID {
    guard let input = node.value("self") else { throw error(node, "has no input") }
    let real = dequantized(values[input]!, node)
    // A table of a node that computes nothing changes the parameters alone.
    let origin = (node.metadata["source_nodes"] ?? "").split(separator: ",").first.flatMap { sourceNodes[String($0)] }
    guard let origin, EdgeRewriter.functions.contains(origin.op) else {
      return settled(real, as: output, node)
    }
    let call = try source.call(of: origin, constants: [:]).1
    return settled(try emitFunction(node, call, real), as: output, node)
  }

  /// The functions of one element that tables are made of.
  private static let functions: Set<Operator> = [
    .relu, .relu6, .hardtanh, .clamp, .clampMin,
    .sigmoid, .tanh, .hardswish, .hardsigmoid,
    .silu, .gelu, .elu, .leakyRelu, .exp,
    .neg, .abs, .sqrt, .rsqrt, .square,
    .pow, .log, .sin, .cos, .floor,
    .ceil,
  ]

  /// A function of one element on reals, by operators that ExecuTorch has.
  private mutating func emitFunction(
    _ node: Node, _ call: OperatorCall, _ input: ValueID
  ) throws(GraphError) -> ValueID {
    let output = spec(input)
    func clamp(_ low: Double?, _ high: Double?) -> [(String, Operand)] {
      [("self", .value(input))] + (low.map { [("output_min", .attribute(.float($0)))] } ?? [])
        + (high.map { [("output_max", .attribute(.float($0)))] } ?? [])
    }
    switch call.op {
    case .relu: return emit(.fusedClamp, node, suffix: "_float", clamp(0, nil), output)
    case .relu6: return emit(.fusedClamp, node, suffix: "_float", clamp(0, 6), output)
    case .hardtanh:
      let (low, high) = try reading { () throws(OperatorError) in (try call.float("min_val"), try call.float("max_val"))
      }
      return emit(.fusedClamp, node, suffix: "_float", clamp(low, high), output)
    case .clamp:
      let (low, high) = try reading { () throws(OperatorError) in
        (try call.optionalFloat("min"), try call.optionalFloat("max"))
      }
      return emit(.fusedClamp, node, suffix: "_float", clamp(low, high), output)
    case .clampMin:
      let low = try reading { () throws(OperatorError) in try call.float("min") }
      return emit(.fusedClamp, node, suffix: "_float", clamp(low, nil), output)
    case .silu:
      let gate = emit(.sigmoid, node, suffix: "_gate", [("self", .value(input))], output)
      return emit(.fusedMul, node, suffix: "_float", [("self", .value(input)), ("other", .value(gate))], output)
    case .hardsigmoid:
      let shifted = emit(
        .fusedAdd, node, suffix: "_shift",
        [
          ("self", .value(input)), ("other", .value(scalar(3, output, node))), ("output_min", .attribute(.float(0))),
          ("output_max", .attribute(.float(6))),
        ], output)
      return emit(
        .fusedMul, node, suffix: "_float",
        [("self", .value(shifted)), ("other", .value(scalar(1 / 6, output, node)))], output)
    default:
      var arguments: [(String, Operand)] = [("self", .value(input))]
      for (name, argument) in call.arguments.sorted(by: { $0.key < $1.key }) {
        if case .attribute(let value) = argument { arguments.append((name, .attribute(value))) }
      }
      return emit(call.op, node, suffix: "_float", arguments, output)
    }
  }

  /// A convolution over an input with zeros between its elements is a transposed convolution in the delegate.
  private mutating func rewriteConvolution(_ node: Node, _ output: TensorSpec) throws(GraphError) -> ValueID {
    guard let input = node.value("input"), let weightID = node.value("weight"),
      let pad = producers[input].map({ lowered.graph.nodes[$0] }), pad.op == .fusedPad,
      let inner = pad.value("self"), let weight = constants[values[weightID]!]
    else { return copy(node) }
    let (padCall, call) = (try self.call(pad), try self.call(node))
    let (interior, pre, post) = try reading { () throws(OperatorError) in
      (try padCall.ints("interior"), try padCall.ints("pre"), try padCall.ints("post"))
    }
    guard interior.contains(where: { $0 > 0 }) else { return copy(node) }
    let (groups, dilation) = try reading { () throws(OperatorError) in
      (try call.int("groups"), try call.pair("dilation"))
    }
    guard groups == 1 else { throw error(node, "ExecuTorch has no transposed convolution in groups for it") }
    let shape = weight.shape
    let reach = [dilation.height * (shape[2] - 1), dilation.width * (shape[3] - 1)]
    var arguments: [(String, Operand)] = [
      ("input", .value(values[inner]!)),
      ("weight", .value(addConstant(lowered.graph[weightID].name + "_turned", weight.turned()))),
      ("stride", .attribute(.ints([interior[2] + 1, interior[3] + 1]))),
      ("padding", .attribute(.ints([reach[0] - pre[2], reach[1] - pre[3]]))),
      ("output_padding", .attribute(.ints([post[2] - pre[2], post[3] - pre[3]]))),
      ("dilation", .attribute(.ints([dilation.height, dilation.width]))),
    ]
    if let bias = node.value("bias") { arguments.append(("bias", .value(values[bias]!))) }
    // The ATen operator has no bounds, so a clamp takes its place.
    let result = emit(.convTranspose2d, node, arguments, output)
    let bounds = node.arguments.filter { $0.name.hasPrefix("output_m") }.map { ($0.name, $0.operand) }
    return bounds.isEmpty
      ? result : emit(.fusedClamp, node, suffix: "_clamp", [("self", .value(result))] + bounds, output)
  }

  /// A constant that is broadcast to a value of that spec.
  private mutating func scalar(_ value: Float, _ like: TensorSpec, _ node: Node) -> ValueID {
    let ones = Shape([Int](repeating: 1, count: like.shape.rank))
    return addConstant(node.name + "_constant", Tensor([value], shape: ones, dimOrder: like.dimOrder))
  }

  /// The delegate has int8 averages over whole images, and leaves padding out of the others.
  private mutating func rewriteAverage(_ node: Node, _ output: TensorSpec) throws(GraphError) -> ValueID {
    let call = try call(node)
    let (kernel, padding) = try reading { () throws(OperatorError) in
      (try call.pair("kernel_size"), try call.ints("padding"))
    }
    guard let input = node.value("self") else { throw error(node, "has no input") }
    let shape = lowered.graph.spec(input).shape
    let isPadded = padding.contains { $0 != 0 }
    if !isPadded, kernel == (shape[2], shape[3]), hasRatio(input, output, -8, 8) { return copy(node) }
    if !isPadded, output.quantization == nil { return copy(node) }
    var real = dequantized(values[input]!, node)
    if isPadded {
      let pads = padding.count == 4 ? padding : [Int](repeating: padding[0], count: 4)
      var padded = spec(real)
      padded.shape = Shape([shape[0], shape[1], shape[2] + pads[0] + pads[2], shape[3] + pads[1] + pads[3]])
      real = emit(
        .fusedPad, node, suffix: "_pad",
        [
          ("self", .value(real)), ("pre", .attribute(.ints([0, 0, pads[0], pads[3]]))),
          ("post", .attribute(.ints([0, 0, pads[2], pads[1]]))), ("value", .attribute(.float(0))),
        ], padded)
    }
    var arguments: [(String, Operand)] = [("self", .value(real)), ("padding", .attribute(.ints([0, 0, 0, 0])))]
    for argument in node.arguments where argument.name == "kernel_size" || argument.name == "stride" {
      arguments.append((argument.name, argument.operand))
    }
    if output.quantization == nil {
      for argument in node.arguments where argument.name.hasPrefix("output_m") {
        arguments.append((argument.name, argument.operand))
      }
    }
    let averaged = emit(
      .fusedAvgPool2d, node, suffix: "_float", arguments,
      TensorSpec(.float32, output.shape, dimOrder: .channelsLast))
    return bounded(settled(averaged, as: output, node), node)
  }

  /// The bounds, in quanta, of a node whose operator has been replaced by one without.
  private mutating func bounded(_ id: ValueID, _ node: Node) -> ValueID {
    let bounds = node.arguments.filter { $0.name.hasPrefix("output_m") }.map { ($0.name, $0.operand) }
    guard !bounds.isEmpty, spec(id).quantization != nil else { return id }
    return emit(.fusedClamp, node, suffix: "_clamp", [("self", .value(id))] + bounds, spec(id))
  }

  /// Whether the ratio of two scales is in 2^low ..< 2^high, outside which XNNPACK refuses.
  private func hasRatio(_ input: ValueID, _ output: TensorSpec, _ low: Int, _ high: Int) -> Bool {
    guard let a = lowered.graph.spec(input).quantization, let b = output.quantization else { return true }
    let ratio = a.scale / b.scale
    return ratio >= Float(sign: .plus, exponent: low, significand: 1)
      && ratio < Float(sign: .plus, exponent: high, significand: 1)
  }

  private mutating func rewriteBinary(_ node: Node, _ output: TensorSpec) -> ValueID {
    guard let a = node.value("self"), let b = node.value("other"), let target = output.quantization else {
      return copy(node)
    }
    let isInRange: Bool
    if node.op == .fusedMul, let qa = lowered.graph.spec(a).quantization,
      let qb = lowered.graph.spec(b).quantization
    {
      isInRange = (0x1p-16..<0x1p8).contains(qa.scale * qb.scale / target.scale)
    } else {
      isInRange = hasRatio(a, output, -10, 8) && hasRatio(b, output, -10, 8)
    }
    if isInRange { return copy(node) }
    let operands = [dequantized(values[a]!, node), dequantized(values[b]!, node)]
    let real = emit(
      node.op, node, suffix: "_float", [("self", .value(operands[0])), ("other", .value(operands[1]))],
      TensorSpec(.float32, output.shape, dimOrder: output.dimOrder))
    return bounded(settled(real, as: output, node), node)
  }

  /// The delegate's slices take neighbours only.
  private mutating func rewriteSlice(_ node: Node, _ output: TensorSpec) throws(GraphError) -> ValueID {
    let call = try call(node)
    let step = try reading { () throws(OperatorError) in try call.int("step") }
    guard step != 1, let input = node.value("self") else { return copy(node) }
    let real = reordered(dequantized(values[input]!, node), .contiguous, node)
    let rest = node.arguments.filter { $0.name != "self" }.map { ($0.name, $0.operand) }
    let sliced = emit(
      .slice, node, suffix: "_float", [("self", .value(real))] + rest, TensorSpec(.float32, output.shape))
    return settled(sliced, as: output, node)
  }

  /// The delegate's operators broadcast by themselves.
  private mutating func rewriteExpand(_ node: Node, _ output: TensorSpec) -> ValueID {
    let readers = (users[node.output] ?? []).map { lowered.graph.nodes[$0] }
    let binary: Set<Operator> = [.fusedAdd, .fusedSub, .fusedMul]
    let input = values[node.inputs[0]]!
    if !lowered.graph.outputs.contains(node.output), readers.allSatisfy({ binary.contains($0.op) }) {
      return input
    }
    let real = reordered(dequantized(input, node), .contiguous, node)
    let expanded = emit(
      .expand, node, suffix: "_float",
      [("self", .value(real)), ("size", .attribute(.ints(output.shape.dimensions)))],
      TensorSpec(.float32, output.shape))
    return settled(expanded, as: output, node)
  }

  /// The delegate concatenates up to five parts.
  private mutating func rewriteConcatenation(_ node: Node, _ output: TensorSpec) -> ValueID {
    guard case .values(let ids) = node.operand("tensors"), case .attribute(.int(let dim)) = node.operand("dim"),
      ids.count > 5
    else { return copy(node) }
    var parts = ids.map { values[$0]! }
    while parts.count > 1 {
      let group = Array(parts.prefix(5))
      var joined = output
      if parts.count > 5 {
        var sizes = output.shape.dimensions
        sizes[dim] = group.reduce(0) { $0 + spec($1).shape[dim] }
        joined.shape = Shape(sizes)
      }
      let value = emit(
        .fusedCat, node, [("tensors", .values(group)), ("dim", .attribute(.int(dim)))], joined)
      parts = [value] + parts.dropFirst(5)
    }
    return parts[0]
  }
}

extension Tensor {
  /// A channels-last filter (O, I, H, W) with each kernel turned by 180 degrees.
  fileprivate func turned() -> Tensor {
    let size = shape[1] * dataType.size
    let area = shape[2] * shape[3]
    return Tensor(unsafeUninitialized: spec) { target in
      withUnsafeBytes { bytes in
        for row in 0..<shape[0] * area {
          let mirrored = row / area * area + (area - 1 - row % area)
          UnsafeMutableRawBufferPointer(rebasing: target[row * size..<(row + 1) * size]).copyBytes(
            from: bytes[mirrored * size..<(mirrored + 1) * size])
        }
      }
    }
  }
}
