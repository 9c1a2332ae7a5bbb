import GraphIR
import Operators
import Quantization
import TensorCore

/// One run of `XNNPACKQuantizer` over a graph: the patterns, then the operators that keep their input's parameters, then
/// a reason for everything else.
struct XNNPACKAnnotator {
  let graph: Graph
  let constants: [ValueID: Tensor]
  let producers: [ValueID: Int]
  var annotations: Annotations
  private let quantizer: XNNPACKQuantizer
  let users: [ValueID: [Int]]
  let outputs: Set<ValueID>
  /// Why nodes that start a unit are not quantized, by their first output.
  private var refusals: [ValueID: String] = [:]

  init(_ program: ExportedProgram, _ quantizer: XNNPACKQuantizer, _ annotations: Annotations) {
    self.annotations = annotations
    self.graph = program.graph
    self.constants = program.constants()
    self.producers = program.graph.producers()
    self.users = program.graph.users()
    self.outputs = Set(program.graph.outputs)
    self.quantizer = quantizer
  }

  mutating func run() {
    for pattern in QuantizationPattern.all where pattern.isTorchao || annotatesAll {
      for node in graph.nodes where pattern.operators.matches(node.op) {
        guard annotations[node.output] == nil, refusals[node.output] == nil else { continue }
        switch quantizer.decision(for: node) {
        case .quantize(let config) where config.isDynamic && !pattern.isDynamic: continue
        case .quantize(let config):
          if let refusal = pattern.annotate(&self, node, config) { refusals[node.output] = refusal }
        case .float(let reason): refusals[node.output] = reason
        }
      }
    }
    propagate()
    for node in graph.nodes where !annotations.isQuantized(node.output) && !node.isInferenceDropout {
      guard annotations[node.output] == nil, node.outputs.contains(where: { graph.spec($0).dataType.isFloatingPoint })
      else { continue }
      annotations.keepInFloat(node, reason: reason(for: node))
    }
  }

  /// Whether patterns that PyTorch lacks are annotated too.
  var annotatesAll: Bool { quantizer.patterns == .all }

  /// Whether the operator has a configuration of its own.
  func isChosen(_ node: Node) -> Bool { quantizer.operatorConfig(of: node) != nil }

  func isFloat(_ value: ValueID) -> Bool { graph.spec(value).dataType == .float32 }

  /// The clamp that becomes part of the unit that `node` starts: the only reader of its output, and meant to be
  /// quantized too.
  func fusedActivation(of node: Node, _ operators: OperatorPattern) -> Node? {
    guard let readers = users[node.output], readers.count == 1, !outputs.contains(node.output) else { return nil }
    let reader = graph.nodes[readers[0]]
    guard operators.matches(reader.op), reader.inputs == [node.output],
      annotations[reader.output] == nil, case .quantize = quantizer.decision(for: reader)
    else { return nil }
    return reader
  }

  // MARK: Operators that keep their input's parameters

  /// Of those, the ones that PyTorch's quantizer knows: all of `_is_share_obs_or_fq_op` that are operators here.
  private static let torchao: OperatorPattern = [
    .relu, .relu6, .hardtanh, .maxPool2d, .meanDim, .permute, .transposeInt, .squeeze, .adaptiveAvgPool2d, .view,
    .reshape, .slice, .flatten, .dropout,
  ]

  func keepsParameters(_ node: Node) -> Bool {
    node.op.has(.sharesQuantization) && (annotatesAll || XNNPACKAnnotator.torchao.matches(node.op))
  }

  /// Whether what computes a value is annotated to give it quantized.
  func isOutputQuantized(_ value: ValueID) -> Bool {
    producers[value].map { annotations[graph.nodes[$0].output]?.output != nil } ?? false
  }

  /// In execution order, so that the parameters of a quantized output reach as far as such operators go.
  private mutating func propagate() {
    for node in graph.nodes where annotations[node.output] == nil && keepsParameters(node) {
      guard let input = node.inputs.first, isOutputQuantized(input), isFloat(input),
        node.outputs.allSatisfy(isFloat), case .quantize = quantizer.decision(for: node)
      else { continue }
      let shared = AnnotatedSpec.shared(with: .output(input))
      annotations[node.output] = QuantizationAnnotation(inputs: [(input, shared)], output: shared)
    }
  }

  // MARK: Reasons

  private func reason(for node: Node) -> String {
    if let refusal = refusals[node.output] { return refusal }
    if case .float(let reason) = quantizer.decision(for: node) { return reason }
    if case .quantize(let config) = quantizer.decision(for: node), config.isDynamic {
      return "dynamic quantization covers linear layers and 2-D convolutions; their results are real"
    }
    if keepsParameters(node) {
      guard let input = node.inputs.first else { return "it has no input" }
      return "it takes its quantization parameters from its input '\(graph[input].name)', which is not quantized"
    }
    if !annotatesAll, QuantizationPattern.all.contains(where: { $0.operators.matches(node.op) }) {
      return "PyTorch's quantizer has no rule for the operator, and its patterns were asked for"
    }
    return node.op.reasonForFloat ?? "the XNNPACK quantizer has no rule for the operator"
  }
}
