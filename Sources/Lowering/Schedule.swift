import GraphIR
import Operators
import TensorCore

/// The order in which a lowered graph's nodes run, and which of them are delegated.
package struct Schedule {
  package struct Step {
    package let node: Node
    package let call: OperatorCall
    /// The call that is encoded for a delegate: one of those that differ from `call` in sizes alone.
    package let delegatedCall: OperatorCall
    /// Why the node is not delegated; nil when it is.
    package let reason: String?
    /// Whether it moves no bytes, at any size: its output lies where its input lies.
    package let isView: Bool
  }

  package private(set) var steps: [Step] = []

  /// Orders nodes so that delegated ones stand together where their inputs allow it: fewer subgraphs, fewer borders.
  ///
  /// - Parameter variants: the same graph at other sizes. A node is delegated if its encoded form is the same at all.
  package init(
    _ program: ExportedProgram, _ partitioner: (any DelegateSupport)?, variants: [ExportedProgram] = []
  ) throws(GraphError) {
    let constants = program.storedConstants()
    let variants = variants.map { ($0, $0.storedConstants()) }
    var pending: [Step] = []
    for (index, node) in program.graph.nodes.enumerated() {
      let (_, call) = try program.call(of: node, constants: constants)
      var calls: [OperatorCall] = []
      for (variant, constants) in variants {
        calls.append(try variant.call(of: variant.graph.nodes[index], constants: constants).1)
      }
      // The example's own sizes may be 1, where a node could do with less than it needs at others.
      if calls.isEmpty { calls = [call] }
      var reason = Schedule.reasonAgainst(calls, partitioner)
      if let why = reason, let unfused = node.metadata["reason"] { reason = "\(unfused); \(why)" }
      let isView = calls.allSatisfy { Schedule.isView($0, node.op) }
      pending.append(Step(node: node, call: call, delegatedCall: calls[0], reason: reason, isView: isView))
    }
    steps = Schedule.ordered(pending)
  }

  /// Why a backend does not run a node that has these calls at several sizes; nil when it does.
  private static func reasonAgainst(_ calls: [OperatorCall], _ support: (any DelegateSupport)?) -> String? {
    guard let support else { return "delegation is switched off" }
    for call in calls { if let reason = support.reasonAgainst(call) { return reason } }
    guard calls.count > 1, let partitioner = support as? any Partitioner else { return nil }
    func encoded(_ call: OperatorCall) -> [UInt8]? {
      try? partitioner.encode(
        call, inputs: [Int](repeating: 0, count: call.inputs.count),
        outputs: [Int](repeating: 0, count: call.outputs.count))
    }
    let first = encoded(calls[0])
    return calls.allSatisfy { encoded($0) == first } ? nil : "its parameters depend on sizes that vary"
  }

  private static func isView(_ call: OperatorCall, _ op: Operator) -> Bool {
    switch op {
    case .fusedView: return true
    case .toDimOrderCopy:
      let shape = call.inputs[0].shape
      return shape[1] == 1 || shape[2] * shape[3] == 1
    default: return false
    }
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
