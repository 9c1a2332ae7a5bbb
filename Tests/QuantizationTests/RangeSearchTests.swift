import TensorCore
import TestSupport
import Testing

@testable import Quantization

/// The observers that torchao lacks: their ranges by properties and by plain reference computations.
@Suite struct RangeSearchTests {
  private static let streams: [(name: String, values: [Float])] = {
    var random = SeededGenerator(seed: 7)
    func bell() -> Float { (0..<4).map { _ in Float.random(in: -1...1, using: &random) }.reduce(0, +) }
    let plain = (0..<20_000).map { _ in bell() }
    return [
      ("bell", plain), ("relu", plain.map { max($0, 0) }), ("outliers", plain + [60, -35, 44]),
      ("cubed", plain.map { $0 * $0 * $0 }), ("negative", plain.map { -abs($0) - 0.1 }),
    ]
  }()

  private func observer(
    _ constructor: ObserverConstructor, _ values: [Float], scheme: QuantizationScheme = .perTensorAffine
  ) throws -> HistogramObserver {
    let observer = try constructor.make(QuantizationTarget(scheme: scheme, eps: 0x1p-12), 0)
    try observer.observe(Tensor(values, shape: [values.count]))
    return try #require(observer as? HistogramObserver)
  }

  /// The mean squared error of really quantizing.
  private func error(_ values: [Float], _ parameters: QParams) -> Double {
    guard case .integers(let zeros) = parameters.zeroPoints else { return .nan }
    let (scale, zeroPoint) = (parameters.scales[0], Float(zeros[0]))
    return values.reduce(0.0) { sum, value in
      let quantum = max(-128, min(127, (value / scale).rounded(.toNearestOrEven) + zeroPoint))
      return sum + Double((value - (quantum - zeroPoint) * scale) * (value - (quantum - zeroPoint) * scale))
    } / Double(values.count)
  }

  @Test(arguments: streams.indices)
  func leastSquaresBeatsTheWholeRangeAndTorchaos(_ index: Int) throws {
    let values = Self.streams[index].values
    let mse = error(values, try observer(.mse, values).calculateQParams())
    let target = try QuantizationTarget(scheme: .perTensorAffine, eps: 0x1p-12)
    let whole = try target.parameters(min: values.min()!, max: values.max()!)
    // Bins stand for their values: 1 % is the histogram's own resolution.
    #expect(mse <= error(values, QParams(scale: whole.scale, zeroPoint: whole.zeroPoint)) * 1.01)
    #expect(mse <= error(values, try observer(.histogram, values).calculateQParams()) * 1.01)
  }

  /// Against trying every pair of ends on a coarser grid, with the values themselves.
  @Test(arguments: streams.indices)
  func leastSquaresIsNearTheBestPair(_ index: Int) throws {
    let values = Array(Self.streams[index].values.suffix(3000))
    let mse = error(values, try observer(.mse, values).calculateQParams())
    let target = try QuantizationTarget(scheme: .perTensorAffine, eps: 0x1p-12)
    var best = Double.infinity
    for i in 1...24 {
      for j in 1...24 {
        let (low, high) = (min(values.min()!, 0) * Float(i) / 24, max(values.max()!, 0) * Float(j) / 24)
        guard low < high else { continue }
        let (scale, zeroPoint) = try target.parameters(min: low, max: high)
        best = min(best, error(values, QParams(scale: scale, zeroPoint: zeroPoint)))
      }
    }
    #expect(mse <= best * 1.02)
  }

  @Test(arguments: streams.indices)
  func percentilesAreThoseOfTheSortedValues(_ index: Int) throws {
    let values = Self.streams[index].values
    let sorted = values.sorted()
    let width = (sorted.last! - sorted[0]) / 2048
    for percent in [100, 99.99, 99.9, 99, 75] {
      let range = try observer(.percentile(percent), values).searchedRange()
      let left = Int(Double(values.count) * (100 - percent) / 100)
      // Among equal values a bin cannot tell which are left out.
      #expect(
        range.min >= sorted[max(0, left - 1)] - 2 * width
          && range.min <= sorted[min(left + 1, sorted.count - 1)] + 2 * width)
      let right = sorted.count - 1 - left
      #expect(
        range.max <= sorted[min(sorted.count - 1, right + 1)] + 2 * width
          && range.max >= sorted[max(0, right - 1)] - 2 * width)
    }
    let whole = try observer(.percentile(100), values).searchedRange()
    #expect(whole.min == sorted[0] && whole.max == sorted.last!)
  }

  @Test func entropyClipsOutliersAndKeepsAnEvenSpread() throws {
    let clipped = try observer(.entropy, Self.streams[2].values).searchedRange()
    #expect(clipped.max < 20 && clipped.max > 1.5 && clipped.min > -20 && clipped.min < -1.5)
    var random = SeededGenerator(seed: 3)
    let even = (0..<50_000).map { _ in Float.random(in: 0...1, using: &random) }
    #expect(try observer(.entropy, even).searchedRange().max > 0.9)
  }

  /// Half of the values of a ReLU are 0, which every scale holds exactly; they must not narrow the range.
  @Test func entropyIsNotLedByTheZerosOfAReLU() throws {
    let values = Self.streams[1].values
    let entropy = try observer(.entropy, values)
    let whole = try observer(.percentile(100), values)
    #expect(try entropy.searchedRange().max > 0.5 * values.max()!)
    #expect(try error(values, entropy.calculateQParams()) < 4 * error(values, whole.calculateQParams()))
  }

  @Test(arguments: [ObserverConstructor.percentile(99.9), .mse, .entropy])
  func degenerateStreamsHaveParameters(_ constructor: ObserverConstructor) throws {
    for values in [[0], [0, 0, 0], [3.5, 3.5], [-2], [1e-42, 0], [-1e30, 1e30], [-0.0]] as [[Float]] {
      for scheme in [QuantizationScheme.perTensorAffine, .perTensorSymmetric] {
        let parameters = try observer(constructor, values, scheme: scheme).calculateQParams()
        #expect(parameters.scales[0].isFinite && parameters.scales[0] > 0, "\(values)")
      }
    }
  }

  @Test(arguments: [50, 100.5, -1, .nan])
  func percentilesAreChecked(_ percent: Double) throws {
    let target = try QuantizationTarget(scheme: .perTensorAffine)
    #expect(throws: ObserverError.self) { try ObserverConstructor.percentile(percent).make(target, 0) }
    #expect(throws: ObserverError.self) { try MovingAverageMinMaxObserver(target, averagingConstant: Float(percent)) }
  }
}
