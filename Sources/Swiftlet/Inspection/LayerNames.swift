import GraphIR

/// What the layers of a model are called: by the module that an operator stands in, else by the operator's node.
struct LayerNames {
  private let graph: Graph
  private let users: [ValueID: [Int]]

  init(_ graph: Graph) {
    self.graph = graph
    users = graph.users()
  }

  /// A quantize or dequantize node belongs to the operator that reads its result.
  func name(of node: Node) -> String {
    let layer = layer(of: node)
    return layer.modulePath.isEmpty ? layer.name : layer.modulePath
  }

  private func layer(of node: Node) -> Node {
    var node = node
    while node.isQuantizeOrDequantize, let output = node.outputs.first, let index = users[output]?.first {
      node = graph.nodes[index]
    }
    return node
  }

  /// The class of the module, `Conv2d`; the operator, where there is none.
  static func type(of node: Node) -> String {
    let name = node.moduleStack.last?.type.split(separator: ".").last.map(String.init) ?? ""
    return name.isEmpty ? node.operatorName : name
  }
}

extension ExportedProgram {
  /// Multiplications with addition that an operator does: those of convolutions, linear layers and matrix products; 0
  /// for other operators. Saturates.
  func multiplyAdds(of node: Node) -> Int {
    let parts = node.operatorName.split(separator: ".")
    guard parts.count > 1, let result = node.outputs.first.map({ graph.spec($0).shape.elementCount }) else { return 0 }
    func shape(_ name: String) -> [Int]? { node.value(name).map { graph.spec($0).shape.dimensions } }
    func times(_ a: Int, _ b: Int) -> Int {
      let (product, overflow) = a.multipliedReportingOverflow(by: b)
      return overflow ? .max : product
    }
    switch parts[1] {
    case "conv1d", "conv2d", "conv3d":
      guard let weight = shape("weight") else { return 0 }
      return times(result, weight.dropFirst().reduce(1, *))
    case "conv_transpose1d", "conv_transpose2d", "conv_transpose3d":
      guard let weight = shape("weight"), let input = shape("input") else { return 0 }
      return times(input.reduce(1, *), weight.dropFirst().reduce(1, *))
    case "linear": return times(result, shape("weight")?.last ?? 0)
    case "matmul", "mm", "bmm": return times(result, shape("self")?.last ?? 0)
    default: return 0
    }
  }
}
