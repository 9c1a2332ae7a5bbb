import GraphIR
import Quantization
import TensorCore

/// One kind of unit that is quantized as a whole: a struct of functions.
struct QuantizationPattern: Sendable {
  let name: String
  /// The operators that such a unit starts with.
  let operators: Set<String>
  /// Operators that become part of the unit when nothing else reads its result.
  let activations: Set<String>
  /// Whether dynamic configurations apply.
  let isDynamic: Bool
  /// Whether ExecuTorch's quantizer has it.
  let isTorchao: Bool
  /// Annotates the unit that starts with a node of these operators. Returns why the node is not quantized, nil when it
  /// is, or when it starts no such unit but may start another.
  let annotate: @Sendable (inout XNNPACKAnnotator, Node, QuantizationConfig) -> String?

  init(
    _ name: String, _ operators: Set<String>, activations: Set<String> = [], isDynamic: Bool = false,
    isTorchao: Bool = false, annotate: @escaping @Sendable (inout XNNPACKAnnotator, Node, QuantizationConfig) -> String?
  ) {
    self.name = name
    self.operators = operators
    self.activations = activations
    self.isDynamic = isDynamic
    self.isTorchao = isTorchao
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
    layer("linear_relu", linear, isFused: true),
    layer("linear", linear, isFused: false, isDynamic: true),
    layer("conv", convolution, isFused: false, isDynamic: true),
    layer("conv_transpose", transposedConvolution, isFused: false),
    layer("conv_relu", convolution, isFused: true),
    layer("conv_transpose_relu", transposedConvolution, isFused: true),
    QuantizationPattern("adaptive_avg_pool2d", ["aten.adaptive_avg_pool2d.default"], isTorchao: true) {
      $0.annotatePool($1, $2)
    },
    binary("add_relu", "aten.add.Tensor", isFused: true, isTorchao: true),
    binary("add", "aten.add.Tensor", isFused: false, isTorchao: true),
    binary("mul_relu", "aten.mul.Tensor", isFused: true, isTorchao: true),
    binary("mul", "aten.mul.Tensor", isFused: false, isTorchao: true),
    binary("sub_relu", "aten.sub.Tensor", isFused: true),
    binary("sub", "aten.sub.Tensor", isFused: false),
    QuantizationPattern("cat", ["aten.cat.default"], isTorchao: true) { $0.annotateConcatenation($1, $2) },
    QuantizationPattern("stack", ["aten.stack.default"]) { $0.annotateConcatenation($1, $2) },
    QuantizationPattern("matmul", ["aten.matmul.default", "aten.bmm.default", "aten.mm.default"]) {
      $0.annotateOperands($1, ["self", "other", "mat2"], $2)
    },
    QuantizationPattern("adaptive_avg_pool1d", ["aten.adaptive_avg_pool1d.default"]) { $0.annotatePool($1, $2) },
    QuantizationPattern("avg_pool2d", ["aten.avg_pool2d.default", "aten.avg_pool1d.default"]) {
      $0.annotateOperands($1, ["self"], $2)
    },
    QuantizationPattern("layer_norm", ["aten.layer_norm.default"]) { $0.annotateOperands($1, ["input"], $2) },
    QuantizationPattern(
      "activation",
      [
        "aten.hardswish.default", "aten.silu.default", "aten.gelu.default", "aten.elu.default",
        "aten.leaky_relu.default", "aten.clamp.default", "aten.rsub.Scalar",
      ]
    ) { $0.annotateOperands($1, ["self"], $2) },
    // Results that lie in [0, 1] or [−1, 1] have parameters that need no observer, as in TensorFlow Lite.
    QuantizationPattern("sigmoid", ["aten.sigmoid.default", "aten.hardsigmoid.default"]) {
      $0.annotateOperands($1, ["self"], $2, result: 0...1)
    },
    QuantizationPattern("tanh", ["aten.tanh.default"]) { $0.annotateOperands($1, ["self"], $2, result: -1...1) },
    QuantizationPattern("softmax", ["aten.softmax.int"]) { $0.annotateOperands($1, ["self"], $2, result: 0...1) },
    QuantizationPattern("upsample", ["aten.upsample_nearest2d.vec", "aten.upsample_bilinear2d.vec"]) {
      $0.annotateResize($1, $2)
    },
  ]

  private static func layer(
    _ name: String, _ operators: Set<String>, isFused: Bool, isDynamic: Bool = false
  ) -> QuantizationPattern {
    QuantizationPattern(
      name, operators, activations: isFused ? clamps : [], isDynamic: isDynamic, isTorchao: true
    ) { $0.annotateLayer($1, $2, isFused: isFused) }
  }

  private static func binary(
    _ name: String, _ operatorName: String, isFused: Bool, isTorchao: Bool = false
  ) -> QuantizationPattern {
    QuantizationPattern(name, [operatorName], activations: isFused ? relu : [], isTorchao: isTorchao) {
      $0.annotateBinary($1, $2, isFused: isFused)
    }
  }
}

extension XNNPACKQuantizer {
  /// What can be quantized: every pattern with its operators and configurations.
  public func quantizationCapabilities() -> [QuantizationCapability] {
    QuantizationPattern.all.filter { $0.isTorchao || patterns == .all }.map { pattern in
      QuantizationCapability(
        pattern: pattern.name, operators: pattern.operators.sorted(),
        activations: (patterns == .all
          ? pattern.activations : pattern.activations.intersection(QuantizationPattern.relu))
          .sorted(),
        configurations: pattern.isDynamic ? ["static", "dynamic"] : ["static"], isTorchao: pattern.isTorchao,
        constraints: pattern.constraints)
    }
  }
}

extension QuantizationPattern {
  /// What `annotate` refuses, in words.
  fileprivate var constraints: [String] {
    var constraints: [String] = []
    if !operators.isDisjoint(with: QuantizationPattern.linear.union(QuantizationPattern.convolution)) {
      constraints.append("the weight is a constant")
    }
    if !operators.isDisjoint(with: QuantizationPattern.transposedConvolution) {
      constraints.append("the weight is a constant, groups = 1")
    }
    if isDynamic, !operators.isDisjoint(with: QuantizationPattern.convolution) {
      constraints.append("dynamic in 2-D only")
    }
    switch name {
    case "sigmoid", "tanh", "softmax": constraints.append("not as the model's result, unless configured by name")
    case "cat", "stack", "upsample": constraints.append("the result has the parameters of the operands")
    case "adaptive_avg_pool1d", "adaptive_avg_pool2d":
      constraints.append("keeps the input's parameters, unless it gives the model's result")
    default: break
    }
    return constraints
  }
}
