import TensorCore
import Testing

@testable import Quantization

@Suite struct QParamsTests {
  @Test func affineCoversZero() throws {
    let (scale, zeroPoint) = try calculateQParams(
      min: 2, max: 51, quantMin: -128, quantMax: 127, scheme: .perTensorAffine, eps: 0x1p-12)
    #expect(scale == 0.2)
    #expect(zeroPoint == -128)
  }

  @Test func zeroPointRoundsHalfToEven() throws {
    let affine = try QuantizationTarget(scheme: .perTensorAffine)
    #expect(try affine.parameters(min: -0.5, max: 254.5).zeroPoint == -128)
    #expect(try affine.parameters(min: -1.5, max: 253.5).zeroPoint == -126)
    #expect(try affine.parameters(min: -2.5, max: 252.5).zeroPoint == -126)
  }

  @Test(arguments: [(-128, 127, 0), (-127, 127, 0), (0, 255, 128), (0, 127, 63)])
  func symmetricZeroPoint(quantMin: Int, quantMax: Int, zeroPoint: Int32) throws {
    let target = try QuantizationTarget(scheme: .perTensorSymmetric, quantMin: quantMin, quantMax: quantMax)
    let (scale, actual) = try target.parameters(min: -3, max: 2)
    #expect(scale == 3 / (Float(quantMax - quantMin) / 2))
    #expect(actual == zeroPoint)
  }

  @Test func scaleIsAtLeastEps() throws {
    let target = try QuantizationTarget(scheme: .perTensorAffine, eps: 0x1p-12)
    #expect(try target.parameters(min: 0, max: 0) == (0x1p-12, -128))
  }

  @Test func refusesRangesWithoutScale() throws {
    let target = try QuantizationTarget(scheme: .perTensorAffine)
    #expect(throws: ObserverError.notANumber) { try target.parameters(min: .nan, max: 1) }
    #expect(throws: ObserverError.reversedRange(min: 1, max: 0)) { try target.parameters(min: 1, max: 0) }
    #expect(throws: ObserverError.nonFiniteRange(min: 0, max: .infinity)) {
      try target.parameters(min: 0, max: .infinity)
    }
    #expect(throws: ObserverError.nonFiniteRange(min: -3e38, max: 3e38)) {
      try target.parameters(min: -3e38, max: 3e38)
    }
  }

  @Test(arguments: [(1, 255), (-255, -1), (0, 0), (Int.min, 127), (-128, Int.max)])
  func refusesIntegerRanges(quantMin: Int, quantMax: Int) {
    #expect(throws: ObserverError.invalidQuantizedRange(min: quantMin, max: quantMax)) {
      try QuantizationTarget(scheme: .perTensorAffine, quantMin: quantMin, quantMax: quantMax)
    }
  }

  @Test(arguments: [0, -1, Float.infinity])
  func refusesEps(eps: Float) {
    #expect(throws: ObserverError.invalidEpsilon(eps)) {
      try QuantizationTarget(scheme: .perTensorAffine, eps: eps)
    }
  }
}

@Suite struct ObserverTests {
  static func perTensorObservers() throws -> [any PerTensorObserver] {
    let target = try QuantizationTarget(scheme: .perTensorAffine)
    return [try MinMaxObserver(target), try HistogramObserver(target)]
  }

  static func vector(_ values: [Float]) -> Tensor { Tensor(values, shape: [values.count]) }

  @Test func asksForCalibration() throws {
    let perChannel = try PerChannelMinMaxObserver(QuantizationTarget(scheme: .perChannelSymmetric))
    for observer in try Self.perTensorObservers() + [perChannel] as [any Observer] {
      try observer.observe(Tensor([Float](), shape: [0, 4]))
      #expect(!observer.hasObserved)
      #expect(throws: ObserverError.notCalibrated) { try observer.calculateQParams() }
    }
    #expect(ObserverError.notCalibrated.description.contains("calibration"))
  }

