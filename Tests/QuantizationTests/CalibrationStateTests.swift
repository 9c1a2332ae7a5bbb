import Foundation
import GraphIR
import TensorCore
import TestSupport
import Testing
import XNNPACKBackend

@testable import Quantization

/// Saving, merging and resuming what observers have seen.
@Suite struct CalibrationStateTests {
  private static let tensorObservers: [ObserverConstructor] = [
    .histogram, .minMax, .percentile(99.9), .mse, .entropy, .movingAverageMinMax(),
  ]

  private func stream(_ seed: UInt64) -> [Tensor] {
    var random = SeededGenerator(seed: seed)
    return (0..<8).map { batch in
      let scale = Float.random(in: 0.1...3, using: &random)
      return Tensor(
        (0..<400).map { _ in Float.random(in: -scale...scale, using: &random) + Float(batch) * 0.1 }, shape: [4, 100])
    }
  }

  private func saved(_ state: ObserverState) throws -> ObserverState {
    try JSONDecoder().decode(ObserverState.self, from: JSONEncoder().encode(state))
  }

  @Test(arguments: tensorObservers)
  func resumingIsExact(_ constructor: ObserverConstructor) throws {
    let target = try QuantizationTarget(scheme: .perTensorAffine, eps: 0x1p-12)
    for seed in 0..<8 {
      let batches = stream(UInt64(seed))
      let (whole, first, second) = (
        try constructor.make(target, 0), try constructor.make(target, 0), try constructor.make(target, 0)
      )
      for batch in batches { try whole.observe(batch) }
      for batch in batches[..<5] { try first.observe(batch) }
      try second.merge(saved(first.state))
      #expect(second.state == first.state)
      for batch in batches[5...] { try second.observe(batch) }
      #expect(second.state == whole.state)
      #expect(try second.calculateQParams() == whole.calculateQParams())
    }
  }

  @Test(arguments: [true, false])
  func minimumAndMaximumAreMergedExactly(isPerChannel: Bool) throws {
    let target = try QuantizationTarget(scheme: isPerChannel ? .perChannelSymmetric : .perTensorAffine)
    let constructor = isPerChannel ? ObserverConstructor.perChannelMinMax : .minMax
    let batches = stream(3)
    let (whole, merged) = (try constructor.make(target, 0), try constructor.make(target, 0))
    for batch in batches { try whole.observe(batch) }
    for part in [batches[6...], batches[..<2], batches[2..<6]] {
      let observer = try constructor.make(target, 0)
      for batch in part { try observer.observe(batch) }
      try merged.merge(saved(observer.state))
    }
    #expect(merged.state == whole.state)
  }

  /// Each histogram that is merged moves a value by at most one bin: up to any edge, the merged counts lie between those of
  /// the values one step lower and one step higher.
  @Test(arguments: 0..<12)
  func mergedHistogramsAreWithinABinForEachPart(seed: Int) throws {
    let target = try QuantizationTarget(scheme: .perTensorAffine, eps: 0x1p-12)
    let batches = stream(UInt64(seed))
    let parts = [batches[..<3], batches[3..<5], batches[5...]]
    let merged = try HistogramObserver(target)
    var growths = 0
    for part in parts {
      let observer = try HistogramObserver(target)
      for batch in part { try observer.observe(batch) }
      growths = max(growths, part.count - 1)
      try merged.merge(saved(observer.state))
    }
    let values = batches.flatMap { $0.elements(as: Float.self) }
    #expect(merged.minimum == values.min() && merged.maximum == values.max())
    #expect(abs(Double(merged.counts.reduce(0, +)) - Double(values.count)) < 0.5)
    // A part grows as often as it has batches after the first; then it is merged, and the sum grows with later parts.
    let slack = growths + parts.count
    let width = Double(merged.maximum - merged.minimum) / 2048
    let sorted = values.map(Double.init).sorted()
    func below(_ edge: Double) -> Double { Double(sorted.prefix { $0 < edge }.count) }
    var cumulative = 0.0
    for bin in stride(from: 0, to: 2048, by: 64) {
      cumulative = merged.counts[..<bin].reduce(0) { $0 + Double($1) }
      let edge = Double(merged.minimum) + Double(bin) * width
      #expect(cumulative >= below(edge - Double(slack) * width) - 0.5)
      #expect(cumulative <= below(edge + Double(slack) * width) + 0.5)
    }
  }

