import Swiftlet

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
    return name.isEmpty ? node.op.name : name
  }
}

extension ExportedProgram {
  /// See `MultiplyAdds`.
  func multiplyAdds(of node: Node) -> Int {
    MultiplyAdds.count(node.op, result: node.outputs.first.map { graph.spec($0).shape.elementCount }) {
      node.value($0).map { graph.spec($0).shape.dimensions }
    }
  }
}
