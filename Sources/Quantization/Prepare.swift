import GraphIR
import Operators
import TensorCore

/// Prepares a float program for static post-training quantization (PT2E's `prepare_pt2e`).
///
/// Computes what only reorders constants, folds BatchNorms into convolutions and linear layers, lets the quantizer rewrite and annotate the graph, puts
/// observers at the annotated places, drops inference dropouts, and observes the weights. What remains is to run
/// calibration data through it (`ObservedProgram`) and to call `convert`.
///
/// - Throws: `alreadyQuantized`; `invalidGraph` if the program is no valid float graph; what the quantizer throws;
///   `invalidAnnotation`; `observer` if a weight has NaNs.
public func prepare(
  _ program: ExportedProgram, quantizer: some Quantizer
) throws(QuantizationError) -> ObservedProgram {
  try checkIsFloat(program)
  try verify(program, as: .float)
  var float = program
  let notFolded: [BatchNormNotFolded]
  do throws(GraphError) {
    try foldConstantMovements(in: &float)
    notFolded = try foldBatchNorms(in: &float)
  } catch { throw .invalidGraph(error) }
  let inputs = Set(float.graph.inputs)
  try quantizer.transformForAnnotation(&float)
  var annotations = Annotations()
  try quantizer.annotate(float, &annotations)
  annotations.settleReasons(in: float)
  try annotations.validate(for: float)
  try quantizer.validate(annotations, of: float)
  annotations.explain(notFolded, in: float)
  var assignment = try ObserverAssignment(float, annotations)
  try quantizer.assignObservers(&assignment, of: float)
  var observed = ObserverInsertion.run(
    float, annotations, assignment, lifted: Set(float.graph.inputs).subtracting(inputs))
  do { try removeInferenceDropouts(in: &observed) } catch { throw .invalidGraph(error) }
  observed.graph.removeDeadNodes()
  observed.removeUnusedConstants()
  try verify(observed, as: .observed)
  return try ObservedProgram(observed, annotations, assignment)
}

private func checkIsFloat(_ program: ExportedProgram) throws(QuantizationError) {
  for node in program.graph.nodes {
    guard node.op.isAny([.quantizeDequantize, .observes]) else { continue }
    throw .alreadyQuantized(program: program.name, node: node.name, operatorName: node.op.name)
  }
}

func verify(_ program: ExportedProgram, as dialect: Dialect) throws(QuantizationError) {
  do { try Verifier.verify(program, as: dialect) } catch { throw .invalidGraph(error) }
}

extension Annotations {
  /// Tells why BatchNorms were not folded, in place of the quantizer's own words on them.
  mutating func explain(_ notFolded: [BatchNormNotFolded], in program: ExportedProgram) {
    let reasons = Dictionary(notFolded.map { ($0.node, $0.reason) }, uniquingKeysWith: { first, _ in first })
    let nodes = Dictionary(program.graph.nodes.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    notQuantized = notQuantized.map { entry in
      guard let reason = reasons[entry.node], let node = nodes[entry.node] else { return entry }
      return NotQuantized(node, reason: "BatchNorm could not be folded: " + reason)
    }
  }
}
