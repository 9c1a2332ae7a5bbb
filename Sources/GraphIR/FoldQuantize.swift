import Operators
import TensorCore

/// Computes the quantize nodes whose operands are all constants, ahead of time: a Q/DQ graph that keeps float weights
/// (`foldQuantize: false`, or as PyTorch writes it) becomes one with integer weights. An operand may also be what a dequantize
/// node makes of constants, as a `.pte` has it for integers that a delegate is given. Constants that nothing reads any more
/// are dropped.
///
/// Throws a `GraphError` when such a node is not a valid call.
package func foldQuantize(in program: inout ExportedProgram) throws(GraphError) {
  let owned = Set(program.storedConstants().keys)
  var dequantized: [ValueID: Node] = [:]
  var foldable: [Node] = []
  for node in program.graph.nodes {
    if node.op.has(.dequantizes), node.inputs.allSatisfy(owned.contains) {
      dequantized[node.output] = node
    } else if node.op.has(.quantizes), node.inputs.allSatisfy({ owned.contains($0) || dequantized[$0] != nil }) {
      foldable.append(node)
    }
  }
  guard !foldable.isEmpty else { return }
  let constants = program.constants()
  var replacements: [ValueID: ValueID] = [:]
  for node in foldable {
    var known = constants
    for id in node.inputs {
      if let source = dequantized[id] { known[id] = try program.execute(source, on: constants) }
    }
    replacements[node.output] = program.addBuffer(
      "_frozen_param\(replacements.count)", try program.execute(node, on: known))
  }
  try program.removeNodes(forwarding: replacements)
  program.graph.removeDeadNodes()
  program.removeUnusedConstants()
}

extension ExportedProgram {
  /// The first result of a node whose operands are all among `known`.
  fileprivate func execute(_ node: Node, on known: [ValueID: Tensor]) throws(GraphError) -> Tensor {
    let (op, call) = try call(of: node, constants: known)
    do { return try op.execute(call, inputs: node.callInputs.compactMap { known[$0] })[0] } catch {
      throw GraphError(error, program: name)
    }
  }
}
