import Operators
import TensorCore
import Testing

extension FusedCase {
  static let dynamic = [
    FusedCase("fused.dynamic_linear", "any rule", rounds: 120) { try dynamicLinear(&$0) },
    FusedCase("fused.dynamic_conv2d", "any window and groups", rounds: 80) { random in
      let groups = random.pick([1, 1, 2, 3])
      try dynamicConvolution(groups * random.int(1...7), groups * random.int(1...6), groups, &random)
    },
    FusedCase("fused.dynamic_conv2d", "depthwise", rounds: 30) { random in
      let channels = random.int(2...11)
      try dynamicConvolution(channels, channels, channels, &random)
    },
  ]

  /// The definition of a rule, written out for one group of values that share their parameters.
  private struct Chosen {
    let scale: Float
    let zeroPoint: Int
    private let rule: String
    private let range: (low: Int, high: Int)

    init(_ values: [Float], _ rule: String, _ range: (low: Int, high: Int), _ eps: Float) {
      let (least, greatest) = (min(0, values.min() ?? 0), max(0, values.max() ?? 0))
      let width = Float(range.high - range.low)
      (self.rule, self.range) = (rule, range)
      switch rule {
      case "symmetric":
        (scale, zeroPoint) = (max(eps, max(-least, greatest) / (width / 2)), 0)
      case "affine":
        scale = max(eps, (greatest - least) / width)
        let zero = range.low - Int((least / scale).rounded(.toNearestOrEven))
        zeroPoint = min(max(zero, range.low), range.high)
      default:
        scale = max(eps, (greatest - least) / width)
        let (fromLow, fromHigh) = (Float(range.low) - least / scale, Float(range.high) - greatest / scale)
        let errors = (Float(range.low) + least / scale) + (Float(range.high) + greatest / scale)
        let zero = errors > 0 ? fromLow : fromHigh
        zeroPoint = Int(min(max(zero, Float(range.low)), Float(range.high)).rounded(.toNearestOrEven))
      }
    }

    /// The quantum less the zero point.
    func centred(_ value: Float) -> Double {
      let quantum =
        rule == "token"
        ? (Double(value) * (1 / Double(scale)) + Double(zeroPoint)).rounded(.toNearestOrEven)
        : Double((value * Float(1 / Double(scale))).rounded(.toNearestOrEven)) + Double(zeroPoint)
      return min(max(quantum, Double(range.low)), Double(range.high)) - Double(zeroPoint)
    }
  }

  /// Attributes of a random rule.
  private static func rule(
    _ names: [String], _ random: inout FusedRandom
  ) -> (name: String, range: (low: Int, high: Int), eps: Float, attributes: [String: Attribute]) {
    let name = random.pick(names)
    if name == "token" { return (name, (-128, 127), .ulpOfOne, ["rule": .string(name)]) }
    let range = random.pick([(-128, 127), (-127, 127), (-100, 50), (0, 127)])
    let eps = random.pick([Float.ulpOfOne, 0x1p-12, 0x1p-4])
    return (
      name, (low: range.0, high: range.1), eps,
      [
        "rule": .string(name), "quant_min": .int(range.0), "quant_max": .int(range.1), "eps": .float(Double(eps)),
      ]
    )
  }

  private static func filter(_ shape: Shape, _ order: DimOrder, _ random: inout FusedRandom) -> Tensor {
    let quantization =
      random.chance(3)
      ? QuantizationParameters(scale: random.scale(0.01), zeroPoint: 0)
      : QuantizationParameters(perChannel: (0..<shape[0]).map { _ in random.scale(0.01) }, axis: 0)
    return random.int8Tensor(shape, order, quantization)
  }

  /// Rows of one sign, of both, and of zeros.
  private static func activation(_ shape: Shape, _ order: DimOrder, _ random: inout FusedRandom) -> Tensor {
    let low = random.pick([Float(-3), 0, 1, -2])
    let high = random.pick([Float(3), 0, 5, 1])
    let range = min(low, high)...max(low, high)
    return Tensor((0..<shape.elementCount).map { _ in random.float(range) }, shape: shape, dimOrder: order)
  }

