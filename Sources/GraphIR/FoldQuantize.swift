import Operators
import TensorCore

/// Computes the quantize nodes whose operands are all constants, ahead of time: a Q/DQ graph that keeps float weights
/// (`foldQuantize: false`, or as PyTorch writes it) becomes one with integer weights. Float weights that nothing reads any
/// more are dropped.
///
/// Throws a `GraphError` when a quantize node is not a valid call.
package func foldQuantize(in program: inout ExportedProgram) throws(GraphError) {
  let owned = Set(program.storedConstants().keys)
  let foldable = program.graph.nodes.filter { node in
    node.op.has(.quantizes) && node.inputs.allSatisfy(owned.contains)
  }
  guard !foldable.isEmpty else { return }
  let constants = program.constants()
  var replacements: [ValueID: ValueID] = [:]
  for node in foldable {
    let (op, call) = try program.call(of: node, constants: constants)
    let inputs = node.callInputs.compactMap { constants[$0] }
    let integers: [Tensor]
    do { integers = try op.execute(call, inputs: inputs) } catch { throw GraphError(error, program: program.name) }
    replacements[node.output] = program.addBuffer("_frozen_param\(replacements.count)", integers[0])
  }
  try program.removeNodes(forwarding: replacements)
  program.removeUnusedConstants()
}
