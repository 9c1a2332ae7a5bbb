import Dispatch
import Swiftlet

/// What is kept of one layer while samples run.
final class LayerSums {
  var cumulative = ErrorSums()
  /// Nil when the layer cannot be computed in isolation.
  var isolated: ErrorSums?
  /// Of the float program's values; nil once a value was not a number.
  var histogram = makeHistogram()
}

/// The two methods that give all layers' values: the float program with every layer's isolated copy, and the quantized
/// program.
final class ComparisonRun {
  let sums: [LayerSums]
  private let reference: Method
  private let cumulative: Method
  /// Per layer, the output of `reference` that has it in isolation.
  private let isolatedOutputs: [Int?]
  private let threads: Int

  init(_ models: ComparedModels, threads: Int, delegate: Bool) throws {
    self.threads = max(1, threads)
    var isolated = IsolatedGraph(
      float: models.float, quantized: models.quantized, matching: models.matching, layers: models.allLayers)
    var outputs = models.layers.map(\.reference)
    isolatedOutputs = models.layers.map { layer in
      guard let value = isolated.add(layer.quantized) else { return nil }
      outputs.append(value)
      return outputs.count - 1
    }
    let pool = try ThreadPool(threadCount: threads)
    reference = try loadMethod(isolated.program, giving: outputs, pool, delegate: delegate)
    var program = models.quantized
    let results = models.layers.map { layer in
      guard let quantize = layer.quantized.quantize else { return layer.quantized.value }
      return program.graph.appendDequantize(of: quantize.output, like: quantize)
    }
    cumulative = try loadMethod(program, giving: results, pool, delegate: delegate)
    sums = isolatedOutputs.map { output in
      let sums = LayerSums()
      if output != nil { sums.isolated = ErrorSums() }
      return sums
    }
  }

  /// Runs one sample through both and adds it to every layer's sums, on all threads.
  func add(_ inputs: [Tensor]) throws {
    for method in [reference, cumulative] {
      try method.setInputs(inputs)
      try method.execute()
    }
    // Each layer is one thread's; the methods are only read.
    nonisolated(unsafe) let run = self
    let (count, threads) = (sums.count, threads)
    DispatchQueue.concurrentPerform(iterations: threads) { thread in
      for layer in stride(from: thread, to: count, by: threads) { run.update(layer) }
    }
  }

  private func update(_ layer: Int) {
    let sums = sums[layer]
    reference.withFloats(layer) { values in
      cumulative.withFloats(layer) { sums.cumulative.add(reference: values, actual: $0) }
      if let output = isolatedOutputs[layer] {
        reference.withFloats(output) { sums.isolated?.add(reference: values, actual: $0) }
      }
      do { try sums.histogram?.observe(values) } catch { sums.histogram = nil }
    }
  }
}
