import Operators

extension Graph {
  /// Turns in-place operators (`aten.relu_.default`) into their functional form; readers of the changed tensor that
  /// come later read the result.
  ///
  /// An in-place name that has no functional operator here is left, for the verifier to refuse.
  public mutating func functionalize() {
    var replacements: [ValueID: ValueID] = [:]
    for index in nodes.indices {
      nodes[index].mapInputs { id in
        var id = id
        while let next = replacements[id] { id = next }
        return id
      }
      guard let functional = Graph.functionalName(of: nodes[index].operatorName),
        let first = nodes[index].arguments.first, case .value(let changed) = first.operand,
        nodes[index].outputs.count == 1
      else { continue }
      nodes[index].operatorName = functional
      replacements[changed] = nodes[index].output
    }
    let resolved = replacements
    outputs = outputs.map { id in
      var id = id
      while let next = resolved[id] { id = next }
      return id
    }
  }

  /// `aten.relu_.default` → `aten.relu.default`, if there is such an operator; nil for a name that is not in place.
  static func functionalName(of name: String) -> String? {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[1].hasSuffix("_"), !parts[1].hasSuffix("__") else { return nil }
    let functional = "\(parts[0]).\(parts[1].dropLast()).\(parts[2])"
    return OperatorSet.named(functional) == nil ? nil : functional
  }
}
