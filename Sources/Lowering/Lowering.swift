import GraphIR
import Operators
import ProgramFormat
import TensorCore

/// A lowered program with the values that its observers want to see.
package struct ObservedLowering: Sendable {
  package let program: Program
  /// For each `quantization.observe` node in execution order: the observer, and the program's output that it sees.
  package let observed: [(observer: Int, output: Int)]
}

/// Lowers a float or Q/DQ graph: folds constants and BatchNorms, fuses, partitions, plans memory, emits.
///
/// A program with dynamic shapes is lowered for all sizes in their ranges (`Program.dynamicSizes`); the result has the
/// example's. Without its `dynamicShapes` it is lowered for the example's sizes alone.
///
/// `rules` are fusion rules of your own; for an operator that both know they come before those of this library.
///
/// Throws a `GraphError` when the graph is not well formed, has an operator that nothing here can run, or would be
/// lowered in different ways at different sizes.
public func lower(
  _ exported: ExportedProgram, partitioner: (any Partitioner)?, rules: [FusionRule] = []
) throws(GraphError) -> Program {
  let (fused, variants) = try fuseAll(exported, rules.isEmpty ? Fuser.standard : Fuser.table(with: rules))
  let varying = Set((fused.dynamicShapes?.arguments ?? [:]).keys)
  var joined: [ExportedProgram] = []
  for variant in variants { joined.append(try NodeFusion.fuse(variant, keeping: varying)) }
  return try emit(try NodeFusion.fuse(fused, keeping: varying), joined, partitioner)
}

/// The fused graph whose nodes `lower` joins and schedules: for writers that bring it into another runtime's form.
///
/// Throws as `lower` does.
package func fuse(_ exported: ExportedProgram) throws(GraphError) -> ExportedProgram {
  try fuseAll(exported, Fuser.standard).program
}

/// With dynamic shapes, the fused graph at some other sizes too.
private func fuseAll(
  _ exported: ExportedProgram, _ rules: OperatorTable<FusionRule>
) throws(GraphError) -> (program: ExportedProgram, variants: [ExportedProgram]) {
  let dialect: Dialect = exported.isQuantized ? .quantizeDequantize : .float
  try Verifier.verify(exported, as: dialect)
  var folded = exported
  try foldQuantize(in: &folded)
  try foldConstantMovements(in: &folded)
  try foldBatchNorms(in: &folded)
  if let shapes = folded.dynamicShapes { return try DynamicFusion.fuse(folded, shapes, rules) }
  return (try fuse(folded, rules).program, [])
}

/// Lowers an observed graph for calibration: as a float graph, with every observed value as an output.
package func lowerObserved(
  _ exported: ExportedProgram, partitioner: (any Partitioner)?
) throws(GraphError) -> ObservedLowering {
  try Verifier.verify(exported, as: .observed)
  let (fused, observed) = try fuse(exported, Fuser.standard, forCalibration: true)
  let positions = Dictionary(fused.graph.outputs.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
  return ObservedLowering(
    program: try emit(fused, [], partitioner), observed: observed.map { ($0.observer, positions[$0.value]!) })
}

private func fuse(
  _ verified: ExportedProgram, _ rules: OperatorTable<FusionRule>, forCalibration: Bool = false
) throws(GraphError) -> (program: ExportedProgram, observed: [(observer: Int, value: ValueID)]) {
  let result = try Fuser.fuse(verified, rules, forCalibration: forCalibration)
  try Verifier.verify(result.program, as: .lowered)
  return result
}

private func emit(
  _ fused: ExportedProgram, _ variants: [ExportedProgram], _ partitioner: (any Partitioner)?
) throws(GraphError) -> Program {
  for value in fused.graph.values where value.spec.byteCount > Program.largestTensor {
    throw GraphError(
      program: fused.name, reason: "'\(value.name)' is \(value.spec), of \(value.spec.byteCount) bytes; too large")
  }
  return try Emitter(fused, Schedule(fused, partitioner, variants: variants), partitioner).emit()
}

extension ExportedProgram {
  /// Whether the graph has Q/DQ nodes.
  public var isQuantized: Bool { graph.nodes.contains { $0.op.isAny(.quantizeDequantize) } }
}