  private static func weightScale(_ weight: Tensor, _ channel: Int) -> Float {
    guard let scales = weight.spec.quantization?.scales else { return .nan }
    return scales.count == 1 ? scales[0] : scales[channel]
  }

  private static func dynamicLinear(_ random: inout FusedRandom) throws {
    let (depth, outputs) = (random.pick([1, 7, 8, 9, random.int(1...70)]), random.int(1...13))
    let leading = random.pick([[], [1], [random.int(1...7)], [2, 3], [random.int(70...80)], [0]])
    let (input, weight) = (
      activation(Shape(leading + [depth]), .contiguous, &random), filter([outputs, depth], .contiguous, &random)
    )
    let (name, range, eps, attributes) = rule(["token", "token", "affine", "symmetric"], &random)
    let bounds = random.floatBounds()
    var tensors = [("input", input), ("weight", weight)]
    if random.chance(2) { tensors.append(("bias", random.floatTensor([outputs]))) }
    var call = try FusedCall("fused.dynamic_linear", tensors, attributes.merging(bounds.attributes) { $1 })
    if random.chance(4) { call.computed = ["weight"] }
    let result = try call.run()
    #expect(result.spec == TensorSpec(.float32, Shape(leading + [outputs])))
    let values = input.elements(as: Float.self)
    let rows = values.isEmpty ? 0 : values.count / depth
    let chosen = (0..<rows).map { row in
      Chosen(name == "token" ? Array(values[row * depth..<(row + 1) * depth]) : values, name, range, eps)
    }
    let (w, bias) = (Logical(weight), tensors.count > 2 ? Logical(tensors[2].1) : nil)
    let strides = leading.indices.map { leading[($0 + 1)...].reduce(1, *) }
    expectFloat(result, tolerance: 1e-6, "dynamic_linear \(input.spec) \(weight.spec) \(attributes)") { index in
      let row = zip(index, strides).reduce(0) { $0 + $1.0 * $1.1 }
      let channel = index[index.count - 1]
      let sum = (0..<depth).reduce(0.0) { $0 + chosen[row].centred(values[row * depth + $1]) * w.at([channel, $1]) }
      let real = sum * Double(chosen[row].scale) * Double(weightScale(weight, channel)) + (bias?.at([channel]) ?? 0)
      return min(max(real, bounds.lower), bounds.upper)
    }
  }

