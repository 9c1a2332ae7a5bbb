import Operators
import TensorCore
import Testing

extension FusedCase {
  static let convolution = [
    FusedCase("fused.conv2d", "int8, any window and groups", rounds: 120) { random in
      let groups = random.pick([1, 1, 1, 2, 3])
      try convolve(.int8, groups * random.int(1...11), groups * random.int(1...9), groups, &random)
    },
    FusedCase("fused.conv2d", "int8, in several strips", rounds: 2) { random in
      try convolve(.int8, 24, 1, 1, isWide: true, &random)
    },
    FusedCase("fused.conv2d", "int8 depthwise", rounds: 80) { random in
      let channels = random.int(1...19)
      try convolve(.int8, channels, channels, channels, &random)
    },
    FusedCase("fused.conv2d", "int8 depthwise with multiplier", rounds: 20) { random in
      let channels = random.int(2...5)
      try convolve(.int8, channels, channels * 2, channels, &random)
    },
    FusedCase("fused.conv2d", "f32, any window and groups") { random in
      let groups = random.pick([1, 1, 2, 3])
      try convolve(.float32, groups * random.int(1...9), groups * random.int(1...11), groups, &random)
    },
    FusedCase("fused.conv2d", "f32, in several strips", rounds: 2) { random in
      try convolve(.float32, 24, 2, 2, isWide: true, &random)
    },
    FusedCase("fused.conv2d", "f32 depthwise") { random in
      let channels = random.int(1...11)
      try convolve(.float32, channels, channels, channels, &random)
    },
  ]

  static let sumOfConvolution = [
    FusedCase("fused.add_conv2d", "is fused.conv2d and fused.add", rounds: 60) { random in
      let (channels, outputs, kernel) = (random.int(1...9), random.int(1...9), random.int(1...3))
      let input = random.activation(.int8, [random.int(1...2), channels, 5, 4], .channelsLast)
      let weight = weights(.int8, [outputs, channels, kernel, kernel], .channelsLast, &random)
      var operands = [("input", input), ("weight", weight)]
      if random.chance(2) { operands.append(("bias", bias(.int8, outputs, &random))) }
      let window: [String: Attribute] = ["padding": .int(1), "stride": .int(random.int(1...2))]
      let (inner, outer) = (random.int8Bounds(), random.int8Bounds())
      let product = outputQuantization(input, depth: channels * kernel * kernel, &random)
      let convolution = try FusedCall("fused.conv2d", operands, window.merging(inner.attributes) { $1 })
        .run(quantization: product)
      let other = random.activation(.int8, convolution.shape, .channelsLast)
      // Also outside the ratios of fixed point.
      let scale = random.pick([1, 1, 1, 1e-4, 1e4]) * random.scale(0.05)
      let output = QuantizationParameters(scale: scale, zeroPoint: random.zeroPoint())
      let want = try FusedCall("fused.add", [("self", convolution), ("other", other)], outer.attributes)
        .run(quantization: output)
      var attributes = window.merging(outer.attributes) { $1 }
      attributes["conv_min"] = inner.attributes["output_min"]
      attributes["conv_max"] = inner.attributes["output_max"]
      attributes["conv_scale"] = .float(Double(product.scale))
      attributes["conv_zero_point"] = .int(Int(product.zeroPoint))
      var call = try FusedCall("fused.add_conv2d", [("self", other)] + operands, attributes)
      call.computed = random.pick([["input"], ["input", "weight", "bias"]])
      let result = try call.run(quantization: output)
      #expect(result.spec == want.spec && result.elements(as: Int8.self) == want.elements(as: Int8.self))
    },
    FusedCase("fused.cat_conv2d", "puts fused.conv2d into its channels", rounds: 60) { random in
      let (channels, outputs, kernel) = (random.int(1...9), random.int(1...9), random.int(1...3))
      let input = random.activation(.int8, [random.int(1...2), channels, 5, 4], .channelsLast)
      let operands = [
        ("input", input), ("weight", weights(.int8, [outputs, channels, kernel, kernel], .channelsLast, &random)),
      ]
      let output = outputQuantization(input, depth: channels * kernel * kernel, &random)
      let part = try FusedCall("fused.conv2d", operands).run(quantization: output)
      let (before, after) = (random.int(0...5), random.int(0...5))
      var shape = part.shape.dimensions
      shape[1] = before + outputs + after
      let other = random.int8Tensor(Shape(shape), .channelsLast, output)
      let attributes: [String: Attribute] = ["start": .int(before), "channels": .int(shape[1])]
      var call = try FusedCall("fused.cat_conv2d", [("self", other)] + operands, attributes)
      call.computed = ["input"]
      let (got, want, rest) = (Logical(try call.run(quantization: output)), Logical(part), Logical(other))
      let alone = Logical(try FusedCall("fused.cat_conv2d", operands, attributes).run(quantization: output))
      for n in 0..<shape[0] {
        for c in 0..<shape[1] {
          for y in 0..<shape[2] {
            for x in 0..<shape[3] {
              let isPart = (before..<before + outputs).contains(c)
              let expected = isPart ? want[n, c - before, y, x] : rest[n, c, y, x]
              #expect(got[n, c, y, x] == expected && (!isPart || alone[n, c, y, x] == expected))
            }
          }
        }
      }
    },
  ]

