import Operators

extension Graph {
  /// Turns in-place operators (`aten.relu_.default`) into their functional form; readers of the changed tensor that
  /// come later read the result.
  ///
  /// An in-place name that has no functional operator here is left, for the verifier to refuse.
  public mutating func functionalize() {
    var replacements: [ValueID: ValueID] = [:]
    /// The newest value of a tensor; shortens the path to it, so that long chains stay cheap.
    func newest(_ id: ValueID) -> ValueID {
      var root = id
      while let next = replacements[root] { root = next }
      var step = id
      while step != root, let next = replacements.updateValue(root, forKey: step) { step = next }
      return root
    }
    for index in nodes.indices {
      nodes[index].mapInputs(newest)
      guard let functional = Graph.functionalName(of: nodes[index].operatorName),
        let first = nodes[index].arguments.first, case .value(let changed) = first.operand,
        nodes[index].outputs.count == 1, nodes[index].output != changed
      else { continue }
      nodes[index].operatorName = functional
      replacements[changed] = nodes[index].output
    }
    outputs = outputs.map(newest)
  }

  /// `aten.relu_.default` → `aten.relu.default`, if there is such an operator; nil for a name that is not in place.
  static func functionalName(of name: String) -> String? {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[1].hasSuffix("_"), !parts[1].hasSuffix("__") else { return nil }
    let functional = "\(parts[0]).\(parts[1].dropLast()).\(parts[2])"
    return OperatorSet.named(functional) == nil ? nil : functional
  }
}
