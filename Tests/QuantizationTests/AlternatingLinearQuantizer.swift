import Swiftlet

/// Quantizes every second one of the linear layers whose input is 3-D.
struct AlternatingLinearQuantizer: Quantizer {
  let activation = QuantizationSpec(scheme: .perTensorAffine, observer: .minMax)
  let weight = QuantizationSpec(quantMin: -127, scheme: .perTensorSymmetric, observer: .minMax)

  func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) {
    var count = 0
    for node in program.graph.nodes where node.op == .linear {
      guard annotations[node.output] == nil, let x = node.value("input"), let w = node.value("weight") else { continue }
      if program.graph.spec(x).shape.rank == 3 { count += 1 }
      guard program.graph.spec(x).shape.rank == 3, count % 2 == 0 else {
        annotations.keepInFloat(node, reason: "only every second linear layer with a 3-D input is quantized")
        continue
      }
      annotations[node.output] = QuantizationAnnotation(
        inputs: [(x, .own(activation)), (w, .own(weight))], output: .own(activation))
    }
  }
}
