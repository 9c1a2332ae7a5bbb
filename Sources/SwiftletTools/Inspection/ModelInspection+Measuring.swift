import Swiftlet

extension ModelInspection {
  /// - Parameter method: the program lowered and loaded.
  ///
  /// Throws when the file can no longer be read.
  init(_ program: ExportedProgram, _ method: Method, path: String, format: FileFormat) throws(FormatError) {
    let graph = program.graph
    let (layers, fileBytes) = (LayerNames(graph), fileSize(path))
    let sizes = try FileSizes(
      program, layers: layers, path: path, fileBytes: fileBytes, isArchive: format == .exportedProgram)
    let tensors = program.stateDict.values
    let operations = OperationList(method)
    let measured = ModelInspection.layers(program, layers, sizes)
    self.init(
      model: path, format: format, fileBytes: fileBytes, dialect: program.isQuantized ? "Q/DQ" : "float",
      inputs: program.userInputs.map { program.inspected($0) }, outputs: graph.outputs.map { program.inspected($0) },
      parameters: .init(
        tensors: tensors.count, elements: tensors.reduce(0) { $0 + $1.shape.elementCount },
        bytes: tensors.reduce(0) { $0 + $1.spec.byteCount }),
      sizes: sizes.byKind, layers: measured,
      multiplyAdds: measured.reduce(0) { ModelInspection.sum($0, $1.multiplyAdds) },
      operators: Dictionary(graph.nodes.map { ($0.op.name, 1) }, uniquingKeysWith: +),
      delegates: operations.delegates, delegated: .init(method), fallback: operations.portable,
      operatorsNeeded: Dictionary(operations.portable.map { ($0.op, 1) }, uniquingKeysWith: +),
      arenaBytes: method.program.arenaByteCount, arenaLowerBound: method.program.arenaLowerBound,
      largestArenaBytes: method.largestArenaByteCount, packedWeightBytes: method.packedWeightByteCount)
  }

  private static func layers(_ program: ExportedProgram, _ names: LayerNames, _ sizes: FileSizes) -> [Layer] {
    var layers: [Layer] = []
    var positions: [String: Int] = [:]
    for node in program.graph.nodes where !node.isQuantizeOrDequantize {
      let name = names.name(of: node)
      if let index = positions[name] {
        layers[index].multiplyAdds = sum(layers[index].multiplyAdds, program.multiplyAdds(of: node))
      } else {
        positions[name] = layers.count
        layers.append(
          Layer(
            name: name, type: LayerNames.type(of: node), bytes: sizes.byLayer[name] ?? 0,
            multiplyAdds: program.multiplyAdds(of: node)))
      }
    }
    return layers.enumerated().filter { $1.bytes > 0 || $1.multiplyAdds > 0 }.sorted { a, b in
      (b.element.bytes, b.element.multiplyAdds, a.offset) < (a.element.bytes, a.element.multiplyAdds, b.offset)
    }.map(\.element)
  }

  /// Saturates, as the counts of a hostile file may.
  private static func sum(_ a: Int, _ b: Int) -> Int {
    let (total, overflow) = a.addingReportingOverflow(b)
    return overflow ? .max : total
  }
}

extension ExportedProgram {
  /// An input or output of the graph with the parameters of the quantize or dequantize node beside it.
  fileprivate func inspected(_ id: ValueID) -> ModelInspection.Value {
    let spec = graph.spec(id)
    let beside = graph.nodes.first { node in
      node.isQuantize ? node.value("input") == id : node.isDequantize && node.outputs.contains(id)
    }
    var quantization: ModelInspection.Quantization?
    if let parameters = beside.flatMap(dequantization), !parameters.isPerChannel {
      quantization = .init(scale: parameters.scale, zeroPoint: parameters.zeroPoint)
    }
    return .init(name: graph[id].name, spec: describe(id), shape: spec.shape.dimensions, quantization: quantization)
  }
}

/// The operations of a loaded program, by where they run.
private struct OperationList {
  var delegates: [ModelInspection.Delegate] = []
  var portable: [ModelInspection.Operation] = []

  init(_ method: Method) {
    let program = method.program
    let kinds = program.delegates.map(XNNPACKPartitioner.nodeKinds(of:))
    delegates = program.delegates.map { .init(backend: $0.backend, nodes: []) }
    for (instruction, operation) in zip(program.instructions, method.operations) {
      var entry = ModelInspection.Operation(instruction, program)
      guard operation.backend != .portable, let call = instruction.delegateCall,
        delegates.indices.contains(call.delegate)
      else {
        entry.reason = operation.reason ?? ""
        portable.append(entry)
        continue
      }
      if kinds[call.delegate].indices.contains(call.node) { entry.op = kinds[call.delegate][call.node] }
      delegates[call.delegate].nodes.append(entry)
    }
    delegates.removeAll(where: \.nodes.isEmpty)
  }
}

extension ModelInspection.Operation {
  fileprivate init(_ instruction: Program.Instruction, _ program: Program) {
    func value(_ index: Int) -> ModelInspection.Value {
      let value = program.values[index]
      return .init(name: value.name, spec: "\(value.spec)", shape: value.spec.shape.dimensions)
    }
    self.init(
      node: instruction.node, op: instruction.op.name, dataType: instruction.kernelDataType(in: program),
      inputs: instruction.inputs.filter { !program.values[$0].isConstant }.map(value),
      constants: instruction.inputs.filter { program.values[$0].isConstant }.map(value),
      outputs: instruction.outputs.map(value), sourceNodes: instruction.sourceNodes)
  }
}

extension Program.Value {
  var isConstant: Bool { if case .constant = location { true } else { false } }
}

extension Program.Instruction {
  /// The data type that XNNPACK puts into its kernels' names.
  func kernelDataType(in program: Program) -> String {
    if op.has(.dynamic) { return "qd8" }
    func name(_ spec: TensorSpec) -> String {
      switch spec.dataType {
      case .int8 where spec.quantization != nil: "qs8"
      case .float32: "f32"
      default: spec.dataType.rawValue
      }
    }
    guard let output = outputs.first.map({ name(program.values[$0].spec) }) else { return "" }
    let activations = inputs.map { program.values[$0] }.filter { !$0.isConstant }
    let input = activations.first.map { name($0.spec) } ?? output
    if input != output { return "\(input)-\(output)" }
    let isPerChannel = inputs.contains { program.values[$0].spec.quantization?.isPerChannel == true }
    return output == "qs8" && isPerChannel ? "qc8" : output
  }
}
