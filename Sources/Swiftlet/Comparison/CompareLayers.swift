import Dispatch
import GraphIR
import Lowering
import Quantization
import Runtime
import TensorCore
import XNNPACKBackend

/// Compares a quantized program with the float program it was made from, layer by layer, on samples.
///
/// Each layer is measured twice: *cumulative*, as the whole quantized program computes it, and *isolated*, as if it
/// alone were quantized. Both programs are run on XNNPACK with the layers' results as further outputs; sums and
/// histograms are kept, no tensors. The quantized program may come from another exporter: layers are matched by name,
/// else by order, and what has no partner is listed in `unmatched`. A model that was equalized before it was quantized is
/// compared with the float program equalized alike. A float program can stand in the quantized one's
/// place: a copy of it has infinite SQNR everywhere.
///
/// - Parameter quantized: a Q/DQ program, as `convert` gives it, or a float one.
/// - Throws: `GraphError` when a program is not valid or `float` is quantized; `UsageError` without samples; the data's
///   errors.
public func compareLayers(
  float: ExportedProgram, quantized: ExportedProgram, data: any Dataset, loading: DataLoader.Options = .init(),
  threads: Int = ThreadPool.physicalCoreCount, delegate: Bool = true, progress: (Int, Int) -> Void = { _, _ in }
) throws -> ModelComparison {
  guard data.count > 0 else { throw UsageError("\(float.name): no samples to compare on") }
  let models = try ComparedModels(
    float: float.fixed(for: data, loading), quantized: quantized.fixed(for: data, loading))
  guard !models.layers.isEmpty else {
    throw UsageError("\(quantized.name): no layer has a partner in \(float.name); it was made from another model")
  }
  let run = try ComparisonRun(models, threads: threads, delegate: delegate)
  let pass = try loading.forEachSample(of: data, besideThreads: threads, progress: progress) {
    try run.add([$0.inputs])
  }
  return ModelComparison(
    float: float.name, quantized: quantized.name, samples: pass.count,
    layers: models.layers.indices.map { models.comparison($0, run.sums[$0]) }, unmatched: models.unmatched)
}

/// Both programs in the form in which their layers can be paired, and the pairs.
struct ComparedModels {
  struct Layer {
    let quantized: QuantizedLayer
    /// The layer's result in the float program.
    let reference: ValueID
  }

  let float: ExportedProgram
  let quantized: ExportedProgram
  let matching: LayerMatching
  let allLayers: [QuantizedLayer]
  let layers: [Layer]
  let unmatched: [String]

  init(float: ExportedProgram, quantized: ExportedProgram) throws {
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

  /// The report on one layer.
  func comparison(_ index: Int, _ sums: LayerSums) -> LayerComparison {
    let (layer, reference) = (layers[index].quantized, layers[index].reference)
    let partners = layer.nodes.compactMap { node in
      matching.values[node.output].flatMap { value in float.graph.nodes.first { $0.outputs.contains(value) } }
    }
    let bytes = { (tensors: [Tensor]) in tensors.reduce(0) { $0 + $1.spec.byteCount } }
    return LayerComparison(
      name: quantized.graph[layer.value].name, floatName: float.graph[reference].name,
      modulePath: (layer.nodes.first ?? partners.first)?.modulePath ?? "",
      op: layer.nodes.isEmpty ? "input" : layer.nodes.map(\.operatorName).joined(separator: " + "),
      floatNodes: partners.map(\.name), isQuantized: layer.quantize != nil, cumulative: LayerError(sums.cumulative),
      isolated: sums.isolated.map(LayerError.init), weightBytes: bytes(quantized.stateTensors(readBy: layer.nodes)),
      floatWeightBytes: bytes(float.stateTensors(readBy: partners)),
      activation: sums.histogram.flatMap {
        ValueDistribution(
          $0, quantized: layer.quantize.flatMap(quantized.dequantization)?.ranges(layer.quantize)?.widest)
      },
      weight: weightDistribution(layer, partners))
  }

  private func weightDistribution(_ layer: QuantizedLayer, _ partners: [Node]) -> ValueDistribution? {
    guard let weight = layer.weighted?.value("weight"),
      let real = partners.first(where: { $0.value("weight") != nil })?.value("weight").flatMap(float.constantReals),
      let histogram = makeHistogram()
    else { return nil }
    try? histogram.observe(real)
    let dequantize = quantized.graph.nodes.first { $0.outputs.contains(weight) && $0.isDequantize }
    let ranges = dequantize.flatMap(quantized.dequantization)?.ranges(dequantize)
    return ValueDistribution(histogram, quantized: ranges?.widest, narrowest: ranges?.narrowest)
  }
}

/// An observer that only counts.
func makeHistogram() -> HistogramObserver? {
  (try? QuantizationTarget(scheme: .perTensorAffine, quantMin: -128, quantMax: 127, eps: .ulpOfOne))
    .flatMap { try? HistogramObserver($0) }
}

extension QuantizationParameters {
  /// The reals that the integers of a quantize or dequantize node span, for the channels with the largest and the
  /// smallest scale.
  fileprivate func ranges(_ node: Node?) -> (widest: ClosedRange<Float>, narrowest: ClosedRange<Float>?)? {
    guard case .attribute(.int(let low))? = node?.operand("quant_min"),
      case .attribute(.int(let high))? = node?.operand("quant_max"), low <= high,
      let largest = scales.max(), let smallest = scales.min()
    else { return nil }
    func range(_ scale: Float) -> ClosedRange<Float> {
      (Float(low) - Float(zeroPoint)) * scale...(Float(high) - Float(zeroPoint)) * scale
    }
    return (range(largest), isPerChannel ? range(smallest) : nil)
  }
}
