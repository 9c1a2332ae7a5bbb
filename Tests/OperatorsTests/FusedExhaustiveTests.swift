import Operators
import TensorCore
import Testing

/// All pairs of quanta, and very many means and sums, at scales in small whole ratios: results fall on ties, where the
/// order of the definition's Float operations and the direction of rounding show.
@Suite struct FusedExhaustiveTests {
  /// Scales of self, other and output, in 64ths.
  static let scales: [[Float]] = [
    [64, 64, 64], [32, 64, 64], [16, 32, 128], [3, 5, 7], [1, 3, 9], [7, 11, 13], [5, 2, 3], [10, 6, 192], [9, 9, 6],
  ]

  @Test(arguments: scales)
  func everyPairOfQuanta(_ sixtyFourths: [Float]) throws {
    let zeroPoints: [Int32] = [-7, 12, 5]
    let parameters = zip(sixtyFourths, zeroPoints).map { QuantizationParameters(scale: $0 / 64, zeroPoint: $1) }
    let quanta = (-128...127).map { Int8($0) }
    let first = quanta.flatMap { [Int8](repeating: $0, count: 256) }
    let second = [[Int8]](repeating: quanta, count: 256).flatMap { $0 }
    func tensor(_ values: [Int8], _ index: Int) -> Tensor {
      Tensor(values, shape: [256, 256])
        .reinterpreted(as: TensorSpec(.int8, [256, 256], quantization: parameters[index]))
    }
    let operands = [("self", tensor(first, 0)), ("other", tensor(second, 1))]
    let sums = try FusedCall("fused.add", operands).run(quantization: parameters[2]).elements(as: Int8.self)
    let products = try FusedCall("fused.mul", operands).run(quantization: parameters[2]).elements(as: Int8.self)
    let (ra, rb) = (parameters[0].scale / parameters[2].scale, parameters[1].scale / parameters[2].scale)
    let unit = Float(sign: .plus, exponent: 20 - max(ra, rb).exponent, significand: 1)
    let (ma, mb) = (Double((ra * unit).rounded(.toNearestOrEven)), Double((rb * unit).rounded(.toNearestOrEven)))
    let productScale = parameters[0].scale * parameters[1].scale / parameters[2].scale
    var failures = 0
    for i in first.indices {
      let (x, y) = (Int(first[i]) - Int(zeroPoints[0]), Int(second[i]) - Int(zeroPoints[1]))
      let sum = ((Double(x) * ma + Double(y) * mb) / Double(unit) + 0.5).rounded(.down) + Double(zeroPoints[2])
      if Double(sums[i]) != min(max(sum, -128), 127) { failures += 1 }
      if Double(products[i]) != referenceQuantum(Float(x * y) * productScale, zeroPoints[2], -128, 127) {
        failures += 1
      }
    }
    #expect(failures == 0)
  }

  @Test(arguments: [[1, 6], [3, 3], [7, 7], [2, 5], [1, 18]])
  func veryManyMeans(_ kernel: [Int]) throws {
    var random = FusedRandom(seed: 3)
    let channels = 2048
    for (input, output) in [(5, 3), (5, 6), (5, 9), (3, 19), (1, 25), (1, 1)] as [(Float, Float)] {
      let parameters = QuantizationParameters(scale: input / 64, zeroPoint: 3)
      let target = QuantizationParameters(scale: output / 64, zeroPoint: -5)
      let image = random.int8Tensor([1, channels, kernel[0], kernel[1]], .channelsLast, parameters)
      let result = try FusedCall(
        "fused.avg_pool2d", [("self", image)], ["kernel_size": .ints(kernel), "stride": .int(1)]
      ).run(quantization: target).elements(as: Int8.self)
      let values = image.elements(as: Int8.self)
      let area = kernel[0] * kernel[1]
      let scale = parameters.scale / (target.scale * Float(area))
      let failures = (0..<channels).count { channel in
        let sum = (0..<area).reduce(0) { $0 + Int(values[$1 * channels + channel]) - 3 }
        return Double(result[channel]) != referenceQuantum(Float(sum) * scale, -5, -128, 127)
      }
      #expect(failures == 0, "\(kernel) \(input) \(output)")
    }
  }

  /// Sums −20000…20000 through the bias; the weights meet inputs that stand for 0.
  @Test(arguments: [[3, 3, 5], [3, 3, 11], [3, 3, 21], [1, 1, 1], [2, 1, 3]] as [[Float]])
  func everySumOfALinear(_ scales: [Float]) throws {
    let sums = (-20_000...20_000).map { Int32($0) }
    let input = TensorSpec(.int8, [1, 1], quantization: QuantizationParameters(scale: scales[0] / 64, zeroPoint: 9))
    let weight = TensorSpec(
      .int8, [sums.count, 1], quantization: QuantizationParameters(scale: scales[1] / 64, zeroPoint: 0))
    let target = QuantizationParameters(scale: scales[2] / 16, zeroPoint: 4)
    let result = try FusedCall(
      "fused.linear",
      [
        ("input", Tensor([Int8(9)], shape: [1, 1]).reinterpreted(as: input)),
        ("weight", Tensor([Int8](repeating: 77, count: sums.count), shape: weight.shape).reinterpreted(as: weight)),
        ("bias", Tensor(sums, shape: [sums.count])),
      ]
    ).run(quantization: target).elements(as: Int8.self)
    let scale = scales[0] / 64 * (scales[1] / 64) / target.scale
    let failures = zip(result, sums).count { Double($0) != referenceQuantum(Float($1) * scale, 4, -128, 127) }
    #expect(failures == 0)
  }
}
