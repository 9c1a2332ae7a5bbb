import Operators
import TensorCore

/// A BatchNorm that stays in the graph, and why.
package struct BatchNormNotFolded: Hashable, Sendable {
  package let node: String
  package let reason: String
}

/// Folds every inference BatchNorm that directly follows a convolution or a linear layer into its weight and bias, and
/// returns those that stay.
///
/// With γ, β, μ, σ² and ε of the layer: `w' = w · γ/√(σ² + ε)` per output channel, `b' = (b − μ) · γ/√(σ² + ε) + β`, in
/// float32 and in the order of operations of `torch.nn.utils.fusion`, so that the results are bit-equal to PyTorch's.
/// The weight keeps its name; a bias that is new is called after the weight, `conv1.weight_bias`. A convolution used
/// twice with different BatchNorms gets a weight for each. Linear layers are folded for 2-D inputs only, and convolutions
/// for batches: otherwise BatchNorm's channel, dimension 1, is not the layer's.
@discardableResult
package func foldBatchNorms(in program: inout ExportedProgram) throws(GraphError) -> [BatchNormNotFolded] {
  guard program.graph.nodes.contains(where: { $0.op == .batchNorm }) else { return [] }
  var folder = BatchNormFolder(program)
  try folder.run()
  program = folder.program
  return folder.notFolded
}

private struct BatchNormFolder {
  var program: ExportedProgram
  var notFolded: [BatchNormNotFolded] = []
  private var constants: [ValueID: Tensor]
  private let users: [ValueID: [Int]]
  private let producers: [ValueID: Int]
  /// Folded weight and bias of each (weight, bias, BatchNorm) that occurs.
  private var folded: [FoldKey: (weight: ValueID, bias: ValueID)] = [:]
  private var replacements: [ValueID: ValueID] = [:]

  private struct FoldKey: Hashable {
    let weight: ValueID
    let bias: ValueID?
    let statistics: [ValueID?]
    let eps: Float
  }

  init(_ program: ExportedProgram) {
    self.program = program
    self.constants = program.constants()
    self.users = program.graph.users()
    self.producers = program.graph.producers()
  }

  mutating func run() throws(GraphError) {
    for index in program.graph.nodes.indices {
      let node = program.graph.nodes[index]
      guard node.op == .batchNorm else { continue }
      if let reason = fold(index) { notFolded.append(BatchNormNotFolded(node: node.name, reason: reason)) }
    }
    try program.removeNodes(forwarding: replacements)
    program.removeUnusedConstants()
  }

  /// The reason against folding; nil when done.
  private mutating func fold(_ index: Int) -> String? {
    let norm = program.graph.nodes[index]
    if case .attribute(.bool(true))? = norm.operand("training") {
      return "it is in training mode; export the model after eval()"
    }
    guard let input = norm.value("input"), let layerIndex = producers[input],
      let kind = program.graph.nodes[layerIndex].op.layer
    else { return "it does not follow a convolution or a linear layer" }
    let layer = program.graph.nodes[layerIndex]
    guard users[input]?.count == 1, !program.graph.outputs.contains(input) else {
      return "the output of '\(layer.name)' is also read by others"
    }
    guard norm.outputs.dropFirst().allSatisfy({ users[$0] == nil && !program.graph.outputs.contains($0) }) else {
      return "its saved statistics are read"
    }
    if kind == .linear, let x = layer.value("input"), program.graph.spec(x).shape.rank != 2 {
      return "the input of '\(layer.name)' is not 2-D, so it normalizes another dimension than the layer's outputs"
    }
    guard let weight = layer.value("weight"), let w = floats(weight) else {
      return "the weight of '\(layer.name)' is not a float32 constant"
    }
    let bias = layer.value("bias")
    guard bias.map({ floats($0) != nil }) ?? true else {
      return "the bias of '\(layer.name)' is not a float32 constant"
    }
    let names = ["weight", "bias", "running_mean", "running_var"]
    let statistics = names.map { norm.value($0) }
    guard statistics.allSatisfy({ $0.map { floats($0) != nil } ?? true }), let mean = statistics[2].flatMap(floats),
      let variance = statistics[3].flatMap(floats)
    else { return "it has no float32 running statistics" }
    let key = FoldKey(weight: weight, bias: bias, statistics: statistics, eps: epsilon(norm))
    if kind != .linear, let x = layer.value("input"), program.graph.spec(x).shape.rank != w.shape.rank {
      return "the input of '\(layer.name)' has no batch, so it normalizes another dimension than the layer's channels"
    }
    guard let axis = kind.outputAxis(of: layer, w.shape) else {
      return "'\(layer.name)' is a grouped transposed convolution"
    }
    let fold = BatchNormFold(
      gamma: statistics[0].flatMap(floats)?.elements(), beta: statistics[1].flatMap(floats)?.elements(),
      mean: mean.elements(), variance: variance.elements(), eps: key.eps)
    let b = bias.flatMap(floats)
    guard fold.isConsistent(channels: w.shape[axis]), b?.shape.elementCount ?? w.shape[axis] == w.shape[axis] else {
      return "its statistics do not have the \(w.shape[axis]) channels of '\(layer.name)'"
    }
    if folded[key] == nil { folded[key] = add(key, fold, w, b, axis: axis, kind) }
    guard let result = folded[key] else { return nil }
    program.graph.nodes[layerIndex].setInput("weight", result.weight)
    program.graph.nodes[layerIndex].setInput("bias", result.bias)
    replacements[norm.output] = input
    return nil
  }

