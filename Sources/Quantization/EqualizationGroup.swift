import GraphIR
import Operators
import TensorCore

/// Values that share one factor per channel, with the layers that compute them and those that read them.
struct EqualizationGroup {
  /// In the order in which they are computed; all have the same channels, in dimension 1.
  var values: [ValueID] = []
  let channels: Int
  /// Indices of the convolutions and linear layers that compute the group's values.
  var producers: [Int] = []
  /// Indices of those that read them.
  var consumers: [Int] = []
  /// The lowest upper bound of the clamps in between.
  var upperBound: Float?

  /// The groups of a float graph that can be scaled, and the layers of the others with the reason.
  static func find(in program: ExportedProgram) -> ([EqualizationGroup], [EqualizationReport.Skipped]) {
    var search = EqualizationSearch(program)
    return search.run()
  }
}

private struct EqualizationSearch {
  private let program: ExportedProgram
  private var graph: Graph { program.graph }
  private let constants: [ValueID: Tensor]
  private let users: [ValueID: [Int]]
  /// Union-find forest over values.
  private var parents: [ValueID: ValueID] = [:]
  private var producers: [ValueID: [Int]] = [:]
  private var consumers: [ValueID: [Int]] = [:]
  private var bounds: [ValueID: Float] = [:]
  /// Why a value cannot be scaled.
  private var refusals: [ValueID: String] = [:]

  init(_ program: ExportedProgram) {
    self.program = program
    constants = program.constants()
    users = program.graph.users()
  }

  mutating func run() -> ([EqualizationGroup], [EqualizationReport.Skipped]) {
    for (id, kind) in zip(graph.inputs, program.inputKinds) where kind == .userInput {
      refusals[id] = "'\(graph[id].name)' is an input of the model"
    }
    for id in graph.outputs { refusals[id] = "'\(graph[id].name)' is a result of the model" }
    for (index, node) in graph.nodes.enumerated() { visit(index, node) }
    var members: [ValueID: [ValueID]] = [:]
    for node in graph.nodes { for id in node.outputs { members[root(id), default: []].append(id) } }
    var groups: [EqualizationGroup] = []
    var skipped: [EqualizationReport.Skipped] = []
    for (_, values) in members.sorted(by: { $0.value[0] < $1.value[0] }) {
      let layers = values.flatMap { producers[$0] ?? [] }
      guard !layers.isEmpty else { continue }
      let readers = values.flatMap { consumers[$0] ?? [] }
      var reason = values.compactMap { refusals[$0] }.first
      if reason == nil, readers.isEmpty { reason = "nothing reads it" }
      let channels = graph.spec(values[0]).shape[1]
      if reason == nil, values.contains(where: { graph.spec($0).shape[1] != channels }) {
        reason = "its values differ in channels"
      }
      if let reason {
        skipped.append(.init(layers: layers.map { graph.nodes[$0].name }, reason: reason))
        continue
      }
      groups.append(
        EqualizationGroup(
          values: values, channels: channels, producers: layers, consumers: readers,
          upperBound: values.compactMap { bounds[$0] }.min()))
    }
    return (groups, skipped)
  }

  private mutating func visit(_ index: Int, _ node: Node) {
    if let refusal = visitLayer(index, node) {
      for id in node.inputs + node.outputs where constants[id] == nil { refusals[id] = refusals[id] ?? refusal }
    }
  }

