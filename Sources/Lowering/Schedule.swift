import GraphIR
import Operators
import TensorCore

/// The order in which a lowered graph's nodes run, and which of them are delegated.
package struct Schedule {
  package struct Step {
    package let node: Node
    package let call: OperatorCall
    /// Why the node is not delegated; nil when it is.
    package let reason: String?
  }

  package private(set) var steps: [Step] = []

  /// Orders nodes so that delegated ones stand together where their inputs allow it: fewer subgraphs, fewer borders.
  package init(_ program: ExportedProgram, _ partitioner: (any DelegateSupport)?) throws(GraphError) {
    let graph = program.graph
    let constants = program.storedConstants()
    var pending: [Step] = []
    for node in graph.nodes {
      let (_, call) = try program.call(of: node, constants: constants)
      var reason = partitioner == nil ? "delegation is switched off" : partitioner?.reasonAgainst(call)
      if let why = reason, let unfused = node.metadata["reason"] { reason = "\(unfused); \(why)" }
      pending.append(Step(node: node, call: call, reason: reason))
    }
    steps = Schedule.ordered(pending)
  }

  /// Runs every step after those it reads from, in the given order but for delegated ones that are drawn together.
  private static func ordered(_ pending: [Step]) -> [Step] {
    var producer: [ValueID: Int] = [:]
    for (index, step) in pending.enumerated() { for id in step.node.outputs { producer[id] = index } }
    var readers = [[Int]](repeating: [], count: pending.count)
    var missing = [Int](repeating: 0, count: pending.count)
    // Views cost nothing: they run as soon as they can.
    var views = ReadyQueue()
    var (delegated, portable) = (ReadyQueue(), ReadyQueue())
    func enqueue(_ index: Int) {
      if pending[index].isView {
        views.insert(index)
      } else if pending[index].reason == nil {
        delegated.insert(index)
      } else {
        portable.insert(index)
      }
    }
    for (index, step) in pending.enumerated() {
      let sources = Set(step.node.inputs.compactMap { producer[$0] })
      missing[index] = sources.count
      for source in sources { readers[source].append(index) }
      if sources.isEmpty { enqueue(index) }
    }
    var steps: [Step] = []
    var isDelegating = false
    func next() -> Int? {
      if let view = views.removeFirst() { return view }
      let index =
        isDelegating
        ? delegated.removeFirst() ?? portable.removeFirst() : portable.removeFirst() ?? delegated.removeFirst()
      if let index { isDelegating = pending[index].reason == nil }
      return index
    }
    while let index = next() {
      steps.append(pending[index])
      for reader in readers[index] {
        missing[reader] -= 1
        if missing[reader] == 0 { enqueue(reader) }
      }
    }
    return steps
  }
}

/// Indices of steps that can run, the earliest first.
private struct ReadyQueue {
  /// Descending.
  private var indices: [Int] = []

  mutating func insert(_ index: Int) {
    var (low, high) = (0, indices.count)
    while low < high {
      let middle = (low + high) / 2
      if indices[middle] > index { low = middle + 1 } else { high = middle }
    }
    indices.insert(index, at: low)
  }

  mutating func removeFirst() -> Int? { indices.popLast() }
}

extension Schedule.Step {
  /// A step that moves no bytes: its output lies where its input lies.
  package var isView: Bool {
    switch node.operatorName {
    case "fused.view": return true
    case "dim_order_ops._to_dim_order_copy.default":
      let shape = call.inputs[0].shape
      return shape[1] == 1 || shape[2] * shape[3] == 1
    default: return false
    }
  }
}
