import GraphIR
import Operators
import SymbolicSizes
import TensorCore

/// `models/model.json`: the graph in the words of PyTorch's schema.
struct PT2GraphText {
  let path: String
  let program: ExportedProgram
  private let shapes: DynamicShapes
  private var graph: Graph { program.graph }

  /// Throws when how sizes vary is not known of every value.
  init(path: String, program: ExportedProgram) throws(FormatError) {
    self.path = path
    self.program = program
    var shapes = program.dynamicShapes
    do { try shapes?.complete(for: program) } catch {
      throw FormatError(path: path, place: error.node.isEmpty ? "" : "node '\(error.node)'", reason: error.reason)
    }
    self.shapes = shapes ?? DynamicShapes()
  }

  /// Throws for a node or value that has no counterpart in the schema.
  func json() throws(FormatError) -> JSONText {
    guard graph.inputs.count == program.inputKinds.count else {
      throw FormatError(path: path, reason: "\(graph.inputs.count) inputs have \(program.inputKinds.count) kinds")
    }
    var nodes: [JSONText] = []
    var values = graph.inputs
    var symInts = PT2SymIntWriter(shapes, graph: graph)
    for id in graph.inputs { symInts.define(graph[id].name) }
    for node in graph.nodes {
      let text = try self.node(node, &symInts)
      nodes += symInts.takeNodes()
      nodes.append(text)
      values += node.outputs
      for id in node.outputs { symInts.define(graph[id].name) }
    }
    var tensorValues: [String: JSONText] = [:]
    let parameters = Set(zip(graph.inputs, program.inputKinds).compactMap { id, kind in isParameter(kind) ? id : nil })
    for id in values {
      let value = graph[id]
      guard value.spec.dimOrder == .contiguous, value.spec.quantization == nil else {
        throw FormatError(
          path: path, place: "value '\(value.name)'",
          reason: "\(value.spec) is a value of a lowered graph, which a .pt2 cannot hold")
      }
      tensorValues[value.name] = PT2GraphText.meta(
        value.spec, requiresGrad: parameters.contains(id) && value.spec.dataType.isFloatingPoint,
        symbolic: shapes.symbolicSizes(of: value.name), hints: shapes.hints)
    }
    let graphText = JSONText.object([
      "inputs": .array(graph.inputs.map(tensor)), "outputs": .array(graph.outputs.map(tensor)), "nodes": .array(nodes),
      "tensor_values": .object(tensorValues), "sym_int_values": .object(symInts.values),
      "sym_bool_values": .object([:]),
      "sym_float_values": .object([:]), "custom_obj_values": .object([:]), "is_single_tensor_return": .bool(false),
    ])
    return .object([
      "graph_module": .object([
        "graph": graphText, "signature": signature(), "module_call_graph": .array(callEntries()),
        "metadata": .object([:]), "treespec_namedtuple_fields": .object([:]),
      ]),
      "opset_version": .object(["aten": .int(10)]), "range_constraints": rangeConstraints,
      "schema_version": .object(["major": .int(PT2Schema.major), "minor": .int(PT2Schema.minor)]),
      "verifiers": .array([.string("TRAINING")]), "torch_version": .string(PT2Schema.torchVersion),
      "guards_code": .array(shapes.guards.map { .string($0) }),
    ])
  }

  private var rangeConstraints: JSONText {
    func bound(_ value: Int?) -> JSONText { value.map { .int($0) } ?? .null }
    return .object(
      shapes.rangeConstraints.mapValues {
        .object(["min_val": bound($0.minimum), "max_val": bound($0.maximum)])
      })
  }

  /// The schema's description of a row-major tensor, whose sizes may be symbolic.
  static func meta(
    _ spec: TensorSpec, requiresGrad: Bool, symbolic: [SymbolicSize]? = nil, hints: [String: Int] = [:]
  ) -> JSONText {
    func number(_ size: SymbolicSize) -> JSONText { PT2SymIntWriter.json(size, size.evaluated(hints) ?? 0) }
    let sizes = symbolic ?? spec.shape.dimensions.map { .int($0) }
    // The product of the sizes after each dimension; as far as they are constant, one number.
    var strides: [JSONText] = []
    var (factor, varying): (Int, [SymbolicSize]) = (1, [])
    for size in sizes.reversed() {
      let product: SymbolicSize =
        varying.isEmpty
        ? .int(factor) : factor == 1 && varying.count == 1 ? varying[0] : .call(.multiply, [.int(factor)] + varying)
      strides.append(number(product))
      if let value = size.evaluated([:]) { factor *= max(value, 1) } else { varying.append(size) }
    }
    return .object([
      "dtype": .int(PT2Schema.code(of: spec.dataType)), "sizes": .array(sizes.map(number)),
      "strides": .array(strides.reversed()), "storage_offset": .object(["as_int": .int(0)]),
      "requires_grad": .bool(requiresGrad), "layout": .int(PT2Schema.stridedLayout),
      "device": .object(["type": .string("cpu"), "index": .null]),
    ])
  }

  private func isParameter(_ kind: InputKind) -> Bool {
    if case .parameter = kind { true } else { false }
  }

  private func name(_ id: ValueID) -> JSONText { .object(["name": .string(graph[id].name)]) }

  private func tensor(_ id: ValueID) -> JSONText { .object(["as_tensor": name(id)]) }

  // MARK: Signature

