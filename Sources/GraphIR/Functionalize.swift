import Operators

extension Graph {
  /// Turns in-place operators (`aten.relu_.default`) into their functional form; readers of the changed tensor that
  /// come later read the result.
  ///
  /// An operator is left as it is, for the verifier to refuse, when it has no functional form here, when it changes one of
  /// `constants`, or when memory that it changes is read later through another view.
  package mutating func functionalize(constants: Set<ValueID> = [], operators: OperatorSet = .standard) {
    var functionalizer = Functionalizer(self, constants, operators)
    functionalizer.run()
    self = functionalizer.graph
  }
}

extension Operator {
  /// `aten.relu_.default` → `aten.relu.default`, the name of the functional form of an operator that works in place; nil for
  /// others.
  var functionalName: String? {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[1].hasSuffix("_"), !parts[1].hasSuffix("__") else { return nil }
    return "\(parts[0]).\(parts[1].dropLast()).\(parts[2])"
  }
}

private struct Functionalizer {
  var graph: Graph
  private let constants: Set<ValueID>
  private let operators: OperatorSet
  /// Old value of a tensor → its next one.
  private var replacements: [ValueID: ValueID] = [:]
  /// Where a value is read last, as the graph names it now.
  private var lastRead: [ValueID: Int] = [:]
  /// The value whose memory a view shares, and the live values that share it.
  private var bases: [ValueID: ValueID] = [:]
  private var sharers: [ValueID: Set<ValueID>] = [:]

  init(_ graph: Graph, _ constants: Set<ValueID>, _ operators: OperatorSet) {
    self.graph = graph
    self.constants = constants
    self.operators = operators
    for (index, node) in graph.nodes.enumerated() { for id in node.inputs { lastRead[id] = index } }
    for id in graph.outputs { lastRead[id] = .max }
  }

  mutating func run() {
    for index in graph.nodes.indices {
      var node = graph.nodes[index]
      node.mapInputs { newest($0) }
      defer { graph.nodes[index] = node }
      guard let first = node.inputs.first else { continue }
      if node.op.has(.mayAlias) { for id in node.outputs { share(id, with: first) } }
      guard let functional = node.op.functionalName.flatMap({ operators[$0] }), node.outputs.count == 1,
        node.output != first, isSafe(first, at: index)
      else { continue }
      node.op = functional
      // `dropout_` calls `self` what `dropout` calls `input`.
      let names = functional.schema.parameters.map(\.name)
      if let old = node.arguments.first, old.name == "self", !names.contains("self"), let name = names.first {
        node.arguments[0] = Node.Argument(name, old.operand)
      }
      replacements[first] = node.output
      lastRead[node.output] = max(lastRead[node.output] ?? -1, lastRead[first] ?? -1)
      share(node.output, with: first)
      sharers[base(first), default: []].remove(first)
    }
    graph.outputs = graph.outputs.map { newest($0) }
  }

  /// The newest value of a tensor; shortens the path to it, so that long chains stay cheap.
  private mutating func newest(_ id: ValueID) -> ValueID {
    var root = id
    while let next = replacements[root] { root = next }
    var step = id
    while step != root, let next = replacements.updateValue(root, forKey: step) { step = next }
    return root
  }

  private func base(_ id: ValueID) -> ValueID { bases[id] ?? id }

  private mutating func share(_ id: ValueID, with other: ValueID) {
    let base = base(other)
    bases[id] = base
    sharers[base, default: [base]].insert(id)
  }

  /// Whether nothing but `changed` itself sees its memory after node `index`.
  private func isSafe(_ changed: ValueID, at index: Int) -> Bool {
    let base = base(changed)
    guard !constants.contains(base) else { return false }
    return sharers[base, default: []].allSatisfy { $0 == changed || (lastRead[$0] ?? -1) <= index }
  }
}
