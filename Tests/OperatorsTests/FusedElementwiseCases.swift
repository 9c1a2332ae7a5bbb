import Operators
import TensorCore
import Testing

extension FusedCase {
  static let elementwise = [
    FusedCase("fused.add", "int8 in fixed point", rounds: 150) { random in
      try binary("fused.add", ratio: random.pick([0.002, 0.1, 1, 1, 30, 250]), &random) { $0 + $1 }
    },
    FusedCase("fused.add", "int8 outside the ratios of fixed point", rounds: 40) { random in
      try binary("fused.add", ratio: random.pick([0.0001, 1000, 1e6]), &random) { $0 + $1 }
    },
    FusedCase("fused.add", "f32") { try floatBinary("fused.add", &$0) { $0 + $1 } },
    FusedCase("fused.mul", "int8", rounds: 100) { random in
      try binary("fused.mul", ratio: random.pick([0.02, 1, 20]), &random) { $0 * $1 }
    },
    FusedCase("fused.mul", "f32") { try floatBinary("fused.mul", &$0) { $0 * $1 } },
    FusedCase("fused.clamp", "int8") { random in
      let input = random.activation(.int8, shape(&random), .contiguous)
      let bounds = random.int8Bounds()
      let result = try FusedCall("fused.clamp", [("self", input)], bounds.attributes).run()
      #expect(result.spec == input.spec)
      let want = input.elements(as: Int8.self).map { Int8(max(bounds.lower, min(bounds.upper, Int($0)))) }
      #expect(result.elements(as: Int8.self) == want)
    },
    FusedCase("fused.clamp", "f32, NaN stays") { random in
      let values = (0..<random.int(1...40)).map { _ in random.chance(5) ? Float.nan : random.float(-2...2) }
      let input = Tensor(values, shape: [values.count])
      let bounds = random.floatBounds()
      let result = try FusedCall("fused.clamp", [("self", input)], bounds.attributes).run().elements(as: Float.self)
      for (got, value) in zip(result, values) {
        if value.isNaN {
          #expect(got.isNaN)
        } else {
          #expect(got == Float(min(max(Double(value), bounds.lower), bounds.upper)))
        }
      }
    },
    FusedCase("fused.lut", "int8") { random in
      let input = random.activation(.int8, shape(&random), .contiguous)
      let table = (0..<256).map { _ in Int8(random.int(-128...127)) }
      var call = try FusedCall("fused.lut", [("self", input), ("table", Tensor(table, shape: [256]))])
      if random.chance(2) { call.computed = ["table"] }
      let parameters = QuantizationParameters(scale: 0.5, zeroPoint: -3)
      let result = try call.run(quantization: parameters)
      #expect(result.spec.quantization == parameters && result.shape == input.shape)
      #expect(result.elements(as: Int8.self) == input.elements(as: Int8.self).map { table[Int($0) + 128] })
    },
  ]

