import GraphIR
import Operators
import TensorCore

/// Rewrites a fused graph so that ExecuTorch can run it: every node becomes one of its XNNPACK delegate, or a kernel of
/// its library on contiguous tensors. What becomes of an operator is a `RewriteRow`; one without a row of any kind is
/// refused.
///
/// Where ExecuTorch has no int8 operator for what is one here (tables, softmax, products of activations), its integers
/// are dequantized, the float operator runs, and its result is quantized: the same integers, but for the float
/// operator's last bits.
struct EdgeRewriter {
  /// A node to be written: its tensors are values of the result.
  struct Call {
    var op: Operator
    let name: String
    var arguments: [Node.Argument]
    var outputs: [TensorSpec]
    let metadata: [String: String]
    let program: String

    var output: TensorSpec { outputs[0] }

    func operand(_ name: String) -> Operand? { arguments.first { $0.name == name }?.operand }

    func value(_ name: String) throws(GraphError) -> ValueID {
      if case .value(let id) = operand(name) { return id }
      throw GraphError(program: program, node: self.name, operatorName: op.name, reason: "has no '\(name)'")
    }

    mutating func set(_ name: String, _ operand: Operand) {
      if let index = arguments.firstIndex(where: { $0.name == name }) {
        arguments[index].operand = operand
      } else {
        arguments.append(.init(name, operand))
      }
    }

    /// Another operator on `tensors`, in the order of its schema, in the call's place.
    func becoming(
      _ op: Operator, _ tensors: [ValueID], _ attributes: [String: Operand] = [:], _ output: TensorSpec? = nil
    ) -> Call {
      var call = self
      call.op = op
      call.outputs = [output ?? self.output]
      call.arguments = zip(op.schema.tensorNames, tensors).map { .init($0, .value($1)) }
      call.arguments += attributes.sorted { $0.key < $1.key }.map { .init($0.key, $0.value) }
      return call
    }
  }

  /// The nodes of the Q/DQ graph, which knows the functions that tables were made of.
  private let sourceNodes: [String: Node]
  private let lowered: ExportedProgram
  private(set) var result: ExportedProgram
  private var values: [ValueID: ValueID] = [:]
  /// Of the result.
  private(set) var constants: [ValueID: Tensor] = [:]
  private var producers: [ValueID: Int] = [:]
  /// Expanded values → what they are expanded from.
  var narrow: [ValueID: ValueID] = [:]

  static func rewrite(_ lowered: ExportedProgram, source: ExportedProgram) throws(GraphError) -> ExportedProgram {
    var rewriter = EdgeRewriter(lowered, source)
    try rewriter.run()
    return rewriter.result
  }

