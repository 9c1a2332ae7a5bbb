import GraphIR
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
      for node in graph.nodes where pattern.operators.contains(node.operatorName) {
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
  func fusedActivation(of node: Node, _ operators: Set<String>) -> Node? {
    guard let readers = users[node.output], readers.count == 1, !outputs.contains(node.output) else { return nil }
    let reader = graph.nodes[readers[0]]
    guard operators.contains(reader.operatorName), reader.inputs == [node.output],
      annotations[reader.output] == nil, case .quantize = quantizer.decision(for: reader)
    else { return nil }
    return reader
  }

  // MARK: Operators that keep their input's parameters

  static let parameterKeeping: Set<String> = [
    "aten.relu.default", "aten.relu6.default", "aten.hardtanh.default", "aten.max_pool2d.default",
    "aten.mean.default", "aten.mean.dim", "aten.permute.default", "aten.permute_copy.default",
    "aten.transpose.int", "aten.squeeze.dim", "aten.squeeze_copy.dim", "aten.adaptive_avg_pool2d.default",
    "aten.view.default", "aten.view_copy.default", "aten.reshape.default", "aten.slice.Tensor",
    "aten.slice_copy.Tensor", "aten.flatten.using_ints",
  ]

  /// Movement of elements that PyTorch's quantizer does not know as such.
  private static let moreParameterKeeping: Set<String> = [
    "aten.unsqueeze.default", "aten.unflatten.int", "aten.select.int", "aten.contiguous.default", "aten.clone.default",
    "aten.alias.default", "aten.max_pool1d.default", "aten.t.default", "aten.roll.default", "aten.view_as.default",
    "aten.reshape_as.default",
    "aten.expand.default", "aten.expand_as.default", "aten.chunk.default", "aten.split.Tensor",
    "aten.split_with_sizes.default", "aten.unbind.int",
  ]

  func keepsParameters(_ node: Node) -> Bool {
    XNNPACKAnnotator.parameterKeeping.contains(node.operatorName) || node.isInferenceDropout
      || (annotatesAll && XNNPACKAnnotator.moreParameterKeeping.contains(node.operatorName))
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
    if !annotatesAll, QuantizationPattern.all.contains(where: { $0.operators.contains(node.operatorName) }) {
      return "PyTorch's quantizer has no rule for the operator, and its patterns were asked for"
    }
    return XNNPACKAnnotator.reasons[node.operatorName] ?? "the XNNPACK quantizer has no rule for the operator"
  }

  /// Operators that one might expect to be quantized.
  private static let reasons: [String: String] = {
    let training = "the dropout is in training mode; export the model after eval()"
    let padding = "it is not observed; lowering makes it part of the convolution that follows"
    return [
      "aten.dropout.default": training, "aten.feature_dropout.default": training,
      "aten.alpha_dropout.default": training, "aten.pad.default": padding, "aten.constant_pad_nd.default": padding,
      "aten.div.Tensor": "division is not quantized; write it as a multiplication by the reciprocal",
      "aten.batch_norm.default": "BatchNorm is quantized only where it can be folded into the layer before it",
      "aten.scaled_dot_product_attention.default": "attention in one operator is computed in float, as in PyTorch",
      "aten.lstm.input": "recurrent layers are computed in float, as in PyTorch",
      "aten.gru.input": "recurrent layers are computed in float, as in PyTorch",
      "aten.embedding.default": "embeddings are quantized by EmbeddingQuantizer; compose it with this one",
    ]
  }()
}
