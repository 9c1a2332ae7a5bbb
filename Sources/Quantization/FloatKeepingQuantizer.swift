import GraphIR

/// Another quantizer without its annotations of some nodes.
struct FloatKeepingQuantizer: Quantizer {
  let base: any Quantizer
  /// By name.
  let nodes: Set<String>

  func transformForAnnotation(_ program: inout ExportedProgram) throws(QuantizationError) {
    try base.transformForAnnotation(&program)
  }

  func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) throws(QuantizationError) {
    let before = annotations
    try base.annotate(program, &annotations)
    /// Outputs of the nodes that lost their annotation.
    var dropped: Set<ValueID> = []
    func drop(_ node: Node, _ reason: String) {
      annotations[node.output] = nil
      annotations.keepInFloat(node, reason: reason)
      dropped.formUnion(node.outputs)
    }
    for node in program.graph.nodes where nodes.contains(node.name) {
      guard annotations[node.output] != nil, before[node.output] == nil else { continue }
      drop(node, "it is set to stay in float")
    }
    // Sharing mostly follows the order of execution; what refers to a later node takes another round.
    var count = -1
    while count != dropped.count {
      count = dropped.count
      for node in program.graph.nodes where before[node.output] == nil {
        guard let source = annotations[node.output]?.places.lazy.map(\.owner).first(where: dropped.contains) else {
          continue
        }
        drop(node, "it takes its quantization parameters from '\(program.graph[source].name)', which stays in float")
      }
    }
  }

  func validate(_ annotations: Annotations, of program: ExportedProgram) throws(QuantizationError) {
    try base.validate(annotations, of: program)
  }

  func assignObservers(_ assignment: inout ObserverAssignment, of program: ExportedProgram) throws(QuantizationError) {
    try base.assignObservers(&assignment, of: program)
  }

  func quantizationCapabilities() -> [QuantizationCapability] { base.quantizationCapabilities() }
}

extension QuantizationAnnotation {
  /// The places whose observers the specs refer to.
  fileprivate var places: [QuantizedPlace] {
    (inputs.map(\.spec) + (output.map { [$0] } ?? [])).flatMap { spec -> [QuantizedPlace] in
      switch spec {
      case .own, .fixed: []
      case .shared(let spec): [spec.place]
      case .derived(let spec): spec.derivedFrom
      }
    }
  }
}

extension QuantizedPlace {
  /// An output of the node that the place belongs to.
  fileprivate var owner: ValueID {
    switch self {
    case .edge(_, let reader): reader
    case .output(let value): value
    }
  }
}
