extension Node {
  /// Makes the node read other values.
  public mutating func mapInputs<E: Error>(_ transform: (ValueID) throws(E) -> ValueID) throws(E) {
    var changed = arguments
    for index in changed.indices {
      switch changed[index].operand {
      case .value(let id): changed[index].operand = .value(try transform(id))
      case .values(var ids):
        for position in ids.indices { ids[position] = try transform(ids[position]) }
        changed[index].operand = .values(ids)
      case .attribute: break
      }
    }
    setArguments(changed)
  }
}

extension Graph {
  /// Removes nodes whose outputs nothing reads.
  public mutating func removeDeadNodes() {
    var live = Set(outputs)
    var kept: [Node] = []
    for node in nodes.reversed() where node.outputs.contains(where: live.contains) {
      live.formUnion(node.inputs)
      kept.append(node)
    }
    nodes = kept.reversed()
  }

  /// Makes every reader of a key, and the graph's outputs, read its value instead, which may be a key itself.
  fileprivate mutating func forward(_ replacements: [ValueID: ValueID]) {
    var newest: [ValueID: ValueID] = [:]
    for id in replacements.keys {
      var path = [id]
      while let next = newest[path[path.count - 1]] ?? replacements[path[path.count - 1]] { path.append(next) }
      for step in path.dropLast() { newest[step] = path[path.count - 1] }
    }
    for index in nodes.indices { nodes[index].mapInputs { newest[$0] ?? $0 } }
    outputs = outputs.map { newest[$0] ?? $0 }
  }
}

extension ExportedProgram {
  /// Removes the nodes that compute the keys of `replacements`; who read a key, a node or the graph's outputs, now reads
  /// what takes its place, which may be a key itself.
  ///
  /// The only way in which a pass takes a value away: throws when something still reads a removed value that has no
  /// replacement, or reads a replacement before it is computed.
  public mutating func removeNodes(forwarding replacements: [ValueID: ValueID]) throws(GraphError) {
    guard !replacements.isEmpty else { return }
    graph.nodes.removeAll { $0.outputs.contains { replacements[$0] != nil } }
    graph.forward(replacements)
    try Verifier.verifyDefinitions(self)
  }
}