  static let linear = [
    FusedCase("fused.linear", "int8", rounds: 80) { try multiply(.int8, &$0) },
    FusedCase("fused.linear", "f32") { try multiply(.float32, &$0) },
  ]

  /// Weights of that shape, outputs first; int8 per tensor or per channel.
  private static func weights(
    _ type: DataType, _ shape: Shape, _ order: DimOrder, _ random: inout FusedRandom
  ) -> Tensor {
    if type == .float32 { return random.floatTensor(shape, order) }
    let quantization =
      random.chance(3)
      ? QuantizationParameters(scale: random.scale(0.01), zeroPoint: 0)
      : QuantizationParameters(perChannel: (0..<shape[0]).map { _ in random.scale(0.01) }, axis: 0)
    return random.int8Tensor(shape, order, quantization)
  }

  private static func bias(_ type: DataType, _ count: Int, _ random: inout FusedRandom) -> Tensor {
    if type == .float32 { return random.floatTensor([count]) }
    return Tensor((0..<count).map { _ in Int32(random.int(-20_000...20_000)) }, shape: [count])
  }

  /// An output scale of the results' magnitude.
  private static func outputQuantization(_ input: Tensor, depth: Int, _ random: inout FusedRandom)
    -> QuantizationParameters
  {
    let spread = (input.spec.quantization?.scale ?? 1) * 0.01 * 70 * 70 * Float(depth).squareRoot() / 60
    return QuantizationParameters(scale: random.scale(spread), zeroPoint: random.zeroPoint())
  }

  private static func convolve(
    _ type: DataType, _ channels: Int, _ outputs: Int, _ groups: Int, isWide: Bool = false,
    _ random: inout FusedRandom
  ) throws {
    let kernel = isWide ? [3, 1] : [random.int(1...4), random.int(1...4)]
    let dilation = isWide ? [1, 1] : [random.pick([1, 1, 2, 3]), random.pick([1, 1, 2])]
    let pad = (0..<4).map { _ in random.pick([0, 0, 1, random.int(0...5)]) }
    let effective = [(kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1]
    let height = isWide ? random.int(13...15) : max(1, effective[0] - pad[0] - pad[2]) + random.int(0...6)
    let width = (isWide ? 380 : max(1, effective[1] - pad[1] - pad[3])) + random.int(0...6)
    let stride = [random.int(1...3), isWide ? 1 : random.int(1...3)]
    let input = random.activation(type, [isWide ? 1 : random.int(1...2), channels, height, width], .channelsLast)
    let weight = weights(type, [outputs, channels / groups, kernel[0], kernel[1]], .channelsLast, &random)
    var tensors = [("input", input), ("weight", weight)]
    if random.chance(2) { tensors.append(("bias", bias(type, outputs, &random))) }
    let int8Bounds = random.int8Bounds()
    let floatBounds = random.floatBounds()
    var call = try FusedCall(
      "fused.conv2d", tensors,
      [
        "stride": .ints(stride), "padding": .ints(pad), "dilation": .ints(dilation), "groups": .int(groups),
      ].merging(type == .int8 ? int8Bounds.attributes : floatBounds.attributes) { $1 })
    if random.chance(4) { call.computed = random.pick([["weight"], ["bias"], ["weight", "bias"]]) }
    let depth = kernel[0] * kernel[1] * channels / groups
    let result = try call.run(
      quantization: type == .int8 ? outputQuantization(input, depth: depth, &random) : nil)
    #expect(
      result.shape == [
        input.shape[0], outputs, (height + pad[0] + pad[2] - effective[0]) / stride[0] + 1,
        (width + pad[1] + pad[3] - effective[1]) / stride[1] + 1,
      ])
    let (x, w) = (Logical(input), Logical(weight))
    // Pairs of (activation, weight) indices that one output sums; taps in the padding are real zeros, left out.
    func terms(_ index: [Int]) -> [([Int], [Int])] {
      var result: [([Int], [Int])] = []
      let group = index[1] / (outputs / groups)
      for c in 0..<channels / groups {
        for ky in 0..<kernel[0] {
          for kx in 0..<kernel[1] {
            let (y, column) = (
              index[2] * stride[0] + ky * dilation[0] - pad[0], index[3] * stride[1] + kx * dilation[1] - pad[3]
            )
            guard (0..<height).contains(y), (0..<width).contains(column) else { continue }
            result.append(([index[0], group * (channels / groups) + c, y, column], [index[1], c, ky, kx]))
          }
        }
      }
      return result
    }
    compare(
      result, x, w, tensors.count > 2 ? Logical(tensors[2].1) : nil,
      bounds: (int8Bounds.lower, int8Bounds.upper), floatBounds: (floatBounds.lower, floatBounds.upper),
      "conv2d \(input.spec) \(weight.spec) \(call.attributes)", terms)
  }

