import GraphIR
import Operators
import Quantization
import TensorCore

/// One kind of unit that is quantized as a whole: a struct of functions.
struct QuantizationPattern: Sendable {
  let name: String
  /// The operators that such a unit starts with.
  let operators: OperatorPattern
  /// Operators that become part of the unit when nothing else reads its result.
  let activations: OperatorPattern
  /// Whether dynamic configurations apply.
  let isDynamic: Bool
  /// Whether ExecuTorch's quantizer has it.
  let isTorchao: Bool
  /// Annotates the unit that starts with a node of these operators. Returns why the node is not quantized, nil when it
  /// is, or when it starts no such unit but may start another.
  let annotate: @Sendable (inout XNNPACKAnnotator, Node, QuantizationConfig) -> String?

  init(
    _ name: String, _ operators: OperatorPattern, activations: OperatorPattern = [], isDynamic: Bool = false,
    isTorchao: Bool = false, annotate: @escaping @Sendable (inout XNNPACKAnnotator, Node, QuantizationConfig) -> String?
  ) {
    self.name = name
    self.operators = operators
    self.activations = activations
    self.isDynamic = isDynamic
    self.isTorchao = isTorchao
    self.annotate = annotate
  }

  static let linear = OperatorPattern.condition { $0.layer == .linear }
  static let convolution = OperatorPattern.condition { if case .convolution = $0.layer { true } else { false } }
  static let transposedConvolution = OperatorPattern.condition {
    if case .transposedConvolution = $0.layer { true } else { false }
  }
  static let relu: OperatorPattern = [.relu]
  /// What becomes the output clamp of a layer.
  static let clamps = OperatorPattern.traits(.clamps)

  /// All patterns, in the order in which they are tried on the whole graph. What an earlier one annotated stays.
  static let all: [QuantizationPattern] = [
    layer("linear_relu", linear, isFused: true),
    layer("linear", linear, isFused: false, isDynamic: true),
    layer("conv", convolution, isFused: false, isDynamic: true),
    layer("conv_transpose", transposedConvolution, isFused: false),
    layer("conv_relu", convolution, isFused: true),
    layer("conv_transpose_relu", transposedConvolution, isFused: true),
    QuantizationPattern("adaptive_avg_pool2d", [.adaptiveAvgPool2d], isTorchao: true) {
      $0.annotatePool($1, $2)
    },
    binary("add_relu", .add, isFused: true, isTorchao: true),
    binary("add", .add, isFused: false, isTorchao: true),
    binary("mul_relu", .mul, isFused: true, isTorchao: true),
    binary("mul", .mul, isFused: false, isTorchao: true),
    binary("sub_relu", .sub, isFused: true),
    binary("sub", .sub, isFused: false),
    QuantizationPattern("cat", [.cat], isTorchao: true) { $0.annotateConcatenation($1, $2) },
    QuantizationPattern("stack", [.stack]) { $0.annotateConcatenation($1, $2) },
    QuantizationPattern("matmul", [.matmul, .bmm, .mm]) {
      $0.annotateOperands($1, ["self", "other", "mat2"], $2)
    },
    QuantizationPattern("adaptive_avg_pool1d", [.adaptiveAvgPool1d]) { $0.annotatePool($1, $2) },
    QuantizationPattern("avg_pool2d", [.avgPool2d, .avgPool1d]) {
      $0.annotateOperands($1, ["self"], $2)
    },
    QuantizationPattern("layer_norm", [.layerNorm]) { $0.annotateOperands($1, ["input"], $2) },
    QuantizationPattern(
      "activation", .condition { $0.has([.pointwise, .ownQuantization]) && $0.resultRange == nil }
    ) { $0.annotateOperands($1, ["self"], $2) },
    // Parameters of results in a fixed range need no observer, as in TensorFlow Lite.
    QuantizationPattern("fixed_range", .condition { $0.has(.ownQuantization) && $0.resultRange != nil }) {
      $0.annotateOperands($1, ["self"], $2, result: $1.op.resultRange)
    },
    QuantizationPattern("upsample", [.upsampleNearest2d, .upsampleBilinear2d]) {
      $0.annotateResize($1, $2)
    },
  ]

  private static func layer(
    _ name: String, _ operators: OperatorPattern, isFused: Bool, isDynamic: Bool = false
  ) -> QuantizationPattern {
    QuantizationPattern(
      name, operators, activations: isFused ? clamps : [], isDynamic: isDynamic, isTorchao: true
    ) { $0.annotateLayer($1, $2, isFused: isFused) }
  }

  private static func binary(
    _ name: String, _ op: Operator, isFused: Bool, isTorchao: Bool = false
  ) -> QuantizationPattern {
    QuantizationPattern(name, .operators([op]), activations: isFused ? relu : [], isTorchao: isTorchao) {
      $0.annotateBinary($1, $2, isFused: isFused)
    }
  }
}

extension XNNPACKQuantizer {
  /// What can be quantized: every pattern with its operators and configurations.
  public func quantizationCapabilities() -> [QuantizationCapability] {
    let known = OperatorSet.standard.operators
    func names(_ pattern: OperatorPattern) -> [String] { known.filter(pattern.matches).map(\.name) }
    return QuantizationPattern.all.filter { $0.isTorchao || patterns == .all }.map { pattern in
      QuantizationCapability(
        pattern: pattern.name, operators: names(pattern.operators),
        activations: names(pattern.activations).filter { patterns == .all || $0 == Operator.relu.name },
        configurations: pattern.isDynamic ? ["static", "dynamic"] : ["static"], isTorchao: pattern.isTorchao,
        constraints: pattern.constraints)
    }
  }
}

extension QuantizationPattern {
  /// What `annotate` refuses, in words.
  fileprivate var constraints: [String] {
    var constraints: [String] = []
    let layers = OperatorSet.standard.operators.filter(operators.matches).compactMap(\.layer)
    if layers.contains(where: { if case .transposedConvolution = $0 { true } else { false } }) {
      constraints.append("the weight is a constant, groups = 1")
    } else if !layers.isEmpty {
      constraints.append("the weight is a constant")
    }
    if isDynamic, !layers.isEmpty, !layers.contains(.linear) { constraints.append("dynamic in 2-D only") }
    switch name {
    case "fixed_range": constraints.append("not as the model's result, unless configured by name")
    case "cat", "stack", "upsample": constraints.append("the result has the parameters of the operands")
    case "adaptive_avg_pool1d", "adaptive_avg_pool2d":
      constraints.append("keeps the input's parameters, unless it gives the model's result")
    default: break
    }
    return constraints
  }
}
