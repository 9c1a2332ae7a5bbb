import GraphIR
import TensorCore

/// A float program with copies of a quantized program's layers that read the float program's own values: what each
/// layer gives when it alone is quantized.
package struct IsolatedGraph {
  /// Values of the float program keep their IDs.
  package private(set) var program: ExportedProgram
  private let quantized: ExportedProgram
  private let matching: LayerMatching
  private let layerValues: Set<ValueID>
  private let producers: [ValueID: Int]
  private let constants: [ValueID: Tensor]
  private let targets: [ValueID: String]
  /// Constants, quantize and dequantize nodes of the quantized program that are copied already.
  private var copies: [ValueID: ValueID] = [:]

  /// - Parameter layers: those of `quantized`; a layer's copy ends where another begins.
  package init(float: ExportedProgram, quantized: ExportedProgram, matching: LayerMatching, layers: [QuantizedLayer]) {
    self.program = float
    self.quantized = quantized
    self.matching = matching
    self.layerValues = Set(layers.map(\.value))
    self.producers = quantized.graph.producers()
    self.constants = quantized.constants()
    self.targets = Dictionary(
      zip(quantized.graph.inputs, quantized.inputKinds).compactMap { id, kind in kind.target.map { (id, $0) } },
      uniquingKeysWith: { first, _ in first })
  }

  /// Copies a layer; returns its result as its readers see it, quantized and dequantized where the layer's is. Nil when
  /// a value that the layer reads has no partner in the float program.
  package mutating func add(_ layer: QuantizedLayer) -> ValueID? {
    guard let result = computed(layer.value) else { return nil }
    guard let quantize = layer.quantize else { return result }
    return program.graph.appendDequantize(of: appendCopy(quantize, reading: [result])[0], like: quantize)
  }

  /// Copies one node alone; its constant operands are given as reals, so that it computes in float on the quantized
  /// values of its inputs and weights.
  mutating func addInReals(_ node: Node) -> ValueID? {
    var inputs: [ValueID] = []
    for id in node.inputs {
      guard let input = realConstant(id) ?? resolved(id) else { return nil }
      inputs.append(input)
    }
    return appendCopy(node, reading: inputs)[0]
  }

  private mutating func realConstant(_ id: ValueID) -> ValueID? {
    quantized.constantReals(id).map { program.addBuffer("isolated." + quantized.graph[id].name, $0) }
  }

  /// The copy of the operators that compute a value.
  private mutating func computed(_ id: ValueID) -> ValueID? {
    guard let index = producers[id] else { return matching.values[id] }
    let node = quantized.graph.nodes[index]
    var inputs: [ValueID] = []
    for id in node.inputs {
      guard let input = resolved(id) else { return nil }
      inputs.append(input)
    }
    let outputs = appendCopy(node, reading: inputs)
    for (original, copy) in zip(node.outputs, outputs) where !layerValues.contains(original) { copies[original] = copy }
    return node.outputs.firstIndex(of: id).map { outputs[$0] }
  }

  /// What stands for a value that a copy reads: a copy of its quantize and dequantize nodes, a constant, the float
  /// program's value at the end of a layer, or a copy of the operators inside one.
  private mutating func resolved(_ id: ValueID) -> ValueID? {
    if let known = copies[id] { return known }
    let result: ValueID?
    if let tensor = constants[id] {
      result = program.addBuffer("isolated." + (targets[id] ?? quantized.graph[id].name), tensor)
    } else if let index = producers[id],
      quantized.graph.nodes[index].isQuantizeOrDequantize || !layerValues.contains(id)
    {
      result = computed(id)
    } else {
      result = matching.values[id]
    }
    if let result { copies[id] = result }
    return result
  }

  /// - Precondition: `inputs` are parallel to `node.inputs`.
  private mutating func appendCopy(_ node: Node, reading inputs: [ValueID]) -> [ValueID] {
    var copy = node
    var remaining = inputs[...]
    copy.mapInputs { _ in remaining.removeFirst() }
    copy.outputs = node.outputs.map {
      program.graph.addValue("isolated_" + quantized.graph[$0].name, quantized.graph.spec($0))
    }
    copy.name = program.graph[copy.outputs[0]].name
    program.graph.nodes.append(copy)
    return copy.outputs
  }
}

extension Graph {
  /// Appends a dequantize node for the result of a quantize node, per tensor or per channel; returns its output.
  package mutating func appendDequantize(of integers: ValueID, like quantize: Node) -> ValueID {
    var real = spec(integers)
    real.dataType = .float32
    let node = makeNode(
      quantize.op == .quantizePerChannel ? .dequantizePerChannel : .dequantizePerTensor,
      name: self[integers].name + "_dequantize",
      arguments: quantize.arguments.map { $0.name == "input" ? .init("input", .value(integers)) : $0 }, output: real,
      metadata: quantize.metadata)
    nodes.append(node)
    return node.output
  }
}
