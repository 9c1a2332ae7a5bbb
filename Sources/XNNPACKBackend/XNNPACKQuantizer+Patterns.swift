import GraphIR
import Quantization
import TensorCore

/// One kind of unit that is quantized as a whole: a struct of functions.
struct QuantizationPattern: Sendable {
  let name: String
  /// The operators that such a unit starts with.
  let operators: Set<String>
  /// Annotates the unit that starts with a node of these operators. Returns why the node is not quantized, nil when it
  /// is, or when it starts no such unit but may start another.
  let annotate: @Sendable (inout XNNPACKAnnotator, Node, QuantizationConfig) -> String?

  init(
    _ name: String, _ operators: Set<String>,
    annotate: @escaping @Sendable (inout XNNPACKAnnotator, Node, QuantizationConfig) -> String?
  ) {
    self.name = name
    self.operators = operators
    self.annotate = annotate
  }

  static let linear: Set<String> = ["aten.linear.default"]
  static let convolution: Set<String> = [
    "aten.conv1d.default", "aten.conv1d.padding", "aten.conv2d.default", "aten.conv2d.padding",
    "aten.conv3d.default", "aten.conv3d.padding",
  ]
  static let transposedConvolution: Set<String> = [
    "aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input",
  ]
  static let relu: Set<String> = ["aten.relu.default"]
  /// What becomes the output clamp of a layer.
  static let clamps: Set<String> = relu.union(["aten.relu6.default", "aten.hardtanh.default", "aten.clamp.default"])

  /// All patterns, in the order in which they are tried on the whole graph. What an earlier one annotated stays.
  static let all: [QuantizationPattern] = [
    QuantizationPattern("linear_relu", linear) { $0.annotateLayer($1, $2, isFused: true) },
    QuantizationPattern("linear", linear) { $0.annotateLayer($1, $2, isFused: false) },
    QuantizationPattern("conv", convolution) { $0.annotateLayer($1, $2, isFused: false) },
    QuantizationPattern("conv_transpose", transposedConvolution) { $0.annotateLayer($1, $2, isFused: false) },
    QuantizationPattern("conv_relu", convolution) { $0.annotateLayer($1, $2, isFused: true) },
    QuantizationPattern("conv_transpose_relu", transposedConvolution) { $0.annotateLayer($1, $2, isFused: true) },
    QuantizationPattern("adaptive_avg_pool2d", ["aten.adaptive_avg_pool2d.default"]) { $0.annotatePool($1, $2) },
    QuantizationPattern("add_relu", ["aten.add.Tensor"]) { $0.annotateBinary($1, $2, isFused: true) },
    QuantizationPattern("add", ["aten.add.Tensor"]) { $0.annotateBinary($1, $2, isFused: false) },
    QuantizationPattern("mul_relu", ["aten.mul.Tensor"]) { $0.annotateBinary($1, $2, isFused: true) },
    QuantizationPattern("mul", ["aten.mul.Tensor"]) { $0.annotateBinary($1, $2, isFused: false) },
    QuantizationPattern("cat", ["aten.cat.default"]) { $0.annotateConcatenation($1, $2) },
  ]
}

extension XNNPACKAnnotator {
  /// Convolutions and linear layers: input, weight, and the output behind the fused activation.
  mutating func annotateLayer(_ node: Node, _ config: QuantizationConfig, isFused: Bool) -> String? {
    let activation = fusedActivation(of: node, QuantizationPattern.clamps)
    guard isFused == (activation != nil) else { return nil }
    guard let input = node.value("input"), let weight = node.value("weight") else { return "it has no weight" }
    guard constants[weight] != nil else { return "its weight is computed in the graph; XNNPACK takes constants" }
    for value in [input, weight] where !isFloat(value) {
      return "'\(graph[value].name)' is \(graph.spec(value).dataType), not float32"
    }
    var weightSpec = config.weight
    if QuantizationPattern.transposedConvolution.contains(node.operatorName) {
      if case .attribute(.int(let groups))? = node.operand("groups"), groups != 1 {
        return "it is a transposed convolution with \(groups) groups"
      }
      weightSpec?.channelAxis = 1
    }
    annotations[node.output] = QuantizationAnnotation(
      inputs: specs([(input, config.inputActivation), (weight, weightSpec)]),
      output: activation == nil ? config.outputActivation.map { .own($0) } : nil)
    if let activation {
      annotations[activation.output] = QuantizationAnnotation(output: config.outputActivation.map { .own($0) })
    }
    return nil
  }