  static let conversion = [
    FusedCase("fused.quantize", "ties, saturation, NaN, infinities", rounds: 100) { random in
      let parameters = QuantizationParameters(scale: random.scale(0.03), zeroPoint: random.zeroPoint())
      let special: [Float] = [
        .nan, .infinity, -.infinity, 0, -0.0, .greatestFiniteMagnitude, .leastNonzeroMagnitude, -3e9, 3e9,
      ]
      let ties = (-260...260).map { (Float($0) + 0.5) * parameters.scale }
      let values = special + ties + (0..<random.int(1...60)).map { _ in random.float(-8...8) }
      let input = Tensor(values, shape: [values.count])
      let result = try FusedCall("fused.quantize", [("self", input)]).run(quantization: parameters)
      let inverse = Float(1 / Double(parameters.scale))
      for (value, got) in zip(values, result.elements(as: Int8.self)) {
        let want =
          value.isNaN
          ? Double(parameters.zeroPoint) : referenceQuantum(value * inverse, parameters.zeroPoint, -128, 127)
        #expect(Double(got) == want, "\(value) by \(parameters)")
      }
    },
    FusedCase("fused.quantize", "and fused.dequantize into the other memory order", rounds: 20) { random in
      let shape: Shape = [random.int(1...2), random.int(1...5), random.int(1...4), random.int(1...4)]
      let parameters = QuantizationParameters(scale: random.scale(0.03), zeroPoint: random.zeroPoint())
      for (order, name) in [(DimOrder.channelsLast, "channels_last"), (.contiguous, "contiguous")] {
        let real = random.floatTensor(shape, order == .contiguous ? .channelsLast : .contiguous)
        let alike = try FusedCall("fused.quantize", [("self", real)]).run(quantization: parameters)
        let other = try FusedCall("fused.quantize", [("self", real)], ["dim_order": .string(name)])
          .run(quantization: parameters)
        let copied = try FusedCall(
          "dim_order_ops._to_dim_order_copy.default", [("self", alike)], ["dim_order": .string(name)]
        ).run(quantization: parameters)
        #expect(other.spec == copied.spec && other.spec.dimOrder == order)
        #expect(other.elements(as: Int8.self) == copied.elements(as: Int8.self))
        let back = try FusedCall(
          "fused.dequantize", [("self", other)], ["dim_order": .string("contiguous")]
        ).run()
        let want = try FusedCall("fused.dequantize", [("self", other)]).run()
        #expect(
          back.spec.dimOrder == .contiguous
            && back.rowMajor().elements(as: Float.self) == want.rowMajor().elements(as: Float.self))
      }
    },
    FusedCase("fused.dequantize", "all quanta") { random in
      let parameters = QuantizationParameters(scale: random.scale(0.03), zeroPoint: random.zeroPoint())
      let values = (-128...127).map { Int8($0) }
      let spec = TensorSpec(.int8, [1, 16, 4, 4], dimOrder: .channelsLast, quantization: parameters)
      let input = Tensor(values, shape: [256]).reinterpreted(as: spec)
      let result = try FusedCall("fused.dequantize", [("self", input)]).run()
      #expect(result.spec == TensorSpec(.float32, [1, 16, 4, 4], dimOrder: .channelsLast))
      let want = values.map { Float(Int($0) - Int(parameters.zeroPoint)) * parameters.scale }
      #expect(result.elements(as: Float.self) == want)
    },
  ]

  private static func shape(_ random: inout FusedRandom) -> Shape {
    Shape((0..<random.int(0...3)).map { _ in random.int(1...9) })
  }

  /// - Parameter ratio: Self scale over output scale, roughly; other's is within 2 of 1 for sums.
  private static func binary(
    _ op: String, ratio: Float, _ random: inout FusedRandom, _ function: (Double, Double) -> Double
  ) throws {
    let (isSum, size, outputScale) = (op == "fused.add", shape(&random), random.scale(0.05))
    let a = QuantizationParameters(scale: outputScale * ratio * random.float(0.9...1), zeroPoint: random.zeroPoint())
    let bScale = isSum ? outputScale * random.float(0.3...2) : random.scale(0.4)
    let b = QuantizationParameters(scale: bScale, zeroPoint: random.zeroPoint())
    let (isSwapped, bounds) = (random.chance(2), random.int8Bounds())
    let x = random.int8Tensor(size, .contiguous, isSwapped ? b : a)
    let y = random.int8Tensor(size, .contiguous, isSwapped ? a : b)
    let output = QuantizationParameters(scale: outputScale, zeroPoint: random.zeroPoint())
    let result = try FusedCall(op, [("self", x), ("other", y)], bounds.attributes).run(quantization: output)
    let (p, q) = (Logical(x), Logical(y))
    let exact = isSum ? referenceSum : referenceProduct
    expectInt8(result, bounds.lower, bounds.upper, "\(op) \(x.spec) \(y.spec) -> \(result.spec)") { index in
      let scaled = exact(p, q, output, index)
      return min(max(scaled + Double(output.zeroPoint), Double(bounds.lower)), Double(bounds.upper))
    } simulated: {
      function(p.real(at: $0), q.real(at: $0))
    }
  }

  /// Quanta of the sum before zero point and clamp, by whole-number division instead of shifts.
  private static func referenceSum(_ a: Logical, _ b: Logical, _ output: QuantizationParameters, _ index: [Int])
    -> Double
  {
    guard let p = a.spec.quantization, let q = b.spec.quantization else { return .nan }
    let (ra, rb) = (p.scale / output.scale, q.scale / output.scale)
    let (x, y) = (a.at(index) - Double(p.zeroPoint), b.at(index) - Double(q.zeroPoint))
    guard min(ra, rb) >= 0.0009765625, max(ra, rb) < 256 else {
      return Double(Float(x) * ra + Float(y) * rb).rounded(.toNearestOrEven)
    }
    var shift = 0
    var largest = max(Double(ra), Double(rb))
    while largest < 1_048_576 {
      largest *= 2
      shift += 1
    }
    let unit = Double(1 << shift)
    let (ma, mb) = ((Double(ra) * unit).rounded(.toNearestOrEven), (Double(rb) * unit).rounded(.toNearestOrEven))
    #expect((12...30).contains(shift))
    return ((x * ma + y * mb) / unit + 0.5).rounded(.down)
  }

  private static func referenceProduct(
    _ a: Logical, _ b: Logical, _ output: QuantizationParameters, _ index: [Int]
  ) -> Double {
    guard let p = a.spec.quantization, let q = b.spec.quantization else { return .nan }
    let product = (a.at(index) - Double(p.zeroPoint)) * (b.at(index) - Double(q.zeroPoint))
    return Double(Float(product) * (p.scale * q.scale / output.scale)).rounded(.toNearestOrEven)
  }

  private static func floatBinary(
    _ op: String, _ random: inout FusedRandom, _ function: (Float, Float) -> Float
  ) throws {
    let size = shape(&random)
    let (x, y, bounds) = (random.floatTensor(size), random.floatTensor(size), random.floatBounds())
    let result = try FusedCall(op, [("self", x), ("other", y)], bounds.attributes).run()
    let want = zip(x.elements(as: Float.self), y.elements(as: Float.self)).map {
      Float(min(max(Double(function($0, $1)), bounds.lower), bounds.upper))
    }
    #expect(result.elements(as: Float.self) == want)
  }
}