  private static func multiply(_ type: DataType, _ random: inout FusedRandom) throws {
    let (depth, outputs) = (random.pick([1, 7, 8, 9, random.int(1...70)]), random.int(1...13))
    let leading = random.pick([[], [1], [random.int(1...7)], [2, 3], [random.int(70...80)]])
    let input = random.activation(type, Shape(leading + [depth]), .contiguous)
    let weight = weights(type, [outputs, depth], .contiguous, &random)
    var tensors = [("input", input), ("weight", weight)]
    if random.chance(2) { tensors.append(("bias", bias(type, outputs, &random))) }
    let int8Bounds = random.int8Bounds()
    let floatBounds = random.floatBounds()
    var call = try FusedCall(
      "fused.linear", tensors, type == .int8 ? int8Bounds.attributes : floatBounds.attributes)
    if random.chance(4) { call.computed = ["weight"] }
    let result = try call.run(
      quantization: type == .int8 ? outputQuantization(input, depth: depth, &random) : nil)
    #expect(result.shape == Shape(leading + [outputs]))
    compare(
      result, Logical(input), Logical(weight), tensors.count > 2 ? Logical(tensors[2].1) : nil,
      bounds: (int8Bounds.lower, int8Bounds.upper), floatBounds: (floatBounds.lower, floatBounds.upper),
      "linear \(input.spec) \(weight.spec)"
    ) { index in (0..<depth).map { (index.dropLast() + [$0], [index[index.count - 1], $0]) } }
  }

  private static func compare(
    _ result: Tensor, _ x: Logical, _ w: Logical, _ bias: Logical?, bounds: (Int, Int), floatBounds: (Double, Double),
    _ comment: String, _ terms: ([Int]) -> [([Int], [Int])]
  ) {
    let channelAxis = result.shape.rank == 4 && result.spec.dimOrder == .channelsLast ? 1 : result.shape.rank - 1
    guard let output = result.spec.quantization, let input = x.spec.quantization,
      let scales = w.spec.quantization?.scales
    else {
      expectFloat(result, tolerance: 2e-5, comment) { index in
        let sum = terms(index).reduce(bias?[index[channelAxis]] ?? 0) { $0 + x.at($1.0) * w.at($1.1) }
        return min(max(sum, floatBounds.0), floatBounds.1)
      }
      return
    }
    func weightScale(_ index: [Int]) -> Float { scales.count == 1 ? scales[0] : scales[index[channelAxis]] }
    expectInt8(result, bounds.0, bounds.1, comment) { index in
      // Whole numbers below 2⁵³: Double is exact.
      let sum = terms(index).reduce(bias?[index[channelAxis]] ?? 0) {
        $0 + (x.at($1.0) - Double(input.zeroPoint)) * w.at($1.1)
      }
      let scale = input.scale * weightScale(index) / output.scale
      return referenceQuantum(Float(Int32(sum)) * scale, output.zeroPoint, bounds.0, bounds.1)
    } simulated: { index in
      let start = (bias?[index[channelAxis]] ?? 0) * Double(input.scale) * Double(weightScale(index))
      return terms(index).reduce(start) { $0 + x.real(at: $1.0) * w.real(at: $1.1) }
    }
  }
}