  /// A NaN anywhere (vector body, tail) is refused and leaves the observer as it was.
  @Test(arguments: [0, 9, 17, 31, 32, 36])
  func refusesNaN(position: Int) throws {
    var values = [Float](repeating: 100, count: 37)
    values[position] = .nan
    for observer in try Self.perTensorObservers() {
      try observer.observe(Self.vector([-1, 2]))
      let before = try observer.calculateQParams()
      #expect(throws: ObserverError.notANumber) { try observer.observe(Self.vector(values)) }
      #expect(try observer.calculateQParams() == before)
    }
  }

  @Test(arguments: [0, 7, 8, 15, 16, 33, 36])
  func findsExtremaAtAnyPosition(position: Int) throws {
    let observer = try MinMaxObserver(QuantizationTarget(scheme: .perTensorAffine))
    var values = [Float](repeating: 0.5, count: 37)
    values[position] = -7
    try observer.observe(Self.vector(values))
    values[position] = 9
    try observer.observe(Self.vector(values))
    #expect(observer.minimum == -7)
    #expect(observer.maximum == 9)
  }

  @Test func minMaxRefusesInfinityAtTheEnd() throws {
    let observer = try MinMaxObserver(QuantizationTarget(scheme: .perTensorAffine))
    try observer.observe(Self.vector([1, .infinity]))
    #expect(throws: ObserverError.nonFiniteRange(min: 1, max: .infinity)) { try observer.calculateQParams() }
  }

  @Test func histogramCountsWhatItIgnores() throws {
    let observer = try HistogramObserver(QuantizationTarget(scheme: .perTensorAffine))
    try observer.observe(Self.vector([.infinity, -.infinity]))
    #expect(!observer.hasObserved)
    try observer.observe(Self.vector([1, .infinity, 2, 3]))
    #expect(observer.ignoredCount == 3)
    #expect(observer.minimum == 1)
    #expect(observer.maximum == 3)
    #expect(observer.counts.reduce(0, +) == 3)
  }

  @Test func histogramRefusesRangeBeyondFloat() throws {
    let observer = try HistogramObserver(QuantizationTarget(scheme: .perTensorAffine))
    try observer.observe(Self.vector([-3e38, 0, 3e38]))
    #expect(throws: ObserverError.nonFiniteRange(min: -3e38, max: 3e38)) { try observer.calculateQParams() }
  }

  /// Edges, values just below them, and the maximum, over a range whose bins are exactly 1 wide.
  @Test func histogramBinsAreHalfOpen() throws {
    let observer = try HistogramObserver(QuantizationTarget(scheme: .perTensorAffine))
    try observer.observe(
      Self.vector([0, 2048, 1, 1.5, Float(2).nextDown, 2, 2047.75, 2047, Float(2047).nextDown, 0.25]))
    let counts = observer.counts
    #expect([counts[0], counts[1], counts[2], counts[2046], counts[2047]] == [2, 3, 1, 1, 3])
  }

  @Test func observesMisalignedTensors() throws {
    let storage = Storage(byteCount: 9)
    storage.base.storeBytes(of: 3.5, toByteOffset: 1, as: Float.self)
    storage.base.storeBytes(of: -1, toByteOffset: 5, as: Float.self)
    let observer = try MinMaxObserver(QuantizationTarget(scheme: .perTensorAffine))
    try observer.observe(Tensor(TensorSpec(.float32, [2]), storage: storage, byteOffset: 1))
    #expect(observer.minimum == -1)
    #expect(observer.maximum == 3.5)
  }

  @Test func refusesOtherTypesAndSchemes() throws {
    let affine = try QuantizationTarget(scheme: .perTensorAffine)
    let channels = try QuantizationTarget(scheme: .perChannelSymmetric)
    let integers = Tensor([Int32(1)], shape: [1])
    #expect(throws: ObserverError.notFloat32(.int32)) { try MinMaxObserver(affine).observe(integers) }
    #expect(throws: ObserverError.notFloat32(.int32)) { try PerChannelMinMaxObserver(channels).observe(integers) }
    #expect(throws: ObserverError.self) { try MinMaxObserver(channels) }
    #expect(throws: ObserverError.self) { try HistogramObserver(channels) }
    #expect(throws: ObserverError.self) { try PerChannelMinMaxObserver(affine) }
    #expect(throws: ObserverError.invalidQuantizedRange(min: -32768, max: 32767)) {
      try HistogramObserver(QuantizationTarget(scheme: .perTensorAffine, quantMin: -32768, quantMax: 32767))
    }
  }
}

