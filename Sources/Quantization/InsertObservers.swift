import GraphIR
import Operators
import TensorCore

/// Puts `quantization.observe` nodes at annotated places, as torchao's `prepare` does: one after each annotated output,
/// which all readers then read, and one on each annotated edge whose observer is another than its producer's. Edges of
/// one value with one observer share a node. Which observer is at which place, the assignment tells.
struct ObserverInsertion {
  private var program: ExportedProgram
  private let annotations: Annotations
  private let assignment: ObserverAssignment
  /// Values that are lifted scalars: they are observed where they are used, not at the graph's start.
  private let lifted: Set<ValueID>
  /// Observe nodes that follow each value, nearest first.
  private var following: [ValueID: [Node]] = [:]
  /// The output of the observe node that stands for an observed output.
  private var observedOutputs: [ValueID: ValueID] = [:]
  /// Outputs of observe nodes by the value they observe and their observer.
  private var inserted: [Key: ValueID] = [:]
  private var count = 0

  private struct Key: Hashable {
    let value: ValueID
    let observer: Int
  }

  /// The observed program. `assignment` belongs to the same program and annotations.
  static func run(
    _ program: ExportedProgram, _ annotations: Annotations, _ assignment: ObserverAssignment, lifted: Set<ValueID>
  ) -> ExportedProgram {
    var insertion = ObserverInsertion(
      program: program, annotations: annotations, assignment: assignment, lifted: lifted)
    let nodes = program.graph.nodes.map { insertion.observe($0) }
    insertion.place(nodes)
    return insertion.program
  }

  private init(program: ExportedProgram, annotations: Annotations, assignment: ObserverAssignment, lifted: Set<ValueID>)
  {
    self.program = program
    self.annotations = annotations
    self.assignment = assignment
    self.lifted = lifted
  }

  /// Makes the observe nodes of one node's annotation; returns the node reading observed values.
  private mutating func observe(_ node: Node) -> Node {
    var edges: [ValueID: ValueID] = [:]
    for value in node.inputs where edges[value] == nil {
      let current = observedOutputs[value] ?? value
      guard let observer = assignment[.edge(from: value, to: node.output)],
        observedOutputs[value] == nil || assignment[.output(value)] != observer
      else { continue }
      edges[value] = inserted[Key(value: current, observer: observer)] ?? insert(current, observer, like: node)
    }
    var node = node
    node.mapInputs { edges[$0] ?? observedOutputs[$0] ?? $0 }
    for id in node.outputs {
      if let observer = assignment[.output(id)] { observedOutputs[id] = insert(id, observer, like: node) }
    }
    return node
  }

  private mutating func insert(_ value: ValueID, _ observer: Int, like node: Node) -> ValueID {
    let observe = program.graph.makeNode(
      .observe, name: "activation_post_process_\(count)",
      arguments: [.init("input", .value(value)), .init("observer", .attribute(.int(observer)))],
      output: program.graph.spec(value), metadata: node.inheritedMetadata)
    count += 1
    following[value, default: []].insert(observe, at: 0)
    inserted[Key(value: value, observer: observer)] = observe.output
    return observe.output
  }

  /// Orders all nodes: those that observe inputs and constants first, the others right after what they observe.
  private mutating func place(_ nodes: [Node]) {
    var placed: [Node] = []
    var pending = lifted
    for id in program.graph.inputs where !lifted.contains(id) { appendFollowers(of: id, to: &placed) }
    for (node, original) in zip(nodes, program.graph.nodes) {
      for id in original.inputs where pending.remove(id) != nil { appendFollowers(of: id, to: &placed) }
      placed.append(node)
      for id in node.outputs { appendFollowers(of: id, to: &placed) }
    }
    program.graph.nodes = placed
    program.graph.outputs = program.graph.outputs.map { observedOutputs[$0] ?? $0 }
  }

  private func appendFollowers(of id: ValueID, to nodes: inout [Node]) {
    for observe in following[id] ?? [] {
      nodes.append(observe)
      appendFollowers(of: observe.output, to: &nodes)
    }
  }
}

extension Node {
  var isObserver: Bool { op.has(.observes) }

  /// The observer's index of a `quantization.observe` node.
  var observerIndex: Int? {
    if isObserver, case .attribute(.int(let index))? = operand("observer") { index } else { nil }
  }

  /// The metadata that nodes made for this one take over: where it stands in the model, and what
  /// its author noted there.
  var inheritedMetadata: [String: String] {
    let kept: Set<String> = ["nn_module_stack", "source_fn_stack", "stack_trace", "custom"]
    return metadata.filter { kept.contains($0.key) }
  }
}
