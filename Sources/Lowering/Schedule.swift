import GraphIR
import Operators
import TensorCore

/// The order in which a lowered graph's nodes run, and which of them are delegated.
struct Schedule {
  struct Step {
    let node: Node
    let call: OperatorCall
    /// Why the node is not delegated; nil when it is.
    let reason: String?
  }

  private(set) var steps: [Step] = []

  /// Orders nodes so that delegated ones stand together where their inputs allow it: fewer subgraphs, fewer borders.
  init(_ program: ExportedProgram, _ partitioner: (any Partitioner)?) throws(GraphError) {
    let graph = program.graph
    let constants = program.constants()
    var pending: [Step] = []
    for node in graph.nodes {
      let (_, call) = try program.call(of: node, constants: constants)
      var reason = partitioner == nil ? "delegation is switched off" : partitioner?.reasonAgainst(call)
      if let why = reason, let unfused = node.metadata["reason"] { reason = "\(unfused); \(why)" }
      pending.append(Step(node: node, call: call, reason: reason))
    }
    var available = Set(graph.inputs)
    var delegating = false
    while !pending.isEmpty {
      let ready = pending.indices.filter { pending[$0].node.inputs.allSatisfy(available.contains) }
      // The graph is verified: some node is always ready. Views cost nothing, so they go with either kind.
      let next = ready.first { pending[$0].isView || (pending[$0].reason == nil) == delegating } ?? ready[0]
      let step = pending.remove(at: next)
      if !step.isView { delegating = step.reason == nil }
      available.formUnion(step.node.outputs)
      steps.append(step)
    }
  }
}

extension Schedule.Step {
  /// A step that moves no bytes: its output lies where its input lies.
  var isView: Bool {
    switch node.operatorName {
    case "fused.view": return true
    case "dim_order_ops._to_dim_order_copy.default":
      let shape = call.inputs[0].shape
      return shape[1] == 1 || shape[2] * shape[3] == 1
    default: return false
    }
  }
}
