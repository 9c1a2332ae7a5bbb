import GraphIR
import Operators
import TensorCore

/// How a value of the source graph is represented in the lowered one.
///
/// The source value is real; the lowered one is either the same reals, or int8 that dequantize to them.
struct Form {
  /// The lowered value. Its spec tells float or int8 (with quantization parameters) and the dim order.
  var id: ValueID
  /// Zeros that still have to be put around height and width: (top, right, bottom, left). A convolution absorbs them.
  var pendingPad: [Int]?
  /// The lowered value has the elements of this channels-last shape (C, H, W) in memory order H, W, C, though the
  /// source value was flattened in the order C, H, W. A linear absorbs it by permuting its weights.
  var flattened: (channels: Int, height: Int, width: Int)?

  init(_ id: ValueID) { self.id = id }
}

/// What a rule made of a node.
public enum FusionOutcome: Sendable {
  /// The rule has emitted what stands for it.
  case fused
  /// The node stays the operator that it is, on floats, for this reason.
  case refused(String)
}

/// One line of the fusion table: the operators it takes, and what it emits for them.
public struct FusionRule: Sendable {
  let pattern: OperatorPattern
  let apply: @Sendable (inout Fuser, Node) throws(GraphError) -> FusionOutcome

  /// A rule for these operators. It reads the node's operands by `Fuser.int8(_:)` and `Fuser.real(_:_:)`, emits what stands
  /// for the node, and says so with `Fuser.bind(_:to:)`.
  public init(
    _ pattern: OperatorPattern,
    _ apply: @escaping @Sendable (inout Fuser, Node) throws(GraphError) -> FusionOutcome
  ) {
    self.pattern = pattern
    self.apply = apply
  }

  /// The rule of an operator whose int8 form has the same arguments: `fused` takes the node's place where `operands` are
  /// int8 and the result is to be. Its other tensors must be constants. All are contiguous.
  public static func int8Form(of op: Operator, _ fused: Operator, operands: [String]) -> FusionRule {
    FusionRule(.operators([op])) { fuser, node throws(GraphError) in try fuser.fuseReal(node, fused, operands) }
  }
}

/// Rewrites a float or Q/DQ graph into fused operators, channels last: walks the source graph once, in order, and builds
/// the lowered graph beside it. A Q/DQ pair never becomes an operator of its own between two int8 operators.
public struct Fuser {
  /// The rules of this library.
  static let standard = table(with: [])

  /// Those, in the order of Fusion/'s files, behind others.
  static func table(with rules: [FusionRule]) -> OperatorTable<FusionRule> {
    OperatorTable(
      rules + quantizationRules + dynamicRules + convolutionRules + elementwiseRules + realRules + poolingRules
        + movementRules + sliceRules, by: \.pattern)
  }

  private let rules: OperatorTable<FusionRule>
  let source: ExportedProgram
  /// Lower f32 convolutions in PyTorch's order of summation (CalibrationOrder.swift).
  let ordersForCalibration: Bool
  /// What the source graph says about its values.
  let graph: QuantizedGraph
  let producers: [ValueID: Int]
  var lowered: ExportedProgram
  var constants: [ValueID: Tensor] = [:]
  /// Source value → lowered form, for values computed so far.
  var forms: [ValueID: Form] = [:]
  /// Integer outputs of quantize nodes in the source graph → lowered int8 form.
  var quantized: [ValueID: Form] = [:]
  /// Values that are dequantized with parameters of the moment → what they are made of.
  var dynamicInputs: [ValueID: DynamicInput] = [:]
  /// Source nodes that an earlier rule has already covered.
  var covered: Set<String> = []
  /// Layout conversions already made: (lowered value, dim order) → converted value.
  private var conversions: [ValueID: ValueID] = [:]
  /// Outputs of `quantization.observe` nodes on constants.
  var observedConstants: [ValueID: Tensor] = [:]
  /// `quantization.observe` nodes seen, as (observer, lowered value).
  var observed: [(observer: Int, value: ValueID)] = []

  var users: [ValueID: [Int]] { graph.users }
  var sourceConstants: [ValueID: Tensor] { graph.constants }

  static func fuse(
    _ source: ExportedProgram, _ rules: OperatorTable<FusionRule>, forCalibration: Bool = false
  ) throws(GraphError) -> (program: ExportedProgram, observed: [(observer: Int, value: ValueID)]) {
    var fuser = Fuser(source, rules, forCalibration)
    try fuser.run()
    return (fuser.lowered, fuser.observed)
  }

