import GraphIR
import Operators
import TensorCore

/// Builds small float programs by hand. Every call has one float32 output; specs are given, not inferred.
package struct TestModel {
  package var program = ExportedProgram(name: "test")

  package init() {}

  package mutating func input(_ name: String, _ shape: Shape) -> ValueID {
    let id = program.graph.addValue(name, TensorSpec(.float32, shape))
    program.graph.inputs.append(id)
    program.inputKinds.append(.userInput)
    return id
  }

  /// A parameter of the values −1, −1 + step, …, 1.
  package mutating func parameter(_ target: String, _ shape: Shape) -> ValueID {
    let count = shape.elementCount
    let values = (0..<count).map { Float($0) / Float(max(count - 1, 1)) * 2 - 1 }
    return parameter(target, Tensor(values, shape: shape))
  }

  package mutating func parameter(_ target: String, _ tensor: Tensor) -> ValueID {
    let name = "p_" + String(target.map { $0 == "." ? "_" : $0 })
    let id = program.graph.addValue(name, tensor.spec)
    let position = program.inputKinds.firstIndex(of: .userInput) ?? program.inputKinds.count
    program.graph.inputs.insert(id, at: position)
    program.inputKinds.insert(.parameter(target), at: position)
    program.stateDict[target] = tensor
    return id
  }

  package mutating func call(
    _ op: String, _ name: String, _ arguments: KeyValuePairs<String, Operand>, _ shape: Shape, module: String = ""
  ) -> ValueID {
    let metadata = module.isEmpty ? [:] : ["nn_module_stack": "L__self__,,M;L__self___\(module),\(module),X"]
    let node = program.graph.makeNode(
      OperatorSet.standard.resolve(op), name: name, arguments: arguments.map { Node.Argument($0.key, $0.value) },
      output: TensorSpec(.float32, shape),
      metadata: metadata)
    program.graph.nodes.append(node)
    return node.output
  }

  /// 1×1 convolution of [1, channels, 4, 4].
  package mutating func convolution(_ name: String, _ x: ValueID, channels: Int, module: String = "") -> ValueID {
    let weight = parameter(name + ".weight", Shape([channels, program.graph.spec(x).shape[1], 1, 1]))
    let bias = parameter(name + ".bias", Shape([channels]))
    return call(
      "aten.conv2d.default", name, ["input": .value(x), "weight": .value(weight), "bias": .value(bias)],
      Shape([1, channels, 4, 4]), module: module)
  }

  package mutating func unary(
    _ op: String, _ name: String, _ x: ValueID, _ more: KeyValuePairs<String, Operand> = [:], module: String = ""
  ) -> ValueID {
    let metadata = module.isEmpty ? [:] : ["nn_module_stack": "L__self__,,M;L__self___\(module),\(module),X"]
    let node = program.graph.makeNode(
      OperatorSet.standard.resolve(op), name: name,
      arguments: [Node.Argument(op.contains("dropout") ? "input" : "self", .value(x))]
        + more.map { Node.Argument($0.key, $0.value) },
      output: program.graph.spec(x), metadata: metadata)
    program.graph.nodes.append(node)
    return node.output
  }

  package mutating func relu6(_ name: String, _ x: ValueID) -> ValueID {
    unary(
      "aten.hardtanh.default", name, x, ["min_val": .attribute(.float(0)), "max_val": .attribute(.float(6))])
  }

  package mutating func batchNorm(
    _ name: String, _ x: ValueID, training: Bool = false, eps: Double = 1e-5, seed: Float = 1
  ) -> ValueID {
    let channels = program.graph.spec(x).shape[1]
    var arguments: [Node.Argument] = [.init("input", .value(x))]
    for (offset, field) in ["weight", "bias", "running_mean", "running_var"].enumerated() {
      let values = (0..<channels).map { 0.5 + seed * Float(offset + 1) * 0.25 + Float($0) * 0.125 }
      arguments.append(
        .init(field, .value(parameter("\(name).\(field)", Tensor(values, shape: Shape([channels]))))))
    }
    arguments += [
      .init("training", .attribute(.bool(training))), .init("momentum", .attribute(.float(0.1))),
      .init("eps", .attribute(.float(eps))), .init("cudnn_enabled", .attribute(.bool(false))),
    ]
    let node = program.graph.makeNode(
      OperatorSet.standard.resolve("aten.batch_norm.default"), name: name, arguments: arguments,
      output: program.graph.spec(x))
    program.graph.nodes.append(node)
    return node.output
  }
}

extension ExportedProgram {
  package var operatorNames: [String] { graph.nodes.map(\.operatorName) }

  package func node(_ name: String) -> Node? { graph.nodes.first { $0.name == name } }
}

extension Tensor {
  /// Its memory, element by element.
  package var bits: [UInt8] { withUnsafeBytes { [UInt8]($0) } }
}
