import Operators
import TensorCore
import Testing

extension FusedCase {
  static let pooling = [
    FusedCase("fused.max_pool2d", "int8", rounds: 80) { try maxPool(.int8, &$0) },
    FusedCase("fused.max_pool2d", "f32", rounds: 50) { try maxPool(.float32, &$0) },
    FusedCase("fused.avg_pool2d", "int8", rounds: 80) { try averagePool(.int8, isGlobal: false, &$0) },
    FusedCase("fused.avg_pool2d", "int8 over the whole image") { try averagePool(.int8, isGlobal: true, &$0) },
    FusedCase("fused.avg_pool2d", "f32") { random in
      try averagePool(.float32, isGlobal: random.chance(3), &random)
    },
    FusedCase("fused.im2col", "f32") { try im2col(&$0) },
  ]

  private struct Window {
    var kernel, stride, dilation, pad: [Int]
    var size: [Int]

    init(_ random: inout FusedRandom, dilates: Bool) {
      kernel = [random.int(1...4), random.int(1...4)]
      stride = [random.int(1...3), random.int(1...3)]
      dilation = dilates ? [random.pick([1, 1, 2]), random.pick([1, 1, 3])] : [1, 1]
      pad = (0..<4).map { _ in random.int(0...2) }
      size = [0, 0]
      size[0] = max(1, (kernel[0] - 1) * dilation[0] + 1 - pad[0] - pad[2]) + random.int(0...6)
      size[1] = max(1, (kernel[1] - 1) * dilation[1] + 1 - pad[1] - pad[3]) + random.int(0...6)
    }

    var attributes: [String: Attribute] {
      ["kernel_size": .ints(kernel), "stride": .ints(stride), "padding": .ints(pad)]
    }

    /// The input indices of an output's taps inside the image.
    func taps(_ index: [Int]) -> [[Int]] {
      var result: [[Int]] = []
      for ky in 0..<kernel[0] {
        for kx in 0..<kernel[1] {
          let y = index[2] * stride[0] + ky * dilation[0] - pad[0]
          let x = index[3] * stride[1] + kx * dilation[1] - pad[3]
          if (0..<size[0]).contains(y), (0..<size[1]).contains(x) { result.append([index[0], index[1], y, x]) }
        }
      }
      return result
    }
  }

  private static func im2col(_ random: inout FusedRandom) throws {
    let window = Window(&random, dilates: true)
    let input = random.activation(
      .float32, [random.int(1...2), random.int(1...9), window.size[0], window.size[1]], .channelsLast)
    let attributes = window.attributes.merging(["dilation": .ints(window.dilation)]) { $1 }
    let result = try FusedCall("fused.im2col", [("self", input)], attributes).run()
    let (x, got) = (Logical(input), Logical(result))
    let area = window.kernel[0] * window.kernel[1]
    #expect(result.shape[1] == input.shape[1] * area)
    for index in Logical.indices(result.shape) {
      let (c, tap) = index[1].quotientAndRemainder(dividingBy: area)
      let y = index[2] * window.stride[0] + tap / window.kernel[1] * window.dilation[0] - window.pad[0]
      let z = index[3] * window.stride[1] + tap % window.kernel[1] * window.dilation[1] - window.pad[3]
      let isInside = (0..<window.size[0]).contains(y) && (0..<window.size[1]).contains(z)
      #expect(got[index[0], index[1], index[2], index[3]] == (isInside ? x[index[0], c, y, z] : 0))
    }
  }

  private static func maxPool(_ type: DataType, _ random: inout FusedRandom) throws {
    let window = Window(&random, dilates: true)
    let input = random.activation(
      type, [random.int(1...2), random.int(1...19), window.size[0], window.size[1]], .channelsLast)
    let (int8Bounds, floatBounds) = (random.int8Bounds(), random.floatBounds())
    let attributes = window.attributes.merging(["dilation": .ints(window.dilation)]) { $1 }
      .merging(type == .int8 ? int8Bounds.attributes : floatBounds.attributes) { $1 }
    let result = try FusedCall("fused.max_pool2d", [("self", input)], attributes).run()
    #expect(result.spec.quantization == input.spec.quantization)
    let (x, got) = (Logical(input), Logical(result))
    let (lower, upper) =
      type == .int8 ? (Double(int8Bounds.lower), Double(int8Bounds.upper)) : (floatBounds.lower, floatBounds.upper)
    for index in Logical.indices(result.shape) {
      let largest = window.taps(index).map { x.at($0) }.max() ?? -.infinity
      #expect(got.at(index) == min(max(largest, lower), upper), "\(input.spec) \(attributes) at \(index)")
    }
  }

  private static func averagePool(_ type: DataType, isGlobal: Bool, _ random: inout FusedRandom) throws {
    var window = Window(&random, dilates: false)
    if isGlobal {
      window.kernel = window.size
      window.pad = [0, 0, 0, 0]
    }
    let input = random.activation(
      type, [random.int(1...2), random.int(1...19), window.size[0], window.size[1]], .channelsLast)
    let (int8Bounds, floatBounds) = (random.int8Bounds(), random.floatBounds())
    let attributes = window.attributes.merging(type == .int8 ? int8Bounds.attributes : floatBounds.attributes) { $1 }
    let output = QuantizationParameters(
      scale: random.scale((input.spec.quantization?.scale ?? 1) / 2), zeroPoint: random.zeroPoint())
    let result = try FusedCall("fused.avg_pool2d", [("self", input)], attributes)
      .run(quantization: type == .int8 ? output : nil)
    if isGlobal { #expect(result.shape == [input.shape[0], input.shape[1], 1, 1]) }
    let (x, area) = (Logical(input), window.kernel[0] * window.kernel[1])
    guard let parameters = input.spec.quantization else {
      expectFloat(result, tolerance: 1e-5, "avg_pool2d \(input.spec) \(attributes)") { index in
        let mean = window.taps(index).reduce(0) { $0 + x.at($1) } / Double(area)
        return min(max(mean, floatBounds.lower), floatBounds.upper)
      }
      return
    }
    let scale = parameters.scale / (output.scale * Float(area))
    expectInt8(result, int8Bounds.lower, int8Bounds.upper, "avg_pool2d \(input.spec) \(attributes)") { index in
      let sum = window.taps(index).reduce(0) { $0 + x.at($1) - Double(parameters.zeroPoint) }
      return referenceQuantum(Float(sum) * scale, output.zeroPoint, int8Bounds.lower, int8Bounds.upper)
    } simulated: { index in
      window.taps(index).reduce(0) { $0 + x.real(at: $1) } / Double(area)
    }
  }
}
