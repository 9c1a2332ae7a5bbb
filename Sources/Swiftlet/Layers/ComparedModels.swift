import GraphIR
import Quantization

/// Both programs in the form in which their layers can be paired, and the pairs.
package struct ComparedModels {
  package struct Layer {
    package let quantized: QuantizedLayer
    /// The layer's result in the float program.
    package let reference: ValueID
  }

  package let float: ExportedProgram
  package let quantized: ExportedProgram
  package let matching: LayerMatching
  package let allLayers: [QuantizedLayer]
  package let layers: [Layer]
  package let unmatched: [String]

  package init(float: ExportedProgram, quantized: ExportedProgram) throws {
    try Verifier.verify(float, as: .float)
    try Verifier.verify(quantized, as: quantized.isQuantized ? .quantizeDequantize : .float)
    var programs = [float, quantized]
    try programs[0].equalize(like: quantized)
    // As `prepare` does: a layer is the same in both only with the same BatchNorm in it.
    for index in programs.indices {
      try foldConstantMovements(in: &programs[index])
      try foldBatchNorms(in: &programs[index])
      try removeInferenceDropouts(in: &programs[index])
    }
    self.float = programs[0]
    self.quantized = programs[1]
    let matching = LayerMatching(
      float: programs[0].graph, floatInputs: programs[0].userInputs, quantized: programs[1].graph,
      quantizedInputs: programs[1].userInputs)
    self.matching = matching
    allLayers = programs[1].quantizedLayers()
    layers = allLayers.compactMap { layer in
      matching.values[layer.value].map { Layer(quantized: layer, reference: $0) }
    }
    unmatched = matching.unmatched
  }
}
