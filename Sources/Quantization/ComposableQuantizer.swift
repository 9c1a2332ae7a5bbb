import GraphIR
import Operators

/// Several quantizers one after the other (PT2E's `ComposableQuantizer`): each annotates what those before it have left.
///
///     let quantizer = ComposableQuantizer([EmbeddingQuantizer(), XNNPACKQuantizer()])
///
/// A quantizer that changes or removes an annotation made before it is refused by name.
public struct ComposableQuantizer: Quantizer {
  /// In the order in which they annotate.
  public let quantizers: [any Quantizer]

  /// The earlier quantizer comes first.
  public init(_ quantizers: [any Quantizer]) { self.quantizers = quantizers }

  /// All of them rewrite the graph, in order.
  public func transformForAnnotation(_ program: inout ExportedProgram) throws(QuantizationError) {
    for quantizer in quantizers { try quantizer.transformForAnnotation(&program) }
  }

  /// - Throws: `conflictingAnnotations`, and what the quantizers throw.
  public func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) throws(QuantizationError) {
    var authors: [ValueID: String] = [:]
    for quantizer in quantizers {
      let before = annotations
      let name = "\(type(of: quantizer))"
      try quantizer.annotate(program, &annotations)
      for node in program.graph.nodes where annotations[node.output] != before[node.output] {
        if before[node.output] != nil {
          throw .conflictingAnnotations(
            program: program.name, node: node.name, operatorName: node.op.name,
            first: authors[node.output] ?? "a quantizer before", second: name)
        }
        authors[node.output] = name
      }
    }
  }

  /// Those of all quantizers, each once.
  public func quantizationCapabilities() -> [QuantizationCapability] {
    var known: Set<QuantizationCapability> = []
    return quantizers.flatMap { $0.quantizationCapabilities() }.filter { known.insert($0).inserted }
  }

  /// Throws what the first of them that objects throws.
  public func validate(_ annotations: Annotations, of program: ExportedProgram) throws(QuantizationError) {
    for quantizer in quantizers { try quantizer.validate(annotations, of: program) }
  }

  /// All of them leave those nodes in float.
  public func keepingInFloat(_ nodes: Set<String>) -> any Quantizer {
    ComposableQuantizer(quantizers.map { $0.keepingInFloat(nodes) })
  }

  /// All of them have a word, in order; the last one's holds.
  public func assignObservers(
    _ assignment: inout ObserverAssignment, of program: ExportedProgram
  ) throws(QuantizationError) {
    for quantizer in quantizers { try quantizer.assignObservers(&assignment, of: program) }
  }
}