  private func floats(_ id: ValueID) -> Tensor? {
    guard let tensor = constants[id], tensor.dataType == .float32, tensor.spec.dimOrder == .contiguous else {
      return nil
    }
    return tensor
  }

  private func epsilon(_ norm: Node) -> Float {
    switch norm.operand("eps") {
    case .attribute(.float(let value)): Float(value)
    case .attribute(.int(let value)): Float(value)
    default: 1e-5
    }
  }

  /// Stores the folded tensors: under the old names where nothing else reads the old data.
  private mutating func add(
    _ key: FoldKey, _ fold: BatchNormFold, _ weight: Tensor, _ bias: Tensor?, axis: Int, _ kind: Operator.Layer
  ) -> (weight: ValueID, bias: ValueID) {
    let newWeight = fold.weight(weight, axis: axis)
    let newBias = Tensor(
      fold.bias(bias?.elements(), isLinear: kind == .linear), shape: Shape([fold.mean.count]))
    let weightName = target(of: key.weight)
    let weightID = store(newWeight, for: key.weight, name: weightName)
    if let old = key.bias { return (weightID, store(newBias, for: old, name: target(of: old))) }
    return (weightID, program.addParameter(weightName + "_bias", newBias, after: key.weight))
  }

  private func target(of id: ValueID) -> String {
    program.graph.inputs.firstIndex(of: id).flatMap { program.inputKinds[$0].target } ?? program.graph[id].name
  }

  private mutating func store(_ tensor: Tensor, for old: ValueID, name: String) -> ValueID {
    guard users[old]?.count == 1, !program.graph.outputs.contains(old) else {
      return program.addParameter(name, tensor, after: old)
    }
    program.stateDict[name] = tensor
    return old
  }
}

extension Operator.Layer {
  /// The weight's dimension of output channels; nil where no single one is.
  fileprivate func outputAxis(of node: Node, _ weight: Shape) -> Int? {
    guard case .transposedConvolution = self else { return weight.rank >= 2 ? 0 : nil }
    if case .attribute(.int(let groups))? = node.operand("groups"), groups != 1 { return nil }
    return weight.rank >= 3 ? 1 : nil
  }
}

/// The arithmetic of one BatchNorm; all arrays are [channels].
struct BatchNormFold {
  let gamma: [Float]?
  let beta: [Float]?
  let mean: [Float]
  let variance: [Float]
  let eps: Float

  func isConsistent(channels: Int) -> Bool {
    [gamma?.count, beta?.count, mean.count, variance.count].allSatisfy { $0 ?? channels == channels }
  }

  private func inverseDeviation(_ channel: Int) -> Float { 1 / (variance[channel] + eps).squareRoot() }

  /// - Precondition: `weight` is contiguous float32, and `axis` its dimension of output channels.
  func weight(_ weight: Tensor, axis: Int) -> Tensor {
    let channels = weight.shape[axis]
    let inner = weight.shape.dimensions[(axis + 1)...].reduce(1, *)
    let factors = (0..<channels).map { (gamma?[$0] ?? 1) * inverseDeviation($0) }
    var elements: [Float] = weight.elements()
    elements.withUnsafeMutableBufferPointer { elements in
      var channel = 0
      for start in stride(from: 0, to: elements.count, by: max(inner, 1)) {
        let factor = factors[channel]
        for i in start..<(start &+ inner) { elements[i] *= factor }
        channel = channel &+ 1 == channels ? 0 : channel &+ 1
      }
    }
    return Tensor(elements, shape: weight.shape)
  }

  /// PyTorch multiplies by γ before the deviation for linear layers and after it for convolutions.
  func bias(_ bias: [Float]?, isLinear: Bool) -> [Float] {
    mean.indices.map { channel in
      let centred = (bias?[channel] ?? 0) - mean[channel]
      let gamma = gamma?[channel] ?? 1
      let scaled =
        isLinear ? centred * (gamma * inverseDeviation(channel)) : centred * inverseDeviation(channel) * gamma
      return scaled + (beta?[channel] ?? 0)
    }
  }
}

extension Node {
  /// Sets a tensor argument, adding it where it was left to its default.
  mutating func setInput(_ name: String, _ id: ValueID) {
    if let index = arguments.firstIndex(where: { $0.name == name }) {
      arguments[index].operand = .value(id)
      return
    }
    // Arguments stand in schema order; the tensors of a layer come first: input, weight, bias.
    let position = (arguments.lastIndex { !$0.operand.valueIDs.isEmpty } ?? -1) + 1
    arguments.insert(Node.Argument(name, .value(id)), at: position)
  }
}

extension ExportedProgram {
  /// Adds a parameter to the state dict and as the graph input that follows `neighbour`. A name that is taken gets a
  /// numbered suffix.
  mutating func addParameter(_ target: String, _ tensor: Tensor, after neighbour: ValueID) -> ValueID {
    var unique = target
    var suffix = 1
    while stateDict[unique] != nil {
      unique = "\(target)_\(suffix)"
      suffix += 1
    }
    stateDict[unique] = tensor
    let id = graph.addValue("p_" + String(unique.map { $0.isLetter || $0.isNumber ? $0 : "_" }), tensor.spec)
    let position = graph.inputs.firstIndex(of: neighbour).map { $0 + 1 } ?? 0
    graph.inputs.insert(id, at: position)
    inputKinds.insert(.parameter(unique), at: position)
    return id
  }
}
