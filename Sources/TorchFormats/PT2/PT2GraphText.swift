import GraphIR
import Operators
import TensorCore

/// `models/model.json`: the graph in the words of PyTorch's schema.
struct PT2GraphText {
  let path: String
  let program: ExportedProgram
  private var graph: Graph { program.graph }

  init(path: String, program: ExportedProgram) {
    self.path = path
    self.program = program
  }

  /// Throws for a node or value that has no counterpart in the schema.
  func json() throws(FormatError) -> JSONText {
    guard graph.inputs.count == program.inputKinds.count else {
      throw FormatError(path: path, reason: "\(graph.inputs.count) inputs have \(program.inputKinds.count) kinds")
    }
    var nodes: [JSONText] = []
    var values = graph.inputs
    for node in graph.nodes {
      nodes.append(try self.node(node))
      values += node.outputs
    }
    var tensorValues: [String: JSONText] = [:]
    let parameters = Set(zip(graph.inputs, program.inputKinds).compactMap { id, kind in isParameter(kind) ? id : nil })
    for id in values {
      let value = graph[id]
      guard value.spec.dimOrder == .contiguous, value.spec.quantization == nil else {
        throw FormatError(
          path: path, place: "value '\(value.name)'",
          reason: "\(value.spec) belongs to a lowered graph, not into a .pt2")
      }
      tensorValues[value.name] = PT2GraphText.meta(
        value.spec, requiresGrad: parameters.contains(id) && value.spec.dataType.isFloatingPoint)
    }
    let graphText = JSONText.object([
      "inputs": .array(graph.inputs.map(tensor)), "outputs": .array(graph.outputs.map(tensor)), "nodes": .array(nodes),
      "tensor_values": .object(tensorValues), "sym_int_values": .object([:]), "sym_bool_values": .object([:]),
      "sym_float_values": .object([:]), "custom_obj_values": .object([:]), "is_single_tensor_return": .bool(false),
    ])
    return .object([
      "graph_module": .object([
        "graph": graphText, "signature": signature(), "module_call_graph": .array([callEntry()]),
        "metadata": .object([:]), "treespec_namedtuple_fields": .object([:]),
      ]),
      "opset_version": .object(["aten": .int(10)]), "range_constraints": .object([:]),
      "schema_version": .object(["major": .int(PT2Schema.major), "minor": .int(PT2Schema.minor)]),
      "verifiers": .array([.string("TRAINING")]), "torch_version": .string(PT2Schema.torchVersion),
      "guards_code": .array([]),
    ])
  }

  /// The schema's description of a row-major tensor.
  static func meta(_ spec: TensorSpec, requiresGrad: Bool) -> JSONText {
    func numbers(_ values: [Int]) -> JSONText { .array(values.map { .object(["as_int": .int($0)]) }) }
    return .object([
      "dtype": .int(PT2Schema.code(of: spec.dataType)), "sizes": numbers(spec.shape.dimensions),
      "strides": numbers(spec.shape.strides.map { max($0, 1) }), "storage_offset": .object(["as_int": .int(0)]),
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

  /// How Python calls the graph: positional tensors in; one tensor, or a tuple of them, out.
  private func callEntry() -> JSONText {
    let leaf = #"{"type": null, "context": null, "children_spec": []}"#
    func tuple(_ items: [String]) -> String {
      #"{"type": "builtins.tuple", "context": "null", "children_spec": ["# + items.joined(separator: ", ") + "]}"
    }
    let inputs = tuple(program.userInputs.map { _ in leaf })
    let keywords = #"{"type": "builtins.dict", "context": "[]", "children_spec": []}"#
    let outputs = graph.outputs.count == 1 ? leaf : tuple(graph.outputs.map { _ in leaf })
    return .object([
      "fqn": .string(""),
      "signature": .object([
        "inputs": .array([]), "outputs": .array([]), "in_spec": .string("[1, \(tuple([inputs, keywords]))]"),
        "out_spec": .string("[1, \(outputs)]"),
        "forward_arg_names": .array(program.userInputs.map { .string(graph[$0].name) }),
      ]),
    ])
  }

  // MARK: Nodes

  /// Operators that return a list of tensors, not a tuple; the schema tells these apart.
  private static let listReturning: Set<String> = [
    "split", "split_with_sizes", "chunk", "unbind", "tensor_split", "unsafe_split", "unsafe_chunk", "hsplit", "vsplit",
    "meshgrid", "broadcast_tensors",
  ]

  private func node(_ node: Node) throws(FormatError) -> JSONText {
    let words = node.operatorName.split(separator: ".", omittingEmptySubsequences: false)
    guard words.count == 3, words[0] != "fused", words[0] != "quantization" else {
      throw FormatError(
        path: path, place: "node '\(node.name)' (\(node.operatorName))", reason: "is no operator that PyTorch knows")
    }
    let schema = OperatorSet.named(node.operatorName)?.schema
    var isPositional = schema != nil
    var parameters = (schema?.parameters ?? [])[...]
    var inputs: [JSONText] = []
    for argument in node.arguments {
      // Positional up to the first parameter that is left out; an unknown operator's kinds are left to PyTorch.
      let parameter = parameters.popFirst()
      isPositional = isPositional && parameter?.name == argument.name && parameter?.isKeywordOnly == false
      let kind: JSONText = schema == nil ? .null : .int(isPositional ? 1 : 2)
      inputs.append(.object(["name": .string(argument.name), "arg": json(argument), "kind": kind]))
    }
    let isList = words[0] == "aten" && PT2GraphText.listReturning.contains(String(words[1]))
    let outputs: [JSONText] =
      isList ? [.object(["as_tensors": .array(node.outputs.map(name))])] : node.outputs.map(tensor)
    return .object([
      "target": .string("torch.ops." + node.operatorName), "name": .string(node.name), "inputs": .array(inputs),
      "outputs": .array(outputs), "metadata": .object(node.metadata.mapValues { .string($0) }),
      "is_hop_single_tensor_return": .null,
    ])
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
