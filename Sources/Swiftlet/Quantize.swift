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
  /// Calibration samples read.
  public let samples: Int
  /// Calibration samples that could not be read, where `DataLoader.OnError.skip` was asked for.
  public let skipped: [SkippedSample]
  /// Calibration samples processed a second.
  public let samplesPerSecond: Double
  /// Milliseconds that preparing took (equalization, BatchNorm folding, annotation, weight observers).
  public let prepareTime: Double
  /// Milliseconds that converting took (range searches, weights to int8, bias correction).
  public let convertTime: Double
  /// Nodes that stay in float, with the reason.
  public let notQuantized: [NotQuantized]
  /// What was equalized, and what not; nil when that was not asked for.
  public let equalization: EqualizationReport?
  /// Layers whose bias was corrected; none unless that was asked for.
  public let biasCorrections: [CorrectedBias]
  /// What the observers have seen, to be taken up again.
  public let calibration: CalibrationState
}

/// How a float program is quantized.
public struct QuantizationOptions: Sendable {
  /// What becomes int8, and how ranges are chosen.
  public var quantizer: any Quantizer
  /// Widen the activations' ranges by this factor, at least 1 (`widenActivationRanges`); nil keeps them.
  public var headroom: Double?
  /// Equalize channels across layers first (`equalizeCrossLayer`).
  public var equalize: Bool
  /// Correct biases afterwards (`correctBiases`); nil leaves them.
  public var biasCorrection: BiasCorrection?
  /// Calibrations of the same model that count as well; samples may then be none.
  public var calibrations: [CalibrationState] = []
  /// Nodes that stay in float, by name (`Quantizer.keepingInFloat`).
  public var floatNodes: Set<String>

  /// Options; what is left out is not done.
  public init(
    quantizer: any Quantizer = XNNPACKQuantizer(), headroom: Double? = nil, equalize: Bool = false,
    biasCorrection: BiasCorrection? = nil, floatNodes: Set<String> = []
  ) {
    self.quantizer = quantizer
    self.headroom = headroom
    self.equalize = equalize
    self.biasCorrection = biasCorrection
    self.floatNodes = floatNodes
  }
}

/// Prepares, calibrates and converts in one call; equalizes before and corrects biases after, where the options say so.
/// `progress` is called with (done, all) after each sample of each pass.
///
/// Throws when the model cannot be quantized, a sample cannot be read, or there is none though observers need some
/// (dynamic quantization needs none).
public func quantize(
  _ program: ExportedProgram, _ data: (any Dataset)?, recipe: Preprocess? = nil,
  options: QuantizationOptions = QuantizationOptions(), loading: DataLoader.Options = .init(),
  threads: Int = ThreadPool.physicalCoreCount, delegate: Bool = true, progress: (Int, Int) -> Void = { _, _ in }
) throws -> QuantizationResult {
  if let headroom = options.headroom, !(1...1e6).contains(headroom) {
    throw UsageError("the headroom must be from 1 to 1e6, not \(headroom)")
  }
  func samples(for purpose: String) throws -> any Dataset {
    guard let data, data.count > 0 else {
      throw UsageError("\(program.name): no samples to \(purpose) with")
    }
    return data
  }
  let start = ContinuousClock.now
  var float = program
  var equalization: EqualizationReport?
  if options.equalize {
    equalization = try equalizeCrossLayer(
      &float, with: samples(for: "equalize"), loading: loading, threads: threads, delegate: delegate)
  }
  var quantizer = options.quantizer
  if !options.floatNodes.isEmpty { quantizer = quantizer.keepingInFloat(options.floatNodes) }
  let observed = try prepare(float, quantizer: quantizer)
  let prepared = ContinuousClock.now
  for calibration in options.calibrations { try observed.merge(calibration) }
  var pass = DataPass()
  if !observed.calibratedObservers.isEmpty, data != nil || options.calibrations.isEmpty {
    pass = try calibrationPass(
      observed, with: samples(for: "calibrate"), loading: loading, threads: threads, delegate: delegate,
      progress: progress)
  }
  let calibrated = ContinuousClock.now
  var converted = try convert(observed)
  if let headroom = options.headroom { widenActivationRanges(of: &converted, by: headroom) }
  if let equalization { converted = try converted.storing(equalization) }
  var corrections: [CorrectedBias] = []
  if let method = options.biasCorrection {
    corrections = try correctBiases(
      of: &converted, float: program, data: samples(for: "correct biases"), method: method, loading: loading,
      threads: threads, delegate: delegate, progress: progress)
  }
  let finished = ContinuousClock.now
  return QuantizationResult(
    program: recipe.map(converted.storing) ?? converted, samples: pass.count, skipped: pass.skipped,
    samplesPerSecond: Double(pass.count) / max((calibrated - prepared).seconds, 1e-9),
    prepareTime: (prepared - start).seconds * 1e3, convertTime: (finished - calibrated).seconds * 1e3,
    notQuantized: observed.notQuantized, equalization: equalization, biasCorrections: corrections,
    calibration: observed.calibrationState)
}

/// Runs samples through an observed model, in order, and shows every observer what it watches.
///
/// The float arithmetic runs on XNNPACK's f32 operators, the observers side by side on `threads` threads; each observer
/// sees its tensors in graph order, so the result does not depend on the number of threads. Samples are decoded ahead.
///
/// - Returns: the samples that could not be read, where `DataLoader.OnError.skip` was asked for.
@discardableResult
public func calibrate(
  _ observed: ObservedProgram, with data: any Dataset, loading: DataLoader.Options = .init(),
  threads: Int = ThreadPool.physicalCoreCount, delegate: Bool = true, progress: (Int, Int) -> Void = { _, _ in }
) throws -> [SkippedSample] {
  try calibrationPass(
    observed, with: data, loading: loading, threads: threads, delegate: delegate, progress: progress
  ).skipped
}

private func calibrationPass(
  _ observed: ObservedProgram, with data: any Dataset, loading: DataLoader.Options, threads: Int, delegate: Bool,
  progress: (Int, Int) -> Void
) throws -> DataPass {
  let lowering = try lowerObserved(
    observed.program.fixed(for: data, loading), partitioner: delegate ? XNNPACKPartitioner() : nil)
  // CalibrationOrder.swift knows in which order the library adds.
  let method = try Method(
    lowering.program, threads: ThreadPool(threadCount: threads), options: MethodOptions(kernels: .xnnpack))
  let outputsByObserver = Dictionary(grouping: lowering.observed, by: \.observer).mapValues { $0.map(\.output) }
  return try loading.forEachSample(of: data, besideThreads: threads, progress: progress) { sample in
    try method.setInputs([sample.inputs])
    try method.execute()
    try observed.update(outputsByObserver, threads: threads) { output, body in
      method.withOutput(output) { _, bytes in body(bytes.bindMemory(to: Float.self)) }
    }
  }
}
