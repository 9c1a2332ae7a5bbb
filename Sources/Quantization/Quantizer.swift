import GraphIR
import Operators
import TensorCore

/// Decides which values of a graph are quantized and how (PT2E's `Quantizer`); usually one per backend.
public protocol Quantizer: Sendable {
  /// Rewrites the float graph into a form that can be annotated; runs after BatchNorms are folded.
  func transformForAnnotation(_ program: inout ExportedProgram) throws(QuantizationError)

  /// Adds the decisions, with a reason for every operator on real numbers that it would leave in float. What another
  /// quantizer has annotated before stays as it is.
  func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) throws(QuantizationError)

  /// Throws when the annotations cannot be applied to the graph.
  func validate(_ annotations: Annotations, of program: ExportedProgram) throws(QuantizationError)

  /// The last word on which observer watches which place (PT2E's `prepare_obs_or_fq_callback`): replace an observer's
  /// spec, let a place share another's observer, or take a place's observer away.
  func assignObservers(_ assignment: inout ObserverAssignment, of program: ExportedProgram) throws(QuantizationError)

  /// The kinds of units that it can quantize, and how.
  func quantizationCapabilities() -> [QuantizationCapability]

  /// The same quantizer, but nodes of these names stay in float.
  ///
  /// By default their annotations are taken away, and those of the nodes that share parameters with them or derive theirs.
  /// A quantizer that knows which nodes are one unit may do better.
  func keepingInFloat(_ nodes: Set<String>) -> any Quantizer
}

extension Quantizer {
  /// Leaves the graph as it is.
  public func transformForAnnotation(_ program: inout ExportedProgram) throws(QuantizationError) {}

  /// None that it tells of.
  public func quantizationCapabilities() -> [QuantizationCapability] { [] }

  /// Leaves the observers as the annotations ask for them.
  public func assignObservers(
    _ assignment: inout ObserverAssignment, of program: ExportedProgram
  ) throws(QuantizationError) {}

  /// Annotates as before, and takes the annotations of those nodes away.
  public func keepingInFloat(_ nodes: Set<String>) -> any Quantizer { FloatKeepingQuantizer(base: self, nodes: nodes) }

  /// Every annotation belongs to a node, its inputs are read by that node, and all annotated values are contiguous float32.
  public func validate(_ annotations: Annotations, of program: ExportedProgram) throws(QuantizationError) {
    try annotations.validate(for: program)
  }
}

extension Annotations {
  /// Throws `invalidAnnotation` unless every annotation belongs to a node, its inputs are read by that node, and all
  /// annotated values are contiguous float32.
  func validate(for program: ExportedProgram) throws(QuantizationError) {
    let producers = program.graph.producers()
    for id in nodes.sorted() {
      guard let index = producers[id], let annotation = self[id] else {
        throw .invalidAnnotation(
          program: program.name, node: "\(id)", operatorName: "", reason: "no node of the graph computes \(id)")
      }
      let node = program.graph.nodes[index]
      func check(_ condition: Bool, _ reason: @autoclosure () -> String) throws(QuantizationError) {
        guard !condition else { return }
        throw .invalidAnnotation(
          program: program.name, node: node.name, operatorName: node.op.name, reason: reason())
      }
      try check(node.output == id, "a node is annotated by its first output")
      let read = Set(node.inputs)
      for (value, _) in annotation.inputs {
        try check(read.contains(value), "it does not read \(value)")
      }
      let values = annotation.inputs.map(\.value) + (annotation.output == nil ? [] : node.outputs)
      for value in values {
        let (name, spec) = (program.graph[value].name, program.graph.spec(value))
        try check(spec.dataType == .float32, "'\(name)' is \(spec.dataType); only float32 values can be quantized")
        try check(spec.dimOrder == .contiguous, "'\(name)' is not contiguous")
      }
    }
  }
}
