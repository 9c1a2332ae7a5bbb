import GraphIR
import Quantization
import Runtime
import Synchronization
import TensorCore

/// What the quantized layers read while their mean error is measured.
public enum BiasCorrection: String, CaseIterable, Sendable, Codable {
  /// Each layer reads what the quantized program, corrected up to it, gives it; one pass over the samples per layer.
  case sequential
  /// Each layer reads the float program's values, quantized; all layers in one pass.
  case isolated
}

/// One layer whose bias was corrected.
public struct CorrectedBias: Hashable, Sendable, Codable {
  /// The layer's name.
  public let node: String
  /// The largest correction of a channel, and the mean one; absolute, in the layer's unit.
  public let largest: Float
  /// The mean correction.
  public let mean: Float
}

/// Corrects the biases of a Q/DQ program (Nagel et al. 2019, empirically): to each output channel of each convolution
/// and linear layer is added E[float] − E[int8], the mean difference of the results before the activation over all
/// samples and positions.
///
/// Rounding weights shifts the mean of a channel, and so does saturation of its inputs; neither is noise that averages
/// out. Biases are float in a Q/DQ program, so only the state dict changes; a layer without a bias gets one.
///
/// - Parameter float: the program that `quantized` was made from.
/// - Throws: as `compareLayers`.
@discardableResult
public func correctBiases(
  of quantized: inout ExportedProgram, float: ExportedProgram, data: any Dataset,
  method: BiasCorrection = .sequential, loading: DataLoader.Options = .init(),
  threads: Int = ThreadPool.physicalCoreCount, delegate: Bool = true, progress: (Int, Int) -> Void = { _, _ in }
) throws -> [CorrectedBias] {
  guard data.count > 0 else { throw UsageError("\(float.name): no samples to correct biases with") }
  let models = try ComparedModels(
    float: float.fixed(for: data, loading), quantized: quantized.fixed(for: data, loading))
  let corrector = BiasCorrector(
    models, Execution(pool: try ThreadPool(threadCount: threads), delegate: delegate, loading: loading))
  let (corrected, results) = try corrector.run(
    CachedDataset(data, byteLimit: 1 << 28), method, progress: progress)
  quantized = try corrected.varying(like: quantized)
  return results
}

private struct Execution {
  let pool: ThreadPool
  let delegate: Bool
  let loading: DataLoader.Options
}

private struct BiasCorrector {
  let models: ComparedModels
  let execution: Execution
  /// Layers with int8 weights that have a partner in the float program, in execution order.
  let layers: [(node: Node, reference: ValueID)]

  init(_ models: ComparedModels, _ execution: Execution) {
    self.models = models
    self.execution = execution
    let (graph, constants) = (models.quantized.graph, models.quantized.constants())
    layers = graph.nodes.compactMap { node in
      guard [.conv2d, .linear].contains(node.op),
        let weight = node.value("weight"), constants[weight] == nil, models.quantized.constantReals(weight) != nil,
        node.value("bias").map({ constants[$0]?.dataType == .float32 }) ?? true,
        let reference = models.matching.values[node.output]
      else { return nil }
      return (node, reference)
    }
  }

  func run(
    _ data: any Dataset, _ method: BiasCorrection, progress: (Int, Int) -> Void
  ) throws -> (ExportedProgram, [CorrectedBias]) {
    var result = models.quantized
    guard !layers.isEmpty else { return (result, []) }
    var graph = IsolatedGraph(
      float: models.float, quantized: models.quantized, matching: models.matching, layers: models.allLayers)
    var outputs = layers.map(\.reference)
    let copies: [Int?] = layers.map { layer in
      guard method == .isolated, let copy = graph.addInReals(layer.node) else { return nil }
      outputs.append(copy)
      return outputs.count - 1
    }
    let steps = method == .isolated ? 1 : layers.count + 1
    var axes = layers.map { models.quantized.channelAxis(of: $0.node) }
    axes += zip(copies, axes).compactMap { $0 == nil ? nil : $1 }
    let means = try channelMeans(graph.program, outputs, axes, data) { done, count in progress(done, count * steps) }
    var corrected: [CorrectedBias] = []
    for (index, layer) in layers.enumerated() {
      let actual: [Float]
      if method == .sequential {
        var program = result
        let copy = program.appendInReals(layer.node)
        actual = try channelMeans(program, [copy], [axes[index]], data) { done, count in
          progress((index + 1) * count + done, count * steps)
        }[0]
      } else if let copy = copies[index] {
        actual = means[copy]
      } else {
        continue
      }
      let shift = zip(means[index], actual).map { $0 - $1 }
      guard shift.allSatisfy(\.isFinite) else { continue }
      result.addToBias(of: layer.node.name, shift)
      let magnitudes = shift.map { abs($0) }
      corrected.append(
        CorrectedBias(
          node: layer.node.name, largest: magnitudes.max() ?? 0,
          mean: magnitudes.reduce(0, +) / Float(max(1, shift.count))))
    }
    return (result, corrected)
  }

