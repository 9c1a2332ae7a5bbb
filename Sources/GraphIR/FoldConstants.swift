import Operators
import TensorCore

/// Computes, ahead of time, the nodes that only give constants another shape or order: a weight that the model transposes
/// before it uses it becomes a constant, and so can be quantized. Constants that nothing reads any more are dropped.
///
/// Throws a `GraphError` when such a node is not a valid call.
public func foldConstantMovements(in program: inout ExportedProgram) throws(GraphError) {
  var constants = program.constants()
  var replacements: [ValueID: ValueID] = [:]
  var removed: Set<String> = []
  for node in program.graph.nodes where movements.contains(node.operatorName) {
    var node = node
    node.mapInputs { replacements[$0] ?? $0 }
    guard !node.inputs.isEmpty, node.inputs.allSatisfy({ constants[$0] != nil }) else { continue }
    let (op, call) = try program.call(of: node, constants: constants)
    let inputs = program.callInputs(of: node).compactMap { constants[$0] }
    let result: Tensor
    do throws(OperatorError) { result = try op.execute(call, inputs: inputs)[0] } catch {
      throw GraphError(error, program: program.name)
    }
    let id = program.addBuffer("_folded_\(node.name)", result)
    constants[id] = result
    replacements[node.output] = id
    removed.insert(node.name)
  }
  guard !removed.isEmpty else { return }
  program.graph.nodes.removeAll { removed.contains($0.name) }
  program.graph.replaceUses(replacements)
  program.removeUnusedConstants()
}

private let movements: Set<String> = [
  "aten.permute.default", "aten.transpose.int", "aten.view.default", "aten.reshape.default", "aten.flatten.using_ints",
  "aten.squeeze.dim", "aten.unsqueeze.default", "aten.slice.Tensor", "aten.select.int", "aten.expand.default",
  "aten.contiguous.default", "aten.clone.default", "aten.alias.default", "aten.cat.default",
]
