import GraphIR
import Operators
import TensorCore

extension Node {
  /// Whether it is a dropout that passes its input through, as all do outside training.
  package var isInferenceDropout: Bool {
    op == .dropout && operand("train") == .attribute(.bool(false)) && value("input") != nil
  }
}

/// Drops dropouts that pass their input through; those in training mode stay.
package func removeInferenceDropouts(in program: inout ExportedProgram) throws(GraphError) {
  var replacements: [ValueID: ValueID] = [:]
  for node in program.graph.nodes where node.isInferenceDropout { replacements[node.output] = node.value("input") }
  try program.removeNodes(forwarding: replacements)
}