  private func signature() -> JSONText {
    let inputs = zip(graph.inputs, program.inputKinds).map { id, kind -> JSONText in
      switch kind {
      case .parameter(let target):
        .object(["parameter": .object(["arg": name(id), "parameter_name": .string(target)])])
      case .buffer(let target, let isPersistent):
        .object([
          "buffer": .object(["arg": name(id), "buffer_name": .string(target), "persistent": .bool(isPersistent)])
        ])
      case .constantTensor(let target):
        .object(["tensor_constant": .object(["arg": name(id), "tensor_constant_name": .string(target)])])
      case .userInput: .object(["user_input": .object(["arg": tensor(id)])])
      }
    }
    let outputs = graph.outputs.map { JSONText.object(["user_output": .object(["arg": tensor($0)])]) }
    return .object(["input_specs": .array(inputs), "output_specs": .array(outputs)])
  }

  /// How Python calls the graph, and the modules in it. What modules inside took and gave is not kept: passes may have
  /// changed it.
  private func callEntries() -> [JSONText] {
    let signature = program.callSignature ?? plainSignature()
    let whole = JSONText.object([
      "fqn": .string(""),
      "signature": .object([
        "inputs": .array([]), "outputs": .array([]), "in_spec": .string(signature.inputs),
        "out_spec": .string(signature.outputs),
        "forward_arg_names": .array(signature.argumentNames.map { .string($0) }),
      ]),
    ])
    return [whole] + signature.modules.map { .object(["fqn": .string($0), "signature": .null]) }
  }

  /// Positional tensors in; one tensor, or a tuple of them, out.
  private func plainSignature() -> CallSignature {
    let leaf = #"{"type": null, "context": null, "children_spec": []}"#
    func tuple(_ items: [String]) -> String {
      #"{"type": "builtins.tuple", "context": "null", "children_spec": ["# + items.joined(separator: ", ") + "]}"
    }
    let inputs = tuple(program.userInputs.map { _ in leaf })
    let keywords = #"{"type": "builtins.dict", "context": "[]", "children_spec": []}"#
    let outputs = graph.outputs.count == 1 ? leaf : tuple(graph.outputs.map { _ in leaf })
    return CallSignature(
      inputs: "[1, \(tuple([inputs, keywords]))]", outputs: "[1, \(outputs)]",
      argumentNames: program.userInputs.map { graph[$0].name })
  }

  // MARK: Nodes

  /// Operators that return a list of tensors, not a tuple; the schema tells these apart.
  private static let listReturning: Set<String> = [
    "split", "split_with_sizes", "chunk", "unbind", "tensor_split", "unsafe_split", "unsafe_chunk", "hsplit", "vsplit",
    "meshgrid", "broadcast_tensors",
  ]

  private func node(_ node: Node, _ symInts: inout PT2SymIntWriter) throws(FormatError) -> JSONText {
    let words = node.op.name.split(separator: ".", omittingEmptySubsequences: false)
    guard words.count == 3, !node.op.isAny([.fused, .observes]) else {
      throw FormatError(
        path: path, place: "node '\(node.name)' (\(node.op))", reason: "is not an operator of PyTorch's")
    }
    let schema = node.op.isKnown ? node.op.schema : nil
    var isPositional = schema != nil
    var parameters = (schema?.parameters ?? [])[...]
    var inputs: [JSONText] = []
    for argument in node.arguments {
      // Positional up to the first parameter that is left out; an unknown operator's kinds are left to PyTorch.
      let parameter = parameters.popFirst()
      isPositional = isPositional && parameter?.name == argument.name && parameter?.isKeywordOnly == false
      let kind: JSONText = schema == nil ? .null : .int(isPositional ? 1 : 2)
      inputs.append(
        .object(["name": .string(argument.name), "arg": try json(argument, of: node, &symInts), "kind": kind]))
    }
    let isList = words[0] == "aten" && PT2GraphText.listReturning.contains(String(words[1]))
    let outputs: [JSONText] =
      isList ? [.object(["as_tensors": .array(node.outputs.map(name))])] : node.outputs.map(tensor)
    return .object([
      "target": .string("torch.ops." + node.op.name), "name": .string(node.name), "inputs": .array(inputs),
      "outputs": .array(outputs), "metadata": .object(node.metadata.mapValues { .string($0) }),
      "is_hop_single_tensor_return": .null,
    ])
  }

  private func json(
    _ argument: Node.Argument, of node: Node, _ symInts: inout PT2SymIntWriter
  ) throws(FormatError) -> JSONText {
    let isList = if case .attribute(.ints) = argument.operand { true } else { false }
    do {
      if let text = try symInts.argument(argument.name, of: node.name, isList: isList) { return text }
    } catch {
      throw FormatError(
        path: path, place: "node '\(node.name)' (\(node.op)), argument '\(argument.name)'",
        reason: "the size \(error.size) cannot be computed from the sizes of earlier values")
    }
    return json(argument)
  }

  private func json(_ argument: Node.Argument) -> JSONText {
    let (kind, value): (String, JSONText) =
      switch argument.operand {
      case .value(let id): ("as_tensor", name(id))
      case .values(let ids): ("as_tensors", .array(ids.map(name)))
      case .attribute(.none): ("as_none", .bool(true))
      case .attribute(.bool(let value)): ("as_bool", .bool(value))
      case .attribute(.int(let value)): (argument.name == "memory_format" ? "as_memory_format" : "as_int", .int(value))
      case .attribute(.float(let value)): ("as_float", .float(value))
      case .attribute(.string(let value)): ("as_string", .string(value))
      case .attribute(.ints(let values)): ("as_ints", .array(values.map { .int($0) }))
      case .attribute(.floats(let values)): ("as_floats", .array(values.map { .float($0) }))
      case .attribute(.bools(let values)): ("as_bools", .array(values.map { .bool($0) }))
      case .attribute(.dataType(let type)): ("as_scalar_type", .int(PT2Schema.code(of: type)))
      }
    return .object([kind: value])
  }
}