  private init(_ source: ExportedProgram, _ rules: OperatorTable<FusionRule>, _ forCalibration: Bool) {
    self.rules = rules
    self.source = source
    self.ordersForCalibration = forCalibration
    self.graph = QuantizedGraph(source)
    self.producers = source.graph.producers()
    self.lowered = ExportedProgram(name: source.name)
  }

  private mutating func run() throws(GraphError) {
    for (id, kind) in zip(source.graph.inputs, source.inputKinds) where kind == .userInput {
      let input = lowered.graph.addValue(source.graph[id].name, source.graph.spec(id))
      lowered.graph.inputs.append(input)
      lowered.inputKinds.append(.userInput)
      forms[id] = Form(input)
    }
    for node in source.graph.nodes where !covered.contains(node.name) {
      var reason = "no fused operator for it"
      if computesIntegers(node) {
        reason = "it computes integers"
      } else if let rule = rules[node.op] {
        switch try rule.apply(&self, node) {
        case .fused: continue
        case .refused(let why): reason = why
        }
      }
      try emitUnfused(node, reason: reason)
    }
    for id in source.graph.outputs {
      lowered.graph.outputs.append(try plain(id))
    }
    for (_, value) in observed where !lowered.graph.outputs.contains(value) { lowered.graph.outputs.append(value) }
    lowered.graph.removeDeadNodes()
    lowered.removeUnusedConstants()
  }

  /// Whether an operator that is none of quantization reads integers that lie open in the source graph, as in a reference
  /// representation. The rules are for reals.
  private func computesIntegers(_ node: Node) -> Bool {
    !node.op.isAny(.quantizeDequantize)
      && node.inputs.contains { !source.graph.spec($0).dataType.isFloatingPoint }
  }

  /// The node as it stands, on contiguous tensors.
  mutating func emitUnfused(_ node: Node, reason: String) throws(GraphError) {
    var copy = node
    try copy.mapInputs { id throws(GraphError) in try plain(id) }
    copy.outputs = node.outputs.map { lowered.graph.addValue(source.graph[$0].name, source.graph.spec($0)) }
    copy.metadata["reason"] = reason
    copy.metadata["source_nodes"] = node.name
    lowered.graph.nodes.append(copy)
    for (old, new) in zip(node.outputs, copy.outputs) { forms[old] = Form(new) }
  }

  /// A source value as an ATen operator reads it: constants as they are, everything else contiguous.
  private mutating func plain(_ id: ValueID) throws(GraphError) -> ValueID {
    if let form = quantized[id] { return convert(try settle(form), to: .contiguous) }
    return try real(id, .contiguous)
  }

  // MARK: Reading source values

  /// The data of a source value that is constant, dequantized weights excluded, in the dim order that it is stored in.
  func constant(_ id: ValueID) -> Tensor? { sourceConstants[id] }

  /// The data of a constant, or of a dequantize node of constants, as reals.
  mutating func constantReals(_ id: ValueID) throws(GraphError) -> Tensor? {
    if let tensor = sourceConstants[id] ?? observedConstants[id] { return tensor }
    if forms[id] == nil, let index = producers[id] { _ = try dequantizedConstant(source.graph.nodes[index]) }
    return forms[id].flatMap { constants[$0.id] }
  }

  /// The lowered form of a computed source value; constants enter the lowered graph when first read.
  mutating func form(_ id: ValueID) throws(GraphError) -> Form {
    if let form = forms[id] { return form }
    if let weight = try weight(id), weight.quantization != nil { return try dequantizedWeight(id) }
    // A bias, if it is read as nothing else (`isBias`), is left to those who read it.
    if let index = producers[id], let form = try dequantizedConstant(source.graph.nodes[index]) { return form }
    guard let tensor = sourceConstants[id] else {
      throw GraphError(program: source.name, reason: "'\(source.graph[id].name)' is read before it is computed")
    }
    let form = Form(addConstant(source.graph[id].name, tensor.rowMajor()))
    forms[id] = form
    return form
  }

  /// The lowered form without anything pending.
  mutating func settled(_ id: ValueID) throws(GraphError) -> ValueID {
    let form = try settle(try form(id))
    if quantized[id] == nil { forms[id] = Form(form) }
    return form
  }

  /// Emits what a form has pending.
  mutating func settle(_ form: Form) throws(GraphError) -> ValueID {
    if let pad = form.pendingPad { return emitPad(form.id, spatial: pad) }
    if let (channels, height, width) = form.flattened { return emitUnflatten(form.id, channels, height, width) }
    return form.id
  }