  /// The mean of each channel of each output over samples and positions; `axes` has the outputs' dimensions of channels.
  private func channelMeans(
    _ program: ExportedProgram, _ outputs: [ValueID], _ axes: [Int], _ data: any Dataset,
    progress: (Int, Int) -> Void
  ) throws -> [[Float]] {
    let method = try loadMethod(program, giving: outputs, execution.pool, delegate: execution.delegate)
    let shapes = outputs.map { program.graph.spec($0).shape }
    var sums = zip(shapes, axes).map { [Double](repeating: 0, count: $0[$1]) }
    let pass = try execution.loading.forEachSample(
      of: data, besideThreads: execution.pool.threadCount, progress: progress
    ) { sample in
      try method.setInputs([sample.inputs])
      try method.execute()
      for output in outputs.indices {
        let inner = shapes[output].dimensions[(axes[output] + 1)...].reduce(1, *)
        let channels = sums[output].count
        method.withFloats(output) { values in
          for run in 0..<values.count / max(1, inner) {
            let part = UnsafeBufferPointer(rebasing: values[run * inner..<(run + 1) * inner])
            sums[output][run % channels] += part.reduce(0) { $0 + Double($1) }
          }
        }
      }
    }
    return zip(sums, shapes).map { sums, shape in
      let count = Double(pass.count) * Double(shape.elementCount) / Double(max(1, sums.count))
      return sums.map { Float($0 / count) }
    }
  }
}

extension ExportedProgram {
  /// The dimension of a layer's result that has its channels, one for each element of its bias: a linear layer's last one,
  /// and of a 2-D convolution's, with or without a batch, the one before height and width.
  fileprivate func channelAxis(of layer: Node) -> Int {
    graph.spec(layer.output).shape.rank - (layer.op == .linear ? 1 : 3)
  }

  /// Appends a copy of a layer that computes in float on its dequantized inputs and weights; returns its result.
  fileprivate mutating func appendInReals(_ node: Node) -> ValueID {
    var copy = node
    for id in Set(node.inputs) {
      guard let real = constantReals(id) else { continue }
      let substitute = addBuffer("real." + graph[id].name, real)
      copy.mapInputs { $0 == id ? substitute : $0 }
    }
    copy.outputs = [graph.addValue("real_" + graph[node.output].name, graph.spec(node.output))]
    copy.name = graph[copy.output].name
    graph.nodes.append(copy)
    return copy.output
  }

  fileprivate mutating func addToBias(of name: String, _ shift: [Float]) {
    guard let index = graph.nodes.firstIndex(where: { $0.name == name }) else { return }
    let node = graph.nodes[index]
    let old = node.value("bias").flatMap { constants()[$0] }
    let values = old.map { zip($0.elements(as: Float.self), shift).map { $0 + $1 } } ?? shift
    let tensor = Tensor(values, shape: [shift.count])
    if let id = node.value("bias"), let position = graph.inputs.firstIndex(of: id),
      let target = inputKinds[position].target, graph.users()[id]?.count == 1
    {
      stateDict[target] = tensor
      return
    }
    let bias = Operand.value(addBuffer(name + "_bias", tensor))
    if let position = node.arguments.firstIndex(where: { $0.name == "bias" }) {
      graph.nodes[index].arguments[position].operand = bias
    } else {
      let position = (node.arguments.firstIndex { $0.name == "weight" } ?? 0) + 1
      graph.nodes[index].arguments.insert(.init("bias", bias), at: position)
    }
  }
}

/// Keeps inputs of another dataset in memory once they were read, as many as so many bytes hold.
private final class CachedDataset: Dataset {
  private let base: any Dataset
  private let cache: Mutex<(inputs: [Int: Tensor], freeBytes: Int)>

  init(_ base: any Dataset, byteLimit: Int) {
    self.base = base
    self.cache = Mutex(([:], byteLimit))
  }

  var count: Int { base.count }

  func input(_ index: Int) throws -> Tensor {
    if let input = cache.withLock({ $0.inputs[index] }) { return input }
    let input = try base.input(index)
    cache.withLock { cache in
      guard cache.freeBytes >= input.spec.byteCount, cache.inputs[index] == nil else { return }
      cache.freeBytes -= input.spec.byteCount
      cache.inputs[index] = input
    }
    return input
  }

  func label(_ index: Int) -> Int? { base.label(index) }
  func name(_ index: Int) -> String { base.name(index) }
}