  /// Returns why the node's values cannot be scaled.
  private mutating func visitLayer(_ index: Int, _ node: Node) -> String? {
    let activations = node.inputs.filter { constants[$0] == nil }
    guard node.outputs.count == 1, graph.spec(node.output).shape.rank >= 2 else { return "'\(node.name)' reads it" }
    guard !activations.isEmpty else { return "'\(node.name)' computes it from constants alone" }
    switch node.op {
    case .conv2d, .linear:
      guard let input = node.value("input"), activations == [input] else {
        return "'\(node.name)' has computed weights"
      }
      guard node.isScalable(graph, constants) else { return "'\(node.name)' has groups, or an input that is not 2-D" }
      for id in [node.value("weight"), node.value("bias")].compactMap({ $0 }) where users[id]?.count != 1 {
        return "'\(graph[id].name)' has several readers"
      }
      producers[node.output] = [index]
      consumers[input, default: []].append(index)
      return nil
    case .add:
      guard activations.count == 2,
        Set(activations + [node.output]).allSatisfy({ graph.spec($0).shape == graph.spec(node.output).shape })
      else { return "'\(node.name)' adds a constant or another shape to it" }
    case .meanDim:
      guard graph.spec(activations[0]).shape.rank == 4, node.averagesImages else {
        return "'\(node.name)' averages channels"
      }
    case .flatten, .view, .reshape:
      let (from, to) = (graph.spec(activations[0]).shape, graph.spec(node.output).shape)
      guard from.rank >= 2, from[0] == to[0], from[1] == to[1], from.elementCount == from[0] * from[1] else {
        return "'\(node.name)' changes its channels"
      }
    case .pad, .constantPadNd:
      guard node.padsImagesWithZeros else { return "'\(node.name)' pads it with other than zeros" }
    default:
      guard node.op.has(.scalesWithChannels) || isReLU(node) else { return "'\(node.name)' (\(node.op)) reads it" }
    }
    for id in activations { parents[root(id)] = root(node.output) }
    return nil
  }

  /// Whether it clamps from 0; notes the upper bound.
  private mutating func isReLU(_ node: Node) -> Bool {
    guard let clamp = node.op.bounds, let call = try? program.call(of: node, constants: [:]).1,
      let (low, high) = try? clamp(call), low == 0, high > 0
    else { return false }
    if high < .infinity { bounds[node.output] = Float(high) }
    return true
  }

  private mutating func root(_ id: ValueID) -> ValueID {
    var id = id
    while let parent = parents[id], parent != id {
      parents[id] = parents[parent] ?? parent
      id = parent
    }
    return id
  }
}

extension Node {
  /// Groups of a convolution; 1 for other nodes.
  var groups: Int { if case .attribute(.int(let groups))? = operand("groups") { groups } else { 1 } }

  /// Whether a convolution or linear layer has one weight column per input channel: no groups, or depthwise.
  fileprivate func isScalable(_ graph: Graph, _ constants: [ValueID: Tensor]) -> Bool {
    guard let weight = value("weight").flatMap({ constants[$0] }), weight.dataType == .float32,
      weight.spec.dimOrder == .contiguous, let input = value("input"),
      graph.spec(input).shape.rank == weight.shape.rank,
      weight.shape.elementCount > 0
    else { return false }
    if let bias = value("bias") {
      guard constants[bias]?.dataType == .float32, constants[bias]?.shape == [weight.shape[0]] else { return false }
    }
    let channels = graph.spec(input).shape[1]
    return groups == 1
      ? weight.shape[1] == channels : groups == channels && weight.shape[0] == channels && weight.shape[1] == 1
  }

  fileprivate var averagesImages: Bool {
    guard case .attribute(.ints(let dims))? = operand("dim") else { return false }
    return Set(dims.map { $0 < 0 ? $0 + 4 : $0 }) == [2, 3]
  }

  fileprivate var padsImagesWithZeros: Bool {
    guard case .attribute(.ints(let pads))? = operand("pad"), pads.count <= 4 else { return false }
    switch operand("value") {
    case nil, .attribute(.none)?, .attribute(.int(0))?: break
    case .attribute(.float(let value))? where value == 0: break
    default: return false
    }
    if case .attribute(.string(let mode))? = operand("mode"), mode != "constant" { return false }
    return true
  }
}

extension ExportedProgram {
  /// The state dict's name of a graph input; nil for other values.
  func target(_ id: ValueID) -> String? { graph.inputs.firstIndex(of: id).flatMap { inputKinds[$0].target } }
}