  /// Addition and multiplication: both operands have parameters of their own.
  mutating func annotateBinary(_ node: Node, _ config: QuantizationConfig, isFused: Bool) -> String? {
    let activation = fusedActivation(of: node, QuantizationPattern.relu)
    guard isFused == (activation != nil) else { return nil }
    for value in node.inputs {
      if !isFloat(value) { return "its operand '\(graph[value].name)' is \(graph.spec(value).dataType), not float32" }
      if let scalar = constants[value], scalar.shape.elementCount == 1,
        let number = scalar.elements(as: Float.self).first,
        abs(number) > largestObservable
      {
        return "its operand '\(graph[value].name)' is \(number), too large to be observed"
      }
    }
    annotations[node.output] = QuantizationAnnotation(
      inputs: specs(node.inputs.map { ($0, config.inputActivation) }),
      output: activation == nil ? config.outputActivation.map { .own($0) } : nil)
    if let activation {
      annotations[activation.output] = QuantizationAnnotation(output: config.outputActivation.map { .own($0) })
    }
    return nil
  }

  /// The output has the input's parameters; the input has its producer's, where that is quantized.
  mutating func annotatePool(_ node: Node, _ config: QuantizationConfig) -> String? {
    guard let input = node.value("self") ?? node.inputs.first, isFloat(input) else { return "its input is not float32" }
    guard let own = config.inputActivation else { return "its configuration leaves inputs in float" }
    let isProducerQuantized = annotations[input]?.output != nil
    annotations[node.output] = QuantizationAnnotation(
      inputs: [(input, isProducerQuantized ? .shared(with: .output(input)) : .own(own))],
      output: isResult(node.output)
        ? config.outputActivation.map { .own($0) } : .shared(with: .edge(from: input, to: node.output)))
    return nil
  }

  /// Whether a value is a result of the model, movement of its elements aside. A mean that is one gets a range of its
  /// own: in the range of what it averages, logits would lie on a few quanta, and tie.
  private func isResult(_ value: ValueID) -> Bool {
    if outputs.contains(value) { return true }
    guard let readers = users[value], readers.count == 1 else { return false }
    let reader = graph.nodes[readers[0]]
    return reader.outputs.count == 1 && keepsParameters(reader) && isResult(reader.output)
  }

  /// All operands and the output have the parameters of the first operand that is quantized already, or of the first.
  mutating func annotateConcatenation(_ node: Node, _ config: QuantizationConfig) -> String? {
    let values = node.inputs
    guard let first = values.first, values.allSatisfy(isFloat) else { return "its operands are not float32" }
    guard let own = config.inputActivation else { return "its configuration leaves inputs in float" }
    let owner = values.first(where: tracesToQuantized) ?? first
    let shared = AnnotatedSpec.shared(with: .edge(from: owner, to: node.output))
    annotations[node.output] = QuantizationAnnotation(
      inputs: [(owner, .own(own))] + values.filter { $0 != owner }.map { ($0, shared) }, output: shared)
    return nil
  }

  /// Whether a value comes from a quantized output through operators that keep its parameters.
  private func tracesToQuantized(_ value: ValueID) -> Bool {
    var value = value
    while let index = producers[value] {
      let node = graph.nodes[index]
      if annotations[node.output]?.output != nil { return true }
      guard keepsParameters(node), let input = node.inputs.first else { return false }
      value = input
    }
    return false
  }

  private func specs(_ inputs: [(ValueID, QuantizationSpec?)]) -> [(ValueID, AnnotatedSpec)] {
    inputs.compactMap { value, spec in spec.map { (value, .own($0)) } }
  }

  /// `torch.histc`, which PyTorch's observers count with, works up to this magnitude.
  private var largestObservable: Float { 3.4028235e15 }
}