  private static func dynamicConvolution(
    _ channels: Int, _ outputs: Int, _ groups: Int, _ random: inout FusedRandom
  ) throws {
    let kernel = [random.int(1...3), random.int(1...4)]
    let (stride, dilation) = ([random.int(1...2), random.int(1...3)], [random.int(1...2), random.int(1...2)])
    let pad = (0..<4).map { _ in random.int(0...2) }
    let reach = [(kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1]
    let (height, width) = (reach[0] + random.int(0...4), reach[1] + random.int(0...5))
    let input = activation([random.int(1...2), channels, height, width], .channelsLast, &random)
    let weight = filter([outputs, channels / groups, kernel[0], kernel[1]], .channelsLast, &random)
    let (name, range, eps, attributes) = rule(["affine", "symmetric"], &random)
    let bounds = random.floatBounds()
    var tensors = [("input", input), ("weight", weight)]
    if random.chance(2) { tensors.append(("bias", random.floatTensor([outputs]))) }
    let call = try FusedCall(
      "fused.dynamic_conv2d", tensors,
      [
        "stride": .ints(stride), "padding": .ints(pad), "dilation": .ints(dilation), "groups": .int(groups),
      ].merging(attributes) { $1 }.merging(bounds.attributes) { $1 })
    let result = try call.run()
    let (x, w, bias) = (Logical(input), Logical(weight), tensors.count > 2 ? Logical(tensors[2].1) : nil)
    let chosen = Chosen(Logical.indices(input.shape).map { Float(x.at($0)) }, name, range, eps)
    expectFloat(result, tolerance: 1e-6, "dynamic_conv2d \(input.spec) \(weight.spec) \(call.attributes)") { index in
      let first = index[1] / (outputs / groups) * (channels / groups)
      var sum = 0.0
      for c in 0..<channels / groups {
        for ky in 0..<kernel[0] {
          for kx in 0..<kernel[1] {
            let y = index[2] * stride[0] + ky * dilation[0] - pad[0]
            let column = index[3] * stride[1] + kx * dilation[1] - pad[3]
            guard (0..<height).contains(y), (0..<width).contains(column) else { continue }
            sum += chosen.centred(Float(x.at([index[0], first + c, y, column]))) * w.at([index[1], c, ky, kx])
          }
        }
      }
      let real = sum * Double(chosen.scale) * Double(weightScale(weight, index[1])) + (bias?.at([index[1]]) ?? 0)
      return min(max(real, bounds.lower), bounds.upper)
    }
  }
}

@Suite struct DynamicRangeTests {
  /// A token with a NaN, an infinity, or a range beyond Float's gives NaN, and its neighbours what they gave without it.
  @Test(arguments: [Float.nan, .infinity, -.infinity, -.greatestFiniteMagnitude])
  func notFiniteTokens(_ value: Float) throws {
    let weight = FusedRefusal.filter([3, 4])
    let input = Tensor([1, 2, 3, 4, 3e38, value, 7, 8, -1, 0, 1, 2], shape: [3, 4])
    let result = try FusedCall("fused.dynamic_linear", [("input", input), ("weight", weight)]).run()
    #expect(result.elements(as: Float.self).map { $0.isNaN } == [0, 0, 0, 1, 1, 1, 0, 0, 0].map { $0 == 1 })
    let whole = try FusedCall(
      "fused.dynamic_linear", [("input", input), ("weight", weight)], ["rule": .string("affine")]
    ).run()
    #expect(whole.elements(as: Float.self).allSatisfy { $0.isNaN })
  }
}

extension FusedRefusal {
  private static let pixels = image(.float32)

  static let dynamic = [
    refused("linear", "must be float32", flat(), filter([3, 4])),
    refused("linear", "must be", flat(.float32), filter([3, 5])),
    refused("linear", "'weight' must be int8", flat(.float32), flat(.float32, [3, 4])),
    refused(
      "linear", "zero point of 'weight'", flat(.float32),
      filter([3, 4], QuantizationParameters(scale: 1, zeroPoint: 1))),
    refused(
      "linear", "dimension 0", flat(.float32),
      filter([3, 4], QuantizationParameters(perChannel: [1, 1, 1, 1], axis: 1))),
    refused("linear", "'rule' must be", flat(.float32), filter([3, 4]), ["rule": .string("row")]),
    refused("linear", "quant_min", flat(.float32), filter([3, 4]), ["quant_min": .int(-129)]),
    refused("linear", "quant_max", flat(.float32), filter([3, 4]), ["quant_min": .int(0), "quant_max": .int(0)]),
    refused("linear", "eps", flat(.float32), filter([3, 4]), ["eps": .float(0)]),
    refused("linear", "eps", flat(.float32), filter([3, 4]), ["eps": .float(.nan)]),
    refused(
      "linear", "output_min", flat(.float32), filter([3, 4]), ["output_min": .float(2), "output_max": .float(1)]),
    refused("conv2d", "must be float32", image(.int8), filter()),
    refused("conv2d", "no tokens", pixels, filter(), ["rule": .string("token")]),
    refused("conv2d", "groups", pixels, filter(), ["groups": .int(3)]),
    refused("conv2d", "groups", pixels, filter(), ["groups": .int(.min)]),
    refused("conv2d", "does not fit", pixels, filter(), ["dilation": .ints([4, 4])]),
    refused("conv2d", "padding", pixels, filter(), ["padding": .ints([.max, 0, 0, 0])]),
    refused("conv2d", "channels last", flat(.float32), filter()),
  ]

  private static func refused(
    _ op: String, _ words: String, _ input: Tensor, _ weight: Tensor, _ attributes: [String: Attribute] = [:]
  ) -> FusedRefusal {
    FusedRefusal("fused.dynamic_" + op, words, quantization: nil) {
      try FusedCall("fused.dynamic_" + op, [("input", input), ("weight", weight)], attributes)
    }
  }
}
