import GraphIR
import Operators
import TensorCore

/// Joins neighbouring nodes of a fused graph into one operator each, where that saves a pass over memory. The results are
/// the same to the byte.
///
/// Graphs of the same program at other sizes are changed alike: whether nodes are joined never depends on sizes.
struct NodeFusion {
  private(set) var program: ExportedProgram
  private var users: [ValueID: [Int]]
  private var producers: [ValueID: Int]

  static func fuse(_ program: ExportedProgram) throws(GraphError) -> ExportedProgram {
    var fusion = NodeFusion(program)
    fusion.fuseConversions()
    fusion.program.graph.removeDeadNodes()
    try Verifier.verify(fusion.program, as: .lowered)
    return fusion.program
  }

  private init(_ program: ExportedProgram) {
    self.program = program
    users = program.graph.users()
    producers = program.graph.producers()
  }

  /// The node that computes a value, when nothing else reads it.
  private func producer(ofOnlyUse id: ValueID) -> Node? {
    guard let index = producers[id], users[id]?.count == 1, !program.graph.outputs.contains(id) else { return nil }
    return program.graph.nodes[index]
  }

  /// Quantizing and dequantizing with a transposition before or behind it.
  private mutating func fuseConversions() {
    let copy = "dim_order_ops._to_dim_order_copy.default"
    let orders = ["fused.quantize": DimOrder.channelsLast, "fused.dequantize": .contiguous]
    for (index, node) in program.graph.nodes.enumerated() {
      guard let input = node.value("self"), let first = producer(ofOnlyUse: input) else { continue }
      let pair = [first, node]
      guard let conversion = pair.first(where: { orders[$0.operatorName] != nil }),
        pair.contains(where: { $0.operatorName == copy }), let source = first.value("self"),
        let order = orders[conversion.operatorName], program.graph.spec(node.output).dimOrder == order,
        program.graph.spec(source).dimOrder != order
      else { continue }
      var fused = conversion
      (fused.name, fused.outputs) = (node.name, node.outputs)
      fused.arguments = [
        Node.Argument("self", .value(source)), Node.Argument("dim_order", .attribute(.string(order.schemaName))),
      ]
      program.graph.nodes[index] = fused
    }
  }
}
