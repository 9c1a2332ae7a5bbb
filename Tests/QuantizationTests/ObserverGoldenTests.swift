import PipelineTesting
import TensorCore
import Testing

@testable import Quantization

/// Scales, zero points and histograms against torchao's on recorded streams.
@Suite struct ObserverGoldenTests {
  static let cases = (try? ObserverGolden.load()) ?? []

  @Test func goldenFileIsRead() {
    #expect(Self.cases.count > 80)
  }

  @Test(arguments: cases.filter { $0.observer == "histogram" })
  func histogram(_ golden: ObserverCase) throws {
    let observer = try HistogramObserver(golden.target())
    for batch in golden.batches { try batch.values().withUnsafeBufferPointer { try observer.observe($0) } }
    expectBits([observer.minimum], golden.expected.min)
    expectBits([observer.maximum], golden.expected.max)
    let checksum = observer.counts.enumerated().reduce(0.0) { sum, entry in
      sum + Double(entry.element) * Double(entry.offset * 7919 % 101 + 1)
    }
    #expect(checksum == golden.expected.checksum)
    expect(try observer.calculateQParams(), golden.expected)
  }

  @Test(arguments: cases.filter { $0.observer == "minMax" })
  func minMax(_ golden: ObserverCase) throws {
    let observer = try MinMaxObserver(golden.target())
    for batch in golden.batches { try observer.observe(batch.tensor()) }
    expect(try observer.calculateQParams(), golden.expected)
  }

  @Test(arguments: cases.filter { $0.observer == "movingAverage" })
  func movingAverage(_ golden: ObserverCase) throws {
    let observer = try MovingAverageMinMaxObserver(golden.target())
    for batch in golden.batches { try observer.observe(batch.tensor()) }
    expect(try observer.calculateQParams(), golden.expected)
  }

  @Test(arguments: cases.filter { $0.observer == "movingAveragePerChannel" })
  func movingAveragePerChannel(_ golden: ObserverCase) throws {
    let observer = try MovingAveragePerChannelMinMaxObserver(golden.target(), axis: golden.axis ?? 0)
    for batch in golden.batches { try observer.observe(batch.tensor()) }
    expect(try observer.calculateQParams(), golden.expected)
  }

  /// Where torchao gives scales that are NaN or infinite, ours refuse: NaN when it is seen, an infinite range (of
  /// observers that do not leave infinities out) when parameters are asked for.
  @Test(arguments: [ObserverConstructor.histogram, .minMax, .movingAverageMinMax(), .percentile(99), .mse, .entropy])
  func nonFiniteValuesAreRefused(_ constructor: ObserverConstructor) throws {
    let observer = try constructor.make(QuantizationTarget(scheme: .perTensorAffine), 0)
    #expect(throws: ObserverError.notANumber) {
      try observer.observe(Tensor([1, .nan, 2] as [Float], shape: [3]))
    }
    #expect(!observer.hasObserved)
    #expect(throws: ObserverError.notCalibrated) { try observer.calculateQParams() }
    try observer.observe(Tensor([.infinity, 1, -1] as [Float], shape: [3]))
    if let histogram = observer as? HistogramObserver {
      #expect(histogram.ignoredCount == 1)
      _ = try observer.calculateQParams()
    } else {
      #expect(throws: ObserverError.self) { try observer.calculateQParams() }
    }
  }

  @Test(arguments: cases.filter { $0.observer == "perChannel" })
  func perChannel(_ golden: ObserverCase) throws {
    let observer = try PerChannelMinMaxObserver(golden.target(), axis: golden.axis ?? 0)
    for batch in golden.batches { try observer.observe(batch.tensor()) }
    expectBits(observer.minimums, golden.expected.min)
    expectBits(observer.maximums, golden.expected.max)
    expect(try observer.calculateQParams(), golden.expected)
  }

  /// Zero points equal, scales within 1e-6 of the expected ones.
  private func expect(_ parameters: QParams, _ expected: ObserverCase.Expected) {
    let scales = parameters.scales
    let wanted = expected.scales.map(Float.init(bitPattern:))
    #expect(scales.count == wanted.count)
    for (scale, want) in zip(scales, wanted) {
      #expect(abs(Double(scale) - Double(want)) <= 1e-6 * Double(want), "scale \(scale), expected \(want)")
    }
    #expect(parameters.zeroPoints == .integers(expected.zeroPoints))
  }

  /// Equal as numbers: −0 is 0.
  private func expectBits(_ values: [Float], _ bits: [UInt32]) {
    #expect(values == bits.map(Float.init(bitPattern:)))
  }
}