  /// A source value as reals in a dim order (4-D; other ranks are always contiguous).
  public mutating func real(_ id: ValueID, _ order: DimOrder) throws(GraphError) -> ValueID {
    var value = try settled(id)
    if spec(value).quantization != nil { value = dequantized(value, of: id) }
    return convert(value, to: order)
  }

  /// The int8 value that dequantizes to a computed source value; nil when it has none.
  public mutating func int8(_ id: ValueID) throws(GraphError) -> ValueID? {
    guard forms[id] != nil else { return nil }
    return try spec(form(id).id).quantization == nil ? nil : settled(id)
  }

  /// The spec of a lowered value: of an int8 one with its quantization parameters.
  public func spec(_ lowered: ValueID) -> TensorSpec { self.lowered.graph.spec(lowered) }

  /// A quantized weight that is read as reals.
  private mutating func dequantizedWeight(_ id: ValueID) throws(GraphError) -> Form {
    guard let index = producers[id], let form = try dequantizedConstant(source.graph.nodes[index]) else {
      throw GraphError(
        program: source.name, reason: "'\(source.graph[id].name)' is not a weight that can be dequantized")
    }
    return form
  }

  /// Computes a dequantize node of constants ahead of time: running it would take the same memory, and time besides. Nil
  /// when an operand is computed.
  mutating func dequantizedConstant(_ node: Node) throws(GraphError) -> Form? {
    let inputs = node.callInputs.compactMap { sourceConstants[$0]?.rowMajor() }
    guard inputs.count == node.inputs.count, node.op.has(.dequantizes)
    else { return nil }
    let call = try call(node)
    let reals = try reading { () throws(OperatorError) in try node.op.execute(call, inputs: inputs)[0] }
    let form = Form(addConstant(node.name, reals))
    forms[node.output] = form
    return form
  }

  mutating func dequantized(_ value: ValueID, of id: ValueID) -> ValueID {
    let input = spec(value)
    return emit(
      .fusedDequantize, name: source.graph[id].name + "_dequantize", [("self", .value(value))],
      output: TensorSpec(.float32, input.shape, dimOrder: input.dimOrder))
  }

  /// The same value in another dim order.
  mutating func convert(_ value: ValueID, to order: DimOrder) -> ValueID {
    var target = spec(value)
    guard target.shape.rank == 4, target.dimOrder != order else { return value }
    if let known = conversions[value] { return known }
    target.dimOrder = order
    let result = emit(
      .toDimOrderCopy, name: lowered.graph[value].name + "_\(order.schemaName)",
      [("self", .value(value)), ("dim_order", .attribute(.string(order.schemaName)))], output: target)
    conversions[value] = result
    conversions[result] = value
    return result
  }

  // MARK: Writing the lowered graph

  /// A constant of the lowered graph.
  public mutating func addConstant(_ name: String, _ tensor: Tensor) -> ValueID {
    let id = lowered.addBuffer(name, tensor)
    constants[id] = tensor
    return id
  }

  /// Makes a lowered value stand for a source node's result.
  public mutating func bind(_ result: ValueID, to lowered: ValueID) { forms[result] = Form(lowered) }

  /// Appends a node with one output and returns the output. `sources` are the nodes that it stands for.
  @discardableResult
  public mutating func emit(
    _ op: Operator, name: String, _ arguments: [(String, Operand)], output: TensorSpec, sources: [Node] = []
  ) -> ValueID {
    var metadata = sources.first?.metadata ?? [:]
    metadata["source_nodes"] = sources.map(\.name).joined(separator: ",")
    let node = lowered.graph.makeNode(
      op, name: name, arguments: arguments.map { Node.Argument($0.0, $0.1) }, output: output,
      metadata: metadata)
    lowered.graph.nodes.append(node)
    return node.output
  }

  func error(_ node: Node, _ reason: String) -> GraphError {
    GraphError(program: source.name, node: node.name, operatorName: node.op.name, reason: reason)
  }

  /// The node's call, for its arguments with defaults.
  func call(_ node: Node) throws(GraphError) -> OperatorCall {
    try graph.call(node)
  }

  /// Runs code that throws operator errors.
  func reading<R>(_ body: () throws(OperatorError) -> R) throws(GraphError) -> R {
    do { return try body() } catch { throw GraphError(error, program: source.name) }
  }
}

extension DimOrder {
  /// As `_to_dim_order_copy` spells it.
  var schemaName: String { self == .channelsLast ? "channels_last" : "contiguous" }
}
