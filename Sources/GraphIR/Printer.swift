import TensorCore

extension Graph {
  /// The graph as text, one node a line: `relu: float32[1, 16, 32, 32] = aten.relu.default(conv2d)`.
  public func printed() -> String { printed(nil) }

  fileprivate func printed(_ shapes: DynamicShapes?) -> String {
    func type(_ id: ValueID) -> String {
      guard let sizes = shapes?.symbolicSizes(of: self[id].name) else { return "\(spec(id))" }
      return "\(spec(id).dataType)\(sizes)"
    }
    func text(_ operand: Operand) -> String {
      switch operand {
      case .value(let id): self[id].name
      case .values(let ids): "[" + ids.map { self[$0].name }.joined(separator: ", ") + "]"
      case .attribute(let attribute): attribute.description
      }
    }
    var lines: [String] = []
    for node in nodes {
      let outputs = node.outputs.map { "\(self[$0].name): \(type($0))" }.joined(separator: ", ")
      let arguments = node.arguments.map { argument in
        argument.operand.valueIDs.isEmpty ? "\(argument.name)=\(text(argument.operand))" : text(argument.operand)
      }
      lines.append("\(outputs) = \(node.op)(\(arguments.joined(separator: ", ")))")
    }
    lines.append("return " + outputs.map { self[$0].name }.joined(separator: ", "))
    return lines.joined(separator: "\n")
  }
}

extension ExportedProgram {
  /// The graph as text, one node a line, with sizes that vary by their names.
  public func printed() -> String { graph.printed(dynamicShapes) }
}