@Suite struct PerChannelObserverTests {
  static func observer(axis: Int, _ scheme: QuantizationScheme = .perChannelSymmetric) throws
    -> PerChannelMinMaxObserver
  {
    try PerChannelMinMaxObserver(QuantizationTarget(scheme: scheme, quantMin: -127), axis: axis)
  }

  /// The same logical tensor in either dim order has the same ranges along every axis.
  @Test(arguments: [-4, -1, 0, 1, 2, 3])
  func dimOrderDoesNotMatter(axis: Int) throws {
    let shape: Shape = [2, 3, 4, 5]
    let planar = (0..<120).map { Float(($0 * 37) % 120) - 60 }
    var interleaved: [Float] = []
    for n in 0..<2 { for hw in 0..<20 { for c in 0..<3 { interleaved.append(planar[(n * 3 + c) * 20 + hw]) } } }
    let contiguous = try Self.observer(axis: axis)
    try contiguous.observe(Tensor(planar, shape: shape))
    let channelsLast = try Self.observer(axis: axis)
    try channelsLast.observe(Tensor(interleaved, shape: shape, dimOrder: .channelsLast))
    #expect(contiguous.minimums == channelsLast.minimums)
    #expect(contiguous.maximums == channelsLast.maximums)
    #expect(try contiguous.calculateQParams() == channelsLast.calculateQParams())
    #expect(try contiguous.calculateQParams().axis == shape.normalizedDimension(axis))
  }

  @Test func refusesWrongShapes() throws {
    let observer = try Self.observer(axis: 1)
    #expect(throws: ObserverError.axisOutOfRange(axis: 1, shape: [3])) {
      try observer.observe(Tensor([Float](repeating: 1, count: 3), shape: [3]))
    }
    #expect(throws: ObserverError.axisOutOfRange(axis: 1, shape: [])) {
      try observer.observe(Tensor([Float(1)], shape: []))
    }
    try observer.observe(Tensor([Float](repeating: 1, count: 6), shape: [2, 3]))
    #expect(throws: ObserverError.channelCountChanged(expected: 3, actual: 2, shape: [3, 2])) {
      try observer.observe(Tensor([Float](repeating: 1, count: 6), shape: [3, 2]))
    }
    #expect(throws: ObserverError.notANumber) {
      try observer.observe(Tensor([5, 5, 5, 5, .nan, 5] as [Float], shape: [2, 3]))
    }
    #expect(observer.maximums == [1, 1, 1])
  }

  @Test func affineChannelsHaveZeroPointsOfTheirOwn() throws {
    let observer = try Self.observer(axis: 0, .perChannelAffine)
    try observer.observe(Tensor([-1, 3, -3, 1] as [Float], shape: [2, 2]))
    let parameters = try observer.calculateQParams()
    #expect(parameters == QParams(perChannel: [4 / 254, 4 / 254], zeroPoints: .integers([-63, 63]), axis: 0))
  }

  @Test func floatZeroPointsNeedNotCoverZero() throws {
    let target = try QuantizationTarget(
      scheme: .perChannelAffineFloatQParams, quantMin: 0, quantMax: 255, eps: 0x1p-12)
    let observer = try PerChannelMinMaxObserver(target, axis: 0)
    try observer.observe(Tensor([1, 52, 3, 3] as [Float], shape: [2, 2]))
    // A constant row has no width: scale 1.
    #expect(
      try observer.calculateQParams()
        == QParams(perChannel: [0.2, 1], zeroPoints: .floats([-5, -3]), axis: 0))
  }
}