  @Test func averagesAreNotMerged() throws {
    let target = try QuantizationTarget(scheme: .perTensorAffine)
    let (a, b) = (try MovingAverageMinMaxObserver(target), try MovingAverageMinMaxObserver(target))
    try a.observe(stream(1)[0])
    try b.observe(stream(1)[1])
    #expect(throws: ObserverError.cannotMerge(observer: "MovingAverageMinMaxObserver")) { try a.merge(b.state) }
    let channels = try MovingAveragePerChannelMinMaxObserver(QuantizationTarget(scheme: .perChannelSymmetric))
    try channels.observe(stream(1)[0])
    #expect(throws: ObserverError.self) { try channels.merge(channels.state) }
    let resumed = try MovingAveragePerChannelMinMaxObserver(QuantizationTarget(scheme: .perChannelSymmetric))
    try resumed.merge(saved(channels.state))
    #expect(resumed.state == channels.state)
  }

  @Test func senselessStatesAreRefused() throws {
    let target = try QuantizationTarget(scheme: .perTensorAffine)
    let good = try HistogramObserver(target)
    try good.observe(stream(2)[0])
    var states = [ObserverState](repeating: good.state, count: 7)
    states[0].observer = "MinMaxObserver"
    states[1].counts = [1, 2]
    states[2].counts?[5] = -1
    states[3].counts?[5] = .nan
    states[4].minimums = [9e9]
    states[5].minimums = []
    states[6].ignoredCount = -1
    for state in states {
      let observer = try HistogramObserver(target)
      #expect(throws: ObserverError.self) { try observer.merge(state) }
      #expect(!observer.hasObserved)
    }
  }

  /// Calibration of a model in two parts.
  @Test(arguments: [ObserverConstructor.minMax, .histogram])
  func aSplitCalibrationOfAModel(_ observer: ObserverConstructor) throws {
    func prepared() throws -> ObservedProgram {
      var model = TestModel()
      let x = model.input("x", [1, 3, 4, 4])
      let a = model.relu6("relu6", model.convolution("a", x, channels: 4))
      model.program.graph.outputs = [model.convolution("b", a, channels: 2)]
      return try prepare(model.program, quantizer: XNNPACKQuantizer(.symmetric().observing(observer)))
    }
    let (whole, first, second) = (try prepared(), try prepared(), try prepared())
    try whole.calibrateWithRamps(low: -1, high: 1)
    try whole.calibrateWithRamps(low: -3, high: 2)
    try first.calibrateWithRamps(low: -1, high: 1)
    try second.calibrateWithRamps(low: -3, high: 2)
    let file = try JSONEncoder().encode(first.calibrationState)
    try second.merge(JSONDecoder().decode(CalibrationState.self, from: file))
    if observer == .minMax { #expect(try convert(second).graph == convert(whole).graph) }
    for (a, b) in zip(second.observers, whole.observers) {
      let (x, y) = (try a.calculateQParams(), try b.calculateQParams())
      for (s, t) in zip(x.scales, y.scales) { #expect(abs(s / t - 1) < 0.01) }
    }

    var model = TestModel()
    let x = model.input("x", [1, 3, 4, 4])
    model.program.graph.outputs = [model.convolution("other", x, channels: 4)]
    let other = try prepare(model.program, quantizer: XNNPACKQuantizer())
    let error = #expect(throws: QuantizationError.self) { try other.merge(first.calibrationState) }
    #expect("\(try #require(error))".contains("another model"))
  }
}