  private init(_ lowered: ExportedProgram, _ source: ExportedProgram) {
    self.lowered = lowered
    sourceNodes = Dictionary(source.graph.nodes.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
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
    for node in lowered.graph.nodes {
      var mapped = node
      mapped.mapInputs { values[$0]! }
      let results = try rewrite(
        Call(
          op: node.op, name: node.name, arguments: mapped.arguments, outputs: node.outputs.map(lowered.graph.spec),
          metadata: node.metadata, program: lowered.name))
      for (old, new) in zip(node.outputs, results) { values[old] = new }
    }
    result.graph.outputs = lowered.graph.outputs.map { values[$0]! }
    result.graph.removeDeadNodes()
    result.removeUnusedConstants()
  }

  // MARK: Reading

  func error(_ call: Call, _ reason: String) -> GraphError {
    GraphError(program: lowered.name, node: call.name, operatorName: call.op.name, reason: reason)
  }

  func spec(_ id: ValueID) -> TensorSpec { result.graph.spec(id) }

  /// The node of the result that computes a value, as a call.
  func producer(of id: ValueID) -> Call? {
    guard let node = producers[id].map({ result.graph.nodes[$0] }) else { return nil }
    return Call(
      op: node.op, name: node.name, arguments: node.arguments, outputs: node.outputs.map(spec),
      metadata: node.metadata, program: lowered.name)
  }

  /// The node that a call was first made of.
  func origin(of call: Call) -> Node? {
    call.metadata["source_nodes"]?.split(separator: ",").first.flatMap { sourceNodes[String($0)] }
  }

  func read<R>(_ call: Call, _ body: (OperatorCall) throws(OperatorError) -> R) throws(GraphError) -> R {
    let operatorCall = try operatorCall(call)
    do { return try body(operatorCall) } catch { throw GraphError(error, program: lowered.name) }
  }

  private func operatorCall(_ call: Call) throws(GraphError) -> OperatorCall {
    let node = Node(name: call.name, op: call.op, arguments: call.arguments, outputs: [])
    let made = try result.call(of: node, constants: constants).1
    return OperatorCall(
      op: call.op, node: call.name, arguments: made.arguments, inputs: made.inputs, constants: made.constants,
      outputs: call.outputs)
  }

  /// Why the delegate does not take a call; nil when it does.
  func reasonAgainst(_ call: Call) throws(GraphError) -> String? { XNNSupport().reasonAgainst(try operatorCall(call)) }

  // MARK: Building

  /// The results of a call: those of its row, or its own.
  mutating func rewrite(_ call: Call) throws(GraphError) -> [ValueID] {
    if let row = RewriteRow.byOperator[call.op], let results = try row.apply(&self, call) { return results }
    return try emitAll(call)
  }

  /// Appends an operator on `tensors` in a call's place.
  mutating func emit(
    _ op: Operator, _ call: Call, _ tensors: [ValueID], _ attributes: [String: Operand] = [:],
    _ output: TensorSpec? = nil
  ) throws(GraphError) -> ValueID {
    try emit(call.becoming(op, tensors, attributes, output))
  }

  mutating func emit(_ call: Call) throws(GraphError) -> ValueID { try emitAll(call)[0] }

  /// Appends a call as it stands. Kernels take contiguous tensors.
  private mutating func emitAll(_ call: Call) throws(GraphError) -> [ValueID] {
    guard DelegateRow.byOperator[call.op] != nil || KernelRow.byOperator[call.op] != nil else {
      throw error(call, RewriteRow.refused[call.op] ?? "ExecuTorch has no operator for it, nor have others its place")
    }
    let inputs = call.arguments.flatMap(\.operand.valueIDs)
    let isImage = (inputs.map(spec) + call.outputs).contains { $0.dimOrder == .channelsLast }
    guard isImage, KernelRow.byOperator[call.op] != nil, try reasonAgainst(call) != nil else { return append(call) }
    var plain = call
    for index in plain.arguments.indices {
      switch plain.arguments[index].operand {
      case .value(let id): plain.arguments[index].operand = .value(try reordered(id, .contiguous, call))
      case .values(let ids):
        var parts: [ValueID] = []
        for id in ids { parts.append(try reordered(id, .contiguous, call)) }
        plain.arguments[index].operand = .values(parts)
      case .attribute: break
      }
    }
    for index in plain.outputs.indices { plain.outputs[index].dimOrder = .contiguous }
    var results: [ValueID] = []
    for (id, output) in zip(append(plain), call.outputs) { results.append(try reordered(id, output.dimOrder, call)) }
    return results
  }

  private mutating func append(_ call: Call) -> [ValueID] {
    let outputs = call.outputs.map { result.graph.addValue(call.name, $0) }
    for id in outputs { producers[id] = result.graph.nodes.count }
    result.graph.nodes.append(
      Node(
        name: result.graph[outputs[0]].name, op: call.op, arguments: call.arguments, outputs: outputs,
        metadata: call.metadata))
    return outputs
  }

  mutating func addConstant(_ name: String, _ tensor: Tensor) -> ValueID {
    let id = result.addBuffer(name, tensor)
    constants[id] = tensor
    return id
  }

  /// A number that is broadcast to a call's result, or to values of another rank.
  mutating func scalar(_ value: Float, _ call: Call, rank: Int? = nil) -> ValueID {
    let ones = Shape([Int](repeating: 1, count: rank ?? call.output.shape.rank))
    let order = rank == nil ? call.output.dimOrder : .contiguous
    return addConstant(call.name + "_constant", Tensor([value], shape: ones, dimOrder: order))
  }

  // MARK: Between int8 and reals

  mutating func dequantized(_ id: ValueID, _ call: Call) throws(GraphError) -> ValueID {
    guard let quantization = spec(id).quantization else { return id }
    if let tensor = constants[id], !quantization.isPerChannel {
      let reals = tensor.elements(as: Int8.self).map { quantum in
        (Float(quantum) - Float(quantization.zeroPoint)) * quantization.scale
      }
      return addConstant(
        result.graph[id].name + "_real", Tensor(reals, shape: tensor.shape, dimOrder: tensor.spec.dimOrder))
    }
    let output = TensorSpec(.float32, spec(id).shape, dimOrder: spec(id).dimOrder)
    return try emit(.fusedDequantize, call, [id], [:], output)
  }

  /// Reals as a value of that spec: quantized if it is int8, in its dim order.
  mutating func settled(_ id: ValueID, as target: TensorSpec, _ call: Call) throws(GraphError) -> ValueID {
    var id = id
    if target.quantization != nil {
      var output = target
      output.dimOrder = spec(id).dimOrder
      id = try emit(.fusedQuantize, call, [id], [:], output)
    }
    return try reordered(id, target.dimOrder, call)
  }

  /// The operator of that name between dequantized operands and the call's result, brought between its bounds.
  mutating func throughFloat(
    _ call: Call, _ op: Operator, contiguous: Bool = false
  ) throws(GraphError) -> ValueID {
    var float = call
    float.op = op
    float.arguments.removeAll { $0.name.hasPrefix("output_m") }
    for index in float.arguments.indices {
      guard case .value(let id) = float.arguments[index].operand else { continue }
      let real = try dequantized(id, call)
      float.arguments[index].operand = .value(contiguous ? try reordered(real, .contiguous, call) : real)
    }
    float.outputs = [
      TensorSpec(.float32, call.output.shape, dimOrder: contiguous ? .contiguous : call.output.dimOrder)
    ]
    let real = try rewrite(float)[0]
    return try bounded(settled(real, as: call.output, call), call)
  }

  /// A result brought between a call's bounds, for what takes its place has none.
  mutating func bounded(_ id: ValueID, _ call: Call) throws(GraphError) -> ValueID {
    let bounds = call.arguments.filter { $0.name.hasPrefix("output_m") }.map { ($0.name, $0.operand) }
    return bounds.isEmpty
      ? id : try emit(.fusedClamp, call, [id], Dictionary(uniqueKeysWithValues: bounds), spec(id))
  }

  // MARK: Movement

  mutating func reordered(_ id: ValueID, _ order: DimOrder, _ call: Call) throws(GraphError) -> ValueID {
    var output = spec(id)
    guard output.dimOrder != order, output.shape.rank == 4 else { return id }
    output.dimOrder = order
    let name = order == .channelsLast ? "channels_last" : "contiguous"
    return try emit(.toDimOrderCopy, call, [id], ["dim_order": .attribute(.string(name))], output)
  }

  /// A contiguous value under another shape.
  mutating func viewed(_ id: ValueID, _ shape: Shape, _ call: Call) throws(GraphError) -> ValueID {
    var output = spec(id)
    if output.shape == shape { return id }
    output.shape = shape
    return try emitView(id, output, call)
  }

  mutating func emitView(_ id: ValueID, _ output: TensorSpec, _ call: Call) throws(GraphError) -> ValueID {
    try emit(.fusedView, call, [id], ["size": .ints(output.shape.dimensions)], output)
  }

  mutating func expanded(_ id: ValueID, _ shape: Shape, _ call: Call) throws(GraphError) -> ValueID {
    try emit(.expand, call, [id], ["size": .ints(shape.dimensions)], TensorSpec(spec(id).dataType, shape))
  }
}

extension Schema {
  fileprivate var tensorNames: [String] {
    parameters.filter { $0.kind == .tensor || $0.kind == .optionalTensor }.map(\.name)
  }
}
