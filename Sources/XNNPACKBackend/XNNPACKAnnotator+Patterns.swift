import GraphIR
import Operators
import Quantization
import TensorCore

extension XNNPACKAnnotator {
  /// Convolutions and linear layers: input, weight, and the output behind the fused activation.
  mutating func annotateLayer(_ node: Node, _ config: QuantizationConfig, isFused: Bool) -> String? {
    if config.isDynamic { return annotateDynamicLayer(node, config) }
    let activation = fusedActivation(of: node, annotatesAll ? QuantizationPattern.clamps : QuantizationPattern.relu)
    guard isFused == (activation != nil) else { return nil }
    guard let input = node.value("input"), let weight = node.value("weight") else { return "it has no weight" }
    if let refusal = layerRefusal(input: input, weight: weight) { return refusal }
    var weightSpec = config.weight
    if QuantizationPattern.transposedConvolution.matches(node.op) {
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

  private func layerRefusal(input: ValueID, weight: ValueID) -> String? {
    guard constants[weight] != nil else { return "its weight is computed in the graph; XNNPACK takes constants" }
    for value in [input, weight] where !isFloat(value) {
      return "'\(graph[value].name)' is \(graph.spec(value).dataType), not float32"
    }
    return nil
  }

  /// Linear layers and 2-D convolutions whose input is quantized with parameters of the moment: a linear layer's for each
  /// token, a convolution's for the whole image.
  private mutating func annotateDynamicLayer(_ node: Node, _ config: QuantizationConfig) -> String? {
    guard let input = node.value("input"), let weight = node.value("weight") else { return "it has no weight" }
    if let refusal = layerRefusal(input: input, weight: weight) { return refusal }
    var activation = config.inputActivation
    if node.op.layer != .linear {
      guard graph.spec(input).shape.rank == 4 else { return "dynamic quantization covers 2-D convolutions only" }
      if activation?.scheme == .perTokenAffine { activation?.scheme = .perTensorAffine }
    }
    annotations[node.output] = QuantizationAnnotation(
      inputs: specs([(input, activation), (weight, config.weight)]))
    return nil
  }

  /// Operators with float32 operands that each have parameters of their own, and a result that has its own, too, or, where
  /// it lies in a known range, those of that range.
  mutating func annotateOperands(
    _ node: Node, _ names: [String], _ config: QuantizationConfig, result: ClosedRange<Float>? = nil
  ) -> String? {
    let values = names.compactMap { node.value($0) }
    for value in values {
      if !isFloat(value) { return "its operand '\(graph[value].name)' is \(graph.spec(value).dataType), not float32" }
    }
    guard values.contains(where: { constants[$0] == nil }) else { return "its operands are constants" }
    if result != nil, isResult(node.output), !isChosen(node) {
      return "it gives the model's result, where small values would tie in int8; give the operator a configuration of "
        + "its own to quantize it all the same"
    }
    annotations[node.output] = QuantizationAnnotation(
      inputs: specs(values.map { ($0, config.inputActivation) }),
      output: config.outputActivation.map { spec in result.map { .fixed(spec.fixed(to: $0)) } ?? .own(spec) })
    return nil
  }

  /// Resizing keeps values within their range: the result has the input's parameters.
  mutating func annotateResize(_ node: Node, _ config: QuantizationConfig) -> String? {
    guard let input = node.inputs.first, isFloat(input), constants[input] == nil else {
      return "its input is not a computed float32 value"
    }
    guard let own = config.inputActivation else { return "its configuration leaves inputs in float" }
    annotations[node.output] = QuantizationAnnotation(
      inputs: [(input, .own(own))], output: .shared(with: .edge(from: input, to: node.output)))
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
    annotations[node.output] = QuantizationAnnotation(
      inputs: [(input, isOutputQuantized(input) ? .shared(with: .output(input)) : .own(own))],
      output: annotatesAll && isResult(node.output)
        ? config.outputActivation.map { .own($0) } : .shared(with: .edge(from: input, to: node.output)))
    return nil
  }

  /// Whether a value is a result of the model, movement of its elements aside. A mean that is one gets a range of its
  /// own: in the range of what it averages, logits would lie on a few quanta, and tie.
  private func isResult(_ value: ValueID) -> Bool {
    if outputs.contains(value) { return true }
    guard let readers = users[value], readers.count == 1 else { return false }
    let reader = graph.nodes[readers[0]]
    return keepsParameters(reader) && reader.outputs.contains(where: isResult)
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

extension QuantizationSpec {
  /// The parameters of results in [0, 1] (all levels above the lowest integer) or [−1, 1] (about 0): one level more than
  /// the range needs at its upper end makes the scale a power of 2.
  fileprivate func fixed(to range: ClosedRange<Float>) -> FixedQParamsQuantizationSpec {
    let levels = Float(quantMax - quantMin + 1)
    return FixedQParamsQuantizationSpec(
      dataType, scale: (range.upperBound - range.lowerBound) / levels,
      zeroPoint: range.lowerBound == 0 ? Int32(quantMin) : Int32((quantMin + quantMax + 1) / 2), quantMin: quantMin,
      quantMax: quantMax)
  }
}
