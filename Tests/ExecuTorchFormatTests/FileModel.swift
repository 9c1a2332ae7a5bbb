import GraphIR
import Swiftlet
import TestSupport
import Testing

/// A small float model that is built node by node.
struct FileModel {
  var program = ExportedProgram(name: "model")

  mutating func input(_ shape: Shape) -> ValueID {
    let id = program.graph.addValue("x", TensorSpec(.float32, shape))
    program.graph.inputs.append(id)
    program.inputKinds.append(.userInput)
    return id
  }

  /// The result of an operator on a value, constants and attributes.
  mutating func call(
    _ op: Operator, _ input: ValueID, _ constants: [(String, Tensor)] = [], _ attributes: [(String, Attribute)] = []
  ) throws -> ValueID {
    var arguments = [Node.Argument(op.schema.parameters[0].name, .value(input))]
    for (name, tensor) in constants { arguments.append(.init(name, .value(program.addBuffer(name, tensor)))) }
    return try program.append(op, arguments + attributes.map { .init($0.0, .attribute($0.1)) })[0]
  }
}

extension OpCase {
  /// A program of the call. Tensors from number `firstConstant` on are its own.
  func program(firstConstant: Int) throws -> ExportedProgram {
    var program = ExportedProgram(name: "\(self)")
    var values: [ValueID] = []
    for (index, tensor) in inputs.enumerated() {
      if index >= firstConstant {
        values.append(program.addBuffer("constant\(index)", tensor))
      } else {
        let id = program.graph.addValue("x\(index)", tensor.spec)
        program.graph.inputs.append(id)
        program.inputKinds.append(.userInput)
        values.append(id)
      }
    }
    let op = try #require(OperatorSet.standard[operatorName])
    let given = op.schema.parameters.compactMap { parameter -> Node.Argument? in
      switch arguments[parameter.name] {
      case .tensor(let index): .init(parameter.name, .value(values[index]))
      case .tensors(let indices): .init(parameter.name, .values(indices.map { values[$0] }))
      // Scales are float32 in files.
      case .attribute(.float(let value)) where parameter.name == "scale":
        .init(parameter.name, .attribute(.float(Double(Float(value)))))
      case .attribute(let attribute): .init(parameter.name, .attribute(attribute))
      case nil: nil
      }
    }
    program.graph.outputs = try program.append(op, given)
    return program
  }
}

extension ExportedProgram {
  mutating func append(_ op: Operator, _ arguments: [Node.Argument]) throws -> [ValueID] {
    var node = Node(name: "n\(graph.values.count)", op: op, arguments: arguments, outputs: [])
    node.outputs = try op.infer(call(of: node, constants: constants()).1).map { graph.addValue(node.name, $0) }
    graph.nodes.append(node)
    return node.outputs
  }

  /// The program with each float value behind int8 of its range for these inputs: weights symmetric, biases and the weights
  /// of normalizations as they are. What moves elements keeps its input's parameters.
  func quantizedEverywhere(_ inputs: [Tensor]) throws -> ExportedProgram {
    var ranges: [ValueID: (low: Float, high: Float)] = [:]
    func observe(_ id: ValueID, _ tensor: Tensor) {
      guard tensor.dataType == .float32 else { return }
      let finite = tensor.elements(as: Float.self).filter { $0.magnitude < 1e30 }
      ranges[id] = (min(finite.min() ?? 0, 0), max(finite.max() ?? 0, 0.001))
    }
    for (id, tensor) in zip(userInputs, inputs) { observe(id, tensor) }
    for (id, tensor) in constants() { observe(id, tensor) }
    _ = try Interpreter(self).run(inputs) { observe($0, $1) }
    var result = self
    result.graph.nodes = []
    var quantized: [ValueID: ValueID] = [:]
    var parameters: [ValueID: [Node.Argument]] = [:]
    func quantize(_ id: ValueID, isSymmetric: Bool = false, like other: ValueID? = nil) throws {
      guard let (low, high) = ranges[id], quantized[id] == nil else { return }
      let scale = isSymmetric ? max(-low, high) / 127 : (high - low) / 255
      let zeroPoint = isSymmetric ? 0 : -128 - Int((low / scale).rounded())
      parameters[id] =
        other.flatMap { parameters[$0] } ?? [
          .init("scale", .attribute(.float(Double(scale)))), .init("zero_point", .attribute(.int(zeroPoint))),
          .init("quant_min", .attribute(.int(-128))), .init("quant_max", .attribute(.int(127))),
          .init("dtype", .attribute(.dataType(.int8))),
        ]
      let integers = try result.append(.quantizePerTensor, [.init("input", .value(id))] + parameters[id]!)[0]
      quantized[id] = try result.append(.dequantizePerTensor, [.init("input", .value(integers))] + parameters[id]!)[0]
    }
    for id in userInputs { try quantize(id) }
    let stored = constants()
    for node in graph.nodes {
      var copy = node
      for index in node.arguments.indices {
        let name = node.arguments[index].name
        for id in node.arguments[index].operand.valueIDs where stored[id] != nil {
          let isLayerWeight = name == "weight" && node.op.layer != nil
          if isLayerWeight || ["other", "mat2", "tensors"].contains(name) {
            try quantize(id, isSymmetric: isLayerWeight)
          }
        }
        switch node.arguments[index].operand {
        case .value(let id) where name != "bias": copy.arguments[index].operand = .value(quantized[id] ?? id)
        case .values(let ids): copy.arguments[index].operand = .values(ids.map { quantized[$0] ?? $0 })
        default: break
        }
      }
      result.graph.nodes.append(copy)
      let keeps = node.op.isAny([.movesElements, .choosesElements])
      for id in node.outputs { try quantize(id, like: keeps ? node.inputs.first : nil) }
    }
    result.graph.outputs = graph.outputs.map { quantized[$0] ?? $0 }
    return result
  }
}
