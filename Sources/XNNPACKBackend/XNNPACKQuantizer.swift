import GraphIR
import Quantization
import TensorCore

/// Quantizes what XNNPACK runs in int8, by the rules of ExecuTorch's `XNNPACKQuantizer`, so that scales and zero points
/// equal PyTorch's for the same calibration data.
///
/// It differs in four points. A convolution or linear layer with hardtanh, ReLU6 or clamp is one unit, as with ReLU, so
/// that the range before clamping is not observed (PyTorch loses 5 points of accuracy on EfficientNet-Lite0 by that). A
/// mean over the image that is the model's result has a range of its own. A layer whose weight another layer uses too is
/// quantized as well. And a configuration can be nil, which keeps a module or an operator in float.
///
///     let quantizer = XNNPACKQuantizer(.symmetric(isPerChannel: true))
///       .settingModule("features.0", nil)
///
/// A module's configuration goes before an operator's, and that before the global one; of two modules the innermost.
public struct XNNPACKQuantizer: Quantizer {
  /// The configuration of whatever has none of its own; nil leaves it in float.
  public var globalConfig: QuantizationConfig?
  /// By module path (`layer1.0`); holds for the modules inside as well.
  public var moduleConfigs: [String: QuantizationConfig?] = [:]
  /// By qualified operator name (`aten.linear.default`); of a unit, that of its first operator.
  public var operatorConfigs: [String: QuantizationConfig?] = [:]
  /// Nodes that it rejects stay in float.
  public var filter: (@Sendable (Node) -> Bool)?

  public init(_ config: QuantizationConfig? = .symmetric(isPerChannel: true)) {
    self.globalConfig = config
  }

  public func settingGlobal(_ config: QuantizationConfig?) -> XNNPACKQuantizer {
    var copy = self
    copy.globalConfig = config
    return copy
  }

  public func settingModule(_ path: String, _ config: QuantizationConfig?) -> XNNPACKQuantizer {
    var copy = self
    copy.moduleConfigs[path] = .some(config)
    return copy
  }

  public func settingOperator(_ name: String, _ config: QuantizationConfig?) -> XNNPACKQuantizer {
    var copy = self
    copy.operatorConfigs[name] = .some(config)
    return copy
  }

  public func settingFilter(_ filter: (@Sendable (Node) -> Bool)?) -> XNNPACKQuantizer {
    var copy = self
    copy.filter = filter
    return copy
  }

  // MARK: Quantizer

  /// Turns the scalar operands of add and mul into tensors, which can be observed.
  public func transformForAnnotation(_ program: inout ExportedProgram) throws(QuantizationError) {
    var number = 0
    for index in program.graph.nodes.indices {
      let node = program.graph.nodes[index]
      guard ["aten.add.Tensor", "aten.mul.Tensor"].contains(node.operatorName),
        node.outputs.allSatisfy({ program.graph.spec($0).dataType == .float32 }),
        let position = node.arguments.firstIndex(where: { $0.name == "other" }),
        let scalar = node.arguments[position].operand.scalar
      else { continue }
      while program.stateDict["_tensor_constant_\(number)"] != nil { number += 1 }
      let id = program.addBuffer("_tensor_constant_\(number)", Tensor([Float(scalar)], shape: []))
      program.graph.nodes[index].arguments[position].operand = .value(id)
    }
  }

  public func annotate(_ program: ExportedProgram) throws(QuantizationError) -> Annotations {
    for config in [globalConfig] + moduleConfigs.values + operatorConfigs.values { try config?.checkForXNNPACK() }
    var annotator = XNNPACKAnnotator(program, self)
    annotator.run()
    return annotator.annotations
  }

  /// The configuration of one node, or the reason why it has none.
  func decision(for node: Node) -> Decision {
    if let filter, !filter(node) { return .float("the filter rejects it") }
    var path = Substring(node.modulePath)
    while !path.isEmpty {
      if let config = moduleConfigs[String(path)] {
        return config.map { .quantize($0) } ?? .float("the module '\(path)' is set to stay in float")
      }
      path = path.lastIndex(of: ".").map { path[..<$0] } ?? ""
    }
    if let config = operatorConfigs[node.operatorName] {
      return config.map { .quantize($0) } ?? .float("the operator is set to stay in float")
    }
    return globalConfig.map { .quantize($0) } ?? .float("no configuration is set for it")
  }

  enum Decision {
    case quantize(QuantizationConfig)
    case float(String)
  }
}

extension QuantizationConfig {
  /// Static int8 as XNNPACK runs it: activations affine in [−128, 127] over histograms, weights symmetric in
  /// [−127, 127], per output channel or per tensor, biases float (`get_symmetric_quantization_config`).
  public static func symmetric(
    isPerChannel: Bool = false, activationRange: ClosedRange<Int> = -128...127,
    weightRange: ClosedRange<Int> = -127...127
  ) -> QuantizationConfig {
    let eps: Float = 0x1p-12
    let activation = QuantizationSpec(
      quantMin: activationRange.lowerBound, quantMax: activationRange.upperBound, scheme: .perTensorAffine,
      observer: .histogram, eps: eps)
    let weight = QuantizationSpec(
      quantMin: weightRange.lowerBound, quantMax: weightRange.upperBound,
      scheme: isPerChannel ? .perChannelSymmetric : .perTensorSymmetric,
      observer: isPerChannel ? .perChannelMinMax : .minMax, eps: eps)
    return QuantizationConfig(inputActivation: activation, outputActivation: activation, weight: weight)
  }

  /// Throws `invalidConfiguration` for schemes that XNNPACK has no kernels for.
  func checkForXNNPACK() throws(QuantizationError) {
    for spec in [inputActivation, outputActivation] {
      guard let spec, spec.scheme.isPerChannel else { continue }
      throw .invalidConfiguration(reason: "activations are quantized per tensor, not \(spec.scheme)")
    }
    if let weight, !weight.scheme.isSymmetric {
      throw .invalidConfiguration(reason: "weights are quantized symmetrically, not \(weight.scheme)")
    }
    if bias != nil {
      throw .invalidConfiguration(reason: "biases stay float in a Q/DQ graph; they become int32 when it is lowered")
    }
  }
}

extension Operand {
  /// A number given in place of a tensor.
  fileprivate var scalar: Double? {
    switch self {
    case .attribute(.float(let value)): value
    case .attribute(.int(let value)): Double(value)
    default: nil
    }
  }
}
