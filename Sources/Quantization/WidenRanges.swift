import GraphIR
import Operators
import TensorCore

/// Widens the range of every activation of a Q/DQ program: scales are multiplied by `factor`, zero points stay, so that
/// both ends of each range move by the factor.
///
/// For models whose calibration samples show less than what they meet later: values beyond the range saturate, which
/// harms more than the coarser steps, of which there are 256 either way.
///
/// - Precondition: `factor` is finite and at least 1.
public func widenActivationRanges(of program: inout ExportedProgram, by factor: Double) {
  precondition(factor.isFinite && factor >= 1)
  let constants = program.constants()
  for index in program.graph.nodes.indices {
    let node = program.graph.nodes[index]
    guard node.op.isAny(.quantizeDequantize),
      node.value("input").map({ constants[$0] == nil }) ?? false,
      let position = node.arguments.firstIndex(where: { $0.name == "scale" }),
      case .attribute(.float(let scale)) = node.arguments[position].operand
    else { continue }
    // Scales are float32 numbers, as observers give them.
    program.graph.nodes[index].arguments[position].operand = .attribute(.float(Double(Float(scale * factor))))
  }
}
