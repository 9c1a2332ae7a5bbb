import Dispatch
import GraphIR
import Lowering
import Quantization
import Runtime
import TensorCore
import Vision
import XNNPACKBackend

/// What quantizing a model gave.
public struct QuantizationResult: Sendable {
  /// The Q/DQ graph, with the preprocessing recipe among its extra files.
  public let program: ExportedProgram
  /// Calibration samples processed a second.
  public let samplesPerSecond: Double
  /// Milliseconds that preparing took (BatchNorm folding, annotation, weight observers).
  public let prepareTime: Double
  /// Milliseconds that converting took (range searches, weights to int8).
  public let convertTime: Double
  /// Nodes that stay in float, with the reason.
  public let notQuantized: [NotQuantized]
}

/// Prepares, calibrates and converts in one call. `progress` is called with (done, all) after each sample.
///
/// Throws when the model cannot be quantized, a sample cannot be read, or there is none though observers need some
/// (dynamic quantization needs none).
public func quantize(
  _ program: ExportedProgram, _ data: (any Dataset)?, recipe: Preprocess? = nil,
  quantizer: some Quantizer = XNNPACKQuantizer(), threads: Int = ThreadPool.physicalCoreCount, delegate: Bool = true,
  progress: (Int, Int) -> Void = { _, _ in }
) throws -> QuantizationResult {
  let start = ContinuousClock.now
  let observed = try prepare(program, quantizer: quantizer)
  let prepared = ContinuousClock.now
  let count = data?.count ?? 0
  if let data, count > 0, !observed.calibratedObservers.isEmpty {
    try calibrate(observed, with: data, threads: threads, delegate: delegate, progress: progress)
  } else if !observed.calibratedObservers.isEmpty {
    throw UsageError("\(program.name): no samples to calibrate with; its activations are quantized statically")
  }
  let calibrated = ContinuousClock.now
  let converted = try convert(observed)
  let finished = ContinuousClock.now
  return QuantizationResult(
    program: recipe.map(converted.storing) ?? converted,
    samplesPerSecond: Double(count) / max((calibrated - prepared).seconds, 1e-9),
    prepareTime: (prepared - start).seconds * 1e3, convertTime: (finished - calibrated).seconds * 1e3,
    notQuantized: observed.notQuantized)
}

/// Runs samples through an observed model, in order, and shows every observer what it watches.
///
/// The float arithmetic runs on XNNPACK's f32 operators, the observers side by side on `threads` threads; each observer
/// sees its tensors in graph order, so the result does not depend on the number of threads.
public func calibrate(
  _ observed: ObservedProgram, with data: any Dataset, threads: Int = ThreadPool.physicalCoreCount,
  delegate: Bool = true, progress: (Int, Int) -> Void = { _, _ in }
) throws {
  let lowering = try lowerObserved(observed.program, partitioner: delegate ? XNNPACKPartitioner() : nil)
  let method = try Method(lowering.program, threads: ThreadPool(threadCount: threads))
  let outputsByObserver = Dictionary(grouping: lowering.observed, by: \.observer).mapValues { $0.map(\.output) }
  for index in 0..<data.count {
    let inputs = [try data.input(index)]
    guard inputs.count == method.program.inputs.count else {
      throw UsageError("\(observed.program.name): takes \(method.program.inputs.count) inputs; the data has one")
    }
    for (position, tensor) in inputs.enumerated() { try method.setInput(position, to: tensor) }
    try method.execute()
    try observed.update(outputsByObserver, threads: threads) { output, body in
      method.withOutput(output) { _, bytes in body(bytes.bindMemory(to: Float.self)) }
    }
    progress(index + 1, data.count)
  }
}
