import Operators
import TensorCore

/// Computes, ahead of time, the nodes that make constants (zeros of a fixed size) or only give them another shape or order:
/// a weight that the model transposes before it uses it becomes a constant, and so can be quantized. Constants that
/// nothing reads any more are dropped. Results whose sizes vary stay computed, and so do those that would make the
/// constants larger by more than 32 MiB in all.
///
/// Throws a `GraphError` when such a node is not a valid call.
package func foldConstantMovements(in program: inout ExportedProgram) throws(GraphError) {
  var constants = program.storedConstants()
  var replacements: [ValueID: ValueID] = [:]
  var budget = 32 << 20
  let (shapes, graph) = (program.dynamicShapes, program.graph)
  func isVarying(_ id: ValueID) -> Bool { shapes?.symbolicSizes(of: graph[id].name) != nil }
  for node in program.graph.nodes where node.op.isAny([.movesElements, .createsConstant]) {
    var node = node
    node.mapInputs { replacements[$0] ?? $0 }
    guard node.inputs.allSatisfy({ constants[$0] != nil }), !node.outputs.contains(where: isVarying) else { continue }
    let (op, call) = try program.call(of: node, constants: constants)
    let inputs = node.callInputs.compactMap { constants[$0]?.rowMajor() }
    // Sizes in a damaged file may be anything; the verifier has bounded those of each tensor.
    let growth = (call.outputs.map(\.byteCount) + inputs.map { -$0.spec.byteCount }).reduce(0, +)
    guard growth <= budget else { continue }
    budget -= max(0, growth)
    let results: [Tensor]
    do throws(OperatorError) { results = try op.execute(call, inputs: inputs) } catch {
      throw GraphError(error, program: program.name)
    }
    for (output, result) in zip(node.outputs, results) {
      let id = program.addBuffer("_folded_\(program.graph[output].name)", result)
      constants[id] = result
      replacements[output] = id
    }
  }
  guard !replacements.isEmpty else { return }
  try program.removeNodes(forwarding: replacements)
  program.removeUnusedConstants()
}
