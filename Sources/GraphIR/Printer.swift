import TensorCore

extension Graph {
  /// The graph as text, one node a line: `relu: float32[1, 16, 32, 32] = aten.relu.default(conv2d)`.
  public func printed() -> String {
    func text(_ operand: Operand) -> String {
      switch operand {
      case .value(let id): self[id].name
      case .values(let ids): "[" + ids.map { self[$0].name }.joined(separator: ", ") + "]"
      case .attribute(let attribute): attribute.description
      }
    }
    var lines: [String] = []
    for node in nodes {
      let outputs = node.outputs.map { "\(self[$0].name): \(spec($0))" }.joined(separator: ", ")
      let arguments = node.arguments.map { argument in
        argument.operand.valueIDs.isEmpty ? "\(argument.name)=\(text(argument.operand))" : text(argument.operand)
      }
      lines.append("\(outputs) = \(node.operatorName)(\(arguments.joined(separator: ", ")))")
    }
    lines.append("return " + outputs.map { self[$0].name }.joined(separator: ", "))
    return lines.joined(separator: "\n")
  }
}
