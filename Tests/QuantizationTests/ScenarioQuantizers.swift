import GraphIR
import TensorCore
import TestSupport
import XNNPACKBackend

@testable import Quantization

/// A quantizer made of one function over the nodes of the graph, as a user would write one.
struct AnnotatingQuantizer: Quantizer {
  let function: @Sendable (Node, inout Annotations) -> Void

  init(_ function: @escaping @Sendable (Node, inout Annotations) -> Void) { self.function = function }

  func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) {
    for node in program.graph.nodes { function(node, &annotations) }
  }
}

/// The quantizer of each case of Golden/pt2e/scenarios.json.
enum ScenarioQuantizer {
  private static let activation = QuantizationSpec(scheme: .perTensorAffine, observer: .minMax, eps: 0x1p-12)
  private static let wide = QuantizationSpec(
    .int16, quantMin: -32768, quantMax: 32767, scheme: .perTensorAffine, observer: .minMax, eps: 0x1p-12)
  private static let symmetric = QuantizationConfig.symmetric()

  /// Dynamic as torchao spells it: one pair of parameters for the whole tensor.
  private static var dynamic: QuantizationConfig {
    var config = QuantizationConfig.symmetric(isDynamic: true)
    config.inputActivation?.scheme = .perTensorAffine
    return config
  }

  private static func weight(isPerChannel: Bool = false) -> QuantizationSpec {
    QuantizationSpec(
      quantMin: -127, scheme: isPerChannel ? .perChannelSymmetric : .perTensorSymmetric,
      observer: isPerChannel ? .perChannelMinMax : .minMax, eps: 0x1p-12)
  }

  private static func xnnpack(_ config: QuantizationConfig? = .symmetric()) -> XNNPACKQuantizer {
    XNNPACKQuantizer(config, patterns: .torchao)
  }

  static func named(_ scenario: String) -> any Quantizer {
    switch scenario {
    case "simple_quantizer": convolutions()
    case "wo_annotate_conv_output_quantizer", "multi_users_without_output_observer": convolutions(withOutput: false)
    case "max_pool2d_quantizer": convolutionsAndPools
    case "derived_qspec": derivedBias(isPerChannel: false)
    case "derived_qspec_per_channel": derivedBias(isPerChannel: true)
    case "fixed_qparams", "fixed_qparams_dedup": fixedSigmoid
    case "shared_qspec", "shared_qspec_transitivity", "shared_qspec_transitivity_case_2": sharedConcatenation
    case "allow_implicit_sharing": sharedOperands(implicitly: true)
    case "no_implicit_sharing": sharedOperands(implicitly: false)
    case "quantization_dtype": int16Activations
    case "embedding_quantizer": EmbeddingQuantizer()
    case "embedding_conv_linear": ComposableQuantizer([EmbeddingQuantizer(), xnnpack()])
    case "set_filter_fn": xnnpack().setFilter { $0.name != "conv2d" }
    case "set_module_name": xnnpack(nil).setModuleName("b.0", symmetric)
    case "set_module_name_with_underscores": xnnpack(nil).setModuleName("b_c", symmetric)
    case "set_module_type": xnnpack(nil).setModuleType("torch.nn.Sequential", symmetric)
    case "set_module_type_case_2": xnnpack(nil).setObjectType("torch.nn.Linear", symmetric)
    case "duplicate_dq_no_add_quant": xnnpack(nil).setObjectType("aten.conv2d.default", symmetric)
    case "dynamic_linear", "dynamic_linear_with_conv": xnnpack(dynamic)
    case "fold_quantize_false": xnnpack(.symmetric(isPerChannel: false))
    default: xnnpack()
    }
  }

  private static func convolutions(withOutput: Bool = true) -> AnnotatingQuantizer {
    AnnotatingQuantizer { node, annotations in
      guard node.operatorName == "aten.conv2d.default", let x = node.value("input"), let w = node.value("weight") else {
        return
      }
      annotations[node.output] = QuantizationAnnotation(
        inputs: [(x, .own(activation)), (w, .own(weight()))], output: withOutput ? .own(activation) : nil)
    }
  }

  private static let convolutionsAndPools = AnnotatingQuantizer { node, annotations in
    convolutions().function(node, &annotations)
    guard node.operatorName == "aten.max_pool2d.default", let x = node.value("self") else { return }
    annotations[node.output] = QuantizationAnnotation(
      inputs: [(x, .own(activation))], output: .shared(with: .edge(from: x, to: node.output)))
  }

  private static func derivedBias(isPerChannel: Bool) -> AnnotatingQuantizer {
    AnnotatingQuantizer { node, annotations in
      guard node.operatorName == "aten.conv2d.default", let x = node.value("input"), let w = node.value("weight"),
        let b = node.value("bias")
      else { return }
      let bias = DerivedQuantizationSpec.bias(
        input: .edge(from: x, to: node.output), weight: .edge(from: w, to: node.output), isPerChannel: isPerChannel)
      annotations[node.output] = QuantizationAnnotation(
        inputs: [(x, .own(activation)), (w, .own(weight(isPerChannel: isPerChannel))), (b, .derived(bias))],
        output: .own(activation))
    }
  }

  private static let fixedSigmoid = AnnotatingQuantizer { node, annotations in
    guard node.operatorName == "aten.sigmoid.default", let x = node.value("self") else { return }
    let fixed = FixedQParamsQuantizationSpec(scale: 1 / 256, zeroPoint: -128)
    annotations[node.output] = QuantizationAnnotation(inputs: [(x, .own(activation))], output: .fixed(fixed))
  }

  private static let sharedConcatenation = AnnotatingQuantizer { node, annotations in
    convolutions().function(node, &annotations)
    guard node.operatorName == "aten.cat.default" else { return }
    let shared = AnnotatedSpec.shared(with: .edge(from: node.inputs[0], to: node.output))
    annotations[node.output] = QuantizationAnnotation(
      inputs: [(node.inputs[0], .own(activation)), (node.inputs[1], shared)], output: shared)
  }

  private static func sharedOperands(implicitly: Bool) -> AnnotatingQuantizer {
    AnnotatingQuantizer { node, annotations in
      guard node.operatorName == "aten.add.Tensor" else { return }
      let shared = AnnotatedSpec.shared(with: .edge(from: node.inputs[0], to: node.output))
      annotations[node.output] = QuantizationAnnotation(
        inputs: [(node.inputs[0], .own(activation)), (node.inputs[1], shared)], output: shared,
        allowImplicitSharing: implicitly)
    }
  }

  private static let int16Activations = AnnotatingQuantizer { node, annotations in
    guard node.operatorName == "aten.conv2d.default", let x = node.value("input"), let w = node.value("weight") else {
      return
    }
    annotations[node.output] = QuantizationAnnotation(
      inputs: [(x, .own(wide)), (w, .own(weight()))], output: .own(wide))
  }
}
