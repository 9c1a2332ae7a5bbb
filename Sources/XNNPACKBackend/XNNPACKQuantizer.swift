import GraphIR
import Operators
import Quantization
import TensorCore

/// Quantizes what XNNPACK and the kernels beside it run in int8, by the rules of ExecuTorch's `XNNPACKQuantizer`, so that
/// scales and zero points equal PyTorch's for the same calibration data.
///
///     let quantizer = XNNPACKQuantizer()
///       .setGlobal(.symmetric())
///       .setModuleName("features.0", nil)
///       .setObjectType("torch.nn.Linear", .symmetric(isDynamic: true))
///
/// The most specific configuration holds: a module's by name (of two modules the innermost), then by class, then an
/// operator's, then the global one. Nil switches quantization off there.
///
/// With `patterns: .torchao` it annotates what PyTorch annotates. By default it does more (`QuantizationPattern.all`
/// marks what): a convolution or linear layer with ReLU6, hardtanh or clamp is one unit, as with ReLU, so that the range
/// before clamping is not observed (PyTorch loses 5 points of accuracy on EfficientNet-Lite0 by that); adaptive pooling
/// that gives the model's result has a range of its own; and activations, subtraction, average pooling, softmax,
/// matrix multiplication, layer normalization and resizing are quantized too. In either case a layer whose weight another
/// layer uses too is quantized as well, which PyTorch leaves in float.
public struct XNNPACKQuantizer: Quantizer {
  /// Which patterns are annotated.
  public enum Patterns: Hashable, Sendable {
    /// Those of ExecuTorch's quantizer and more, as the type's comment lists them.
    case all
    /// Those of ExecuTorch's quantizer.
    case torchao
  }

  /// The configuration of whatever has none of its own; nil leaves it in float.
  package private(set) var globalConfig: QuantizationConfig?
  /// By module path (`layer1.0`); holds for the modules inside as well.
  package private(set) var moduleNameConfigs: [String: QuantizationConfig?] = [:]
  /// By module class, with or without its Python module (`torch.nn.modules.linear.Linear`, `Linear`).
  package private(set) var moduleTypeConfigs: [String: QuantizationConfig?] = [:]
  /// By operator name with or without overload (`aten.linear`); of a unit, that of its first operator.
  package private(set) var operatorConfigs: [String: QuantizationConfig?] = [:]
  /// Nodes that it rejects stay in float.
  package private(set) var filter: (@Sendable (Node) -> Bool)?
  package let patterns: Patterns

  /// A quantizer with a global configuration; nil quantizes only what gets one of its own.
  public init(_ config: QuantizationConfig? = .symmetric(), patterns: Patterns = .all) {
    self.globalConfig = config
    self.patterns = patterns
  }

  /// The configuration of whatever has none of its own.
  public func setGlobal(_ config: QuantizationConfig?) -> XNNPACKQuantizer {
    with { $0.globalConfig = config }
  }

  /// The configuration of an operator (`aten.linear.default`, or `aten.linear` for all its overloads) or of a module
  /// class, told apart by the prefix `aten.`.
  public func setObjectType(_ name: String, _ config: QuantizationConfig?) -> XNNPACKQuantizer {
    name.hasPrefix("aten.") ? setOperatorType(name, config) : setModuleType(name, config)
  }

  /// The configuration of an operator, `aten.linear.default`, or `aten.linear` for all its overloads.
  public func setOperatorType(_ name: String, _ config: QuantizationConfig?) -> XNNPACKQuantizer {
    with { $0.operatorConfigs[name] = .some(config) }
  }

  /// The configuration of all modules of a class: `torch.nn.Linear`, `torch.nn.modules.linear.Linear` or `Linear`.
  public func setModuleType(_ name: String, _ config: QuantizationConfig?) -> XNNPACKQuantizer {
    with { $0.moduleTypeConfigs[XNNPACKQuantizer.className(name)] = .some(config) }
  }

  /// The configuration of the module at a path (`layer1.0`), and of all in it.
  public func setModuleName(_ path: String, _ config: QuantizationConfig?) -> XNNPACKQuantizer {
    with { $0.moduleNameConfigs[path] = .some(config) }
  }

  /// Leaves nodes that `filter` rejects in float. Nil takes the filter away.
  public func setFilter(_ filter: (@Sendable (Node) -> Bool)?) -> XNNPACKQuantizer {
    with { $0.filter = filter }
  }

  private func with(_ change: (inout XNNPACKQuantizer) -> Void) -> XNNPACKQuantizer {
    var copy = self
    change(&copy)
    return copy
  }

  // MARK: Quantizer

  /// Turns the scalar operands of add, sub and mul into tensors, which can be observed.
  public func transformForAnnotation(_ program: inout ExportedProgram) throws(QuantizationError) {
    let operators: Set<Operator> =
      patterns == .all
      ? [.add, .mul, .sub] : [.add, .mul]
    var number = 0
    for index in program.graph.nodes.indices {
      let node = program.graph.nodes[index]
      guard operators.contains(node.op),
        node.outputs.allSatisfy({ program.graph.spec($0).dataType == .float32 }),
        let position = node.arguments.firstIndex(where: { $0.name == "other" }),
        let scalar = node.arguments[position].operand.scalar
      else { continue }
      while program.stateDict["_tensor_constant_\(number)"] != nil { number += 1 }
      let id = program.addBuffer("_tensor_constant_\(number)", Tensor([Float(scalar)], shape: []))
      program.graph.nodes[index].arguments[position].operand = .value(id)
    }
  }

  /// Annotates what no other quantizer has. Throws `invalidConfiguration` for schemes that XNNPACK lacks, and for
  /// modules that the program does not have.
  public func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) throws(QuantizationError) {
    let all = [globalConfig] + moduleNameConfigs.values + moduleTypeConfigs.values + operatorConfigs.values
    for config in all { try config?.checkForXNNPACK() }
    try checkModuleNames(program)
    var annotator = XNNPACKAnnotator(program, self, annotations)
    annotator.run()
    annotations = annotator.annotations
  }

  /// Units that such a node starts stay in float as a whole; an activation among them leaves the rest of its unit quantized.
  public func keepingInFloat(_ nodes: Set<String>) -> any Quantizer {
    let filter = filter
    return setFilter { !nodes.contains($0.name) && filter?($0) ?? true }
  }

  /// A module that does not exist is a mistake that would leave a model quantized otherwise than meant.
  private func checkModuleNames(_ program: ExportedProgram) throws(QuantizationError) {
    guard !moduleNameConfigs.isEmpty else { return }
    var known: Set<String> = []
    for node in program.graph.nodes {
      var path = Substring(node.modulePath)
      while !path.isEmpty, known.insert(String(path)).inserted {
        path = path.lastIndex(of: ".").map { path[..<$0] } ?? ""
      }
    }
    for name in moduleNameConfigs.keys.sorted() where !known.contains(name) {
      let top = Set(known.map { String($0.prefix { $0 != "." }) }).sorted().prefix(12).joined(separator: ", ")
      throw .invalidConfiguration(
        reason: "\(program.name) has no module '\(name)'; "
          + (known.isEmpty ? "its nodes name no modules" : "its outermost modules are \(top)"))
    }
  }

  /// The configuration of one node, or the reason why it has none.
  func decision(for node: Node) -> Decision {
    if let filter, !filter(node) { return .float("the filter rejects it") }
    let stack = node.moduleStack
    var path = Substring(stack.last?.path ?? "")
    while !path.isEmpty {
      if let config = moduleNameConfigs[String(path)] {
        return config.map { .quantize($0) } ?? .float("the module '\(path)' is set to stay in float")
      }
      path = path.lastIndex(of: ".").map { path[..<$0] } ?? ""
    }
    for module in stack.reversed() where !moduleTypeConfigs.isEmpty {
      guard let config = moduleTypeConfigs[XNNPACKQuantizer.className(module.type)] else { continue }
      return config.map { .quantize($0) } ?? .float("modules of type '\(module.type)' are set to stay in float")
    }
    if let config = operatorConfig(of: node) {
      return config.map { .quantize($0) } ?? .float("the operator is set to stay in float")
    }
    return globalConfig.map { .quantize($0) } ?? .float("no configuration is set for it")
  }

  /// What is set for the node's operator, with or without overload.
  func operatorConfig(of node: Node) -> QuantizationConfig?? {
    let name = node.op.name
    if let config = operatorConfigs[name] { return .some(config) }
    return name.lastIndex(of: ".").flatMap { operatorConfigs[String(name[..<$0])] }
  }

  enum Decision {
    case quantize(QuantizationConfig)
    case float(String)
  }

  /// The last part of a Python class's qualified name.
  private static func className(_ name: String) -> String {
    name.lastIndex(of: ".").map { String(name[name.index(after: $0)...]) } ?? name
  }
}

extension QuantizationConfig {
  /// int8 as XNNPACK runs it (`get_symmetric_quantization_config`): weights symmetric in [−127, 127], per output channel
  /// or per tensor; biases float.
  ///
  /// Static: activations affine in [−128, 127], over histograms. Dynamic: the inputs of linear layers and 2-D
  /// convolutions get their parameters at run time, of linear layers one pair for each token (vector along the last
  /// dimension), and results stay float.
  public static func symmetric(
    isPerChannel: Bool = true, isDynamic: Bool = false, activationRange: ClosedRange<Int> = -128...127,
    weightRange: ClosedRange<Int> = -127...127
  ) -> QuantizationConfig {
    let eps: Float = 0x1p-12
    let activation = QuantizationSpec(
      quantMin: activationRange.lowerBound, quantMax: activationRange.upperBound,
      scheme: isDynamic ? .perTokenAffine : .perTensorAffine, isDynamic: isDynamic,
      observer: isDynamic ? .placeholder : .histogram, eps: eps)
    let weight = QuantizationSpec(
      quantMin: weightRange.lowerBound, quantMax: weightRange.upperBound,
      scheme: isPerChannel ? .perChannelSymmetric : .perTensorSymmetric,
      observer: isPerChannel ? .perChannelMinMax : .minMax, eps: eps)
    return QuantizationConfig(
      inputActivation: activation, outputActivation: isDynamic ? nil : activation, weight: weight)
  }

  /// The same configuration with another observer of activations.
  public func observing(_ observer: ObserverConstructor) -> QuantizationConfig {
    var copy = self
    if copy.inputActivation?.isDynamic == false { copy.inputActivation?.observer = observer }
    if copy.outputActivation?.isDynamic == false { copy.outputActivation?.observer = observer }
    return copy
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
    if isDynamic, outputActivation != nil {
      throw .invalidConfiguration(reason: "results stay float in dynamic quantization; outputActivation must be nil")
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
