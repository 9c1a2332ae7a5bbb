import Operators
import TensorCore
import Testing

/// Products of activations, and operators that compute reals inside: against plain Double references.
extension FusedCase {
  static let real = [
    FusedCase("fused.matmul", "int8", rounds: 80) { random in
      let (batch, m, k, n) = (random.int(1...3), random.int(1...6), random.int(1...40), random.int(1...6))
      let isShared = random.chance(2)
      let a = random.activation(.int8, [batch, m, k], .contiguous)
      let b = random.activation(.int8, isShared ? [k, n] : [batch, k, n], .contiguous)
      let output = QuantizationParameters(scale: random.scale(0.05), zeroPoint: random.zeroPoint())
      let bounds = random.int8Bounds()
      let result = try FusedCall("fused.matmul", [("self", a), ("other", b)], bounds.attributes).run(
        quantization: output)
      let (x, y) = (Logical(a), Logical(b))
      func other(_ i: [Int], _ j: Int) -> [Int] { isShared ? [j, i[2]] : [i[0], j, i[2]] }
      let (p, q) = (a.spec.quantization!, b.spec.quantization!)
      expectInt8(result, bounds.lower, bounds.upper, "matmul \(a.spec) \(b.spec)") { i in
        let sum = (0..<k).reduce(0.0) { total, j in
          total + (x.at([i[0], i[1], j]) - Double(p.zeroPoint)) * (y.at(other(i, j)) - Double(q.zeroPoint))
        }
        return referenceQuantum(
          Float(sum) * (p.scale * q.scale / output.scale), output.zeroPoint, bounds.lower, bounds.upper)
      } simulated: { i in
        (0..<k).reduce(0.0) { $0 + x.real(at: [i[0], i[1], $1]) * y.real(at: other(i, $1)) }
      }
    },
    FusedCase("fused.softmax", "int8") { random in
      let (rows, width) = (random.int(1...5), random.int(1...9))
      let input = random.activation(.int8, [rows, width], .contiguous)
      try expectReal("fused.softmax", [("self", input)], ["dim": .int(1)], &random) { x, i in
        let largest = (0..<width).map { x.real(at: [i[0], $0]) }.max()!
        let powers = (0..<width).map { exponential(x.real(at: [i[0], $0]) - largest) }
        return powers[i[1]] / powers.reduce(0, +)
      }
    },
    FusedCase("fused.layer_norm", "int8") { random in
      let (rows, width) = (random.int(1...5), random.int(2...9))
      let input = random.activation(.int8, [rows, width], .contiguous)
      let (weight, bias) = (random.floatTensor([width]), random.floatTensor([width]))
      let (w, b) = (Logical(weight), Logical(bias))
      try expectReal(
        "fused.layer_norm", [("input", input), ("weight", weight), ("bias", bias)],
        ["normalized_shape": .ints([width]), "eps": .float(0.01)], &random
      ) { x, i in
        let values = (0..<width).map { x.real(at: [i[0], $0]) }
        let mean = values.reduce(0, +) / Double(width)
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width)
        return (values[i[1]] - mean) / (variance + 0.01).squareRoot() * w.at([i[1]]) + b.at([i[1]])
      }
    },
    FusedCase("fused.upsample_nearest2d", "int8") { random in
      let (h, w, factor) = (random.int(1...5), random.int(1...5), random.int(1...3))
      let input = random.activation(.int8, [2, 2, h, w], .contiguous)
      try expectReal(
        "fused.upsample_nearest2d", [("input", input)],
        ["output_size": .ints([h * factor, w * factor]), "scale_factors": .none], &random
      ) { x, i in x.real(at: [i[0], i[1], i[2] / factor, i[3] / factor]) }
    },
    FusedCase("fused.upsample_bilinear2d", "int8, aligned corners") { random in
      let (h, w) = (random.int(2...5), random.int(2...5))
      let input = random.activation(.int8, [1, 2, h, w], .contiguous)
      // Twice as many steps between the same corners: every other element is a mean of neighbours.
      try expectReal(
        "fused.upsample_bilinear2d", [("input", input)],
        ["output_size": .ints([2 * h - 1, 2 * w - 1]), "align_corners": .bool(true), "scale_factors": .none], &random
      ) { x, i in
        let (y, z) = (i[2] / 2, i[3] / 2)
        let (bottom, right) = ((i[2] + 1) / 2, (i[3] + 1) / 2)
        return [(y, z), (y, right), (bottom, z), (bottom, right)].reduce(0) {
          $0 + x.real(at: [i[0], i[1], $1.0, $1.1]) / 4
        }
      }
    },
    FusedCase("fused.expand", "int8 and f32, any layout") { random in
      let order: DimOrder = random.chance(2) ? .channelsLast : .contiguous
      let target = (0..<4).map { _ in random.int(1...4) }
      let sizes = target.map { random.chance(2) ? 1 : $0 }
      let input = random.activation(random.chance(2) ? .int8 : .float32, Shape(sizes), order)
      let result = try FusedCall("fused.expand", [("self", input)], ["size": .ints(target)]).run()
      #expect(result.spec.quantization == input.spec.quantization && result.spec.dimOrder == order)
      let (from, to) = (Logical(input), Logical(result))
      for index in Logical.indices(Shape(target)) {
        #expect(to.at(index) == from.at(zip(index, sizes).map { $1 == 1 ? 0 : $0 }))
      }
    },
    FusedCase("fused.pad", "between neighbours") { random in
      let sizes = [1, random.int(1...3), random.int(1...4), random.int(1...4)]
      let interior = [0, 0, random.int(0...2), random.int(0...2)]
      let (pre, post) = ([0, 0, random.int(0...2), 0], [0, 0, 0, random.int(0...2)])
      let input = random.activation(.int8, Shape(sizes), .channelsLast)
      let result = try FusedCall(
        "fused.pad", [("self", input)],
        ["pre": .ints(pre), "post": .ints(post), "interior": .ints(interior)]
      ).run()
      let (from, to) = (Logical(input), Logical(result))
      for index in Logical.indices(result.shape) {
        let place = (0..<4).map { (index[$0] - pre[$0]).quotientAndRemainder(dividingBy: interior[$0] + 1) }
        let isElement = (0..<4).allSatisfy {
          index[$0] >= pre[$0] && place[$0].remainder == 0 && place[$0].quotient < sizes[$0]
        }
        #expect(to.real(at: index) == (isElement ? from.real(at: place.map(\.quotient)) : 0))
      }
    },
    FusedCase("fused.sub", "int8 in fixed point", rounds: 100) { random in
      let size: Shape = [random.int(1...40)]
      let scale = random.scale(0.05)
      let a = QuantizationParameters(scale: scale * random.float(0.3...2), zeroPoint: random.zeroPoint())
      let b = QuantizationParameters(scale: scale * random.float(0.3...2), zeroPoint: random.zeroPoint())
      let output = QuantizationParameters(scale: scale, zeroPoint: random.zeroPoint())
      let (x, y) = (random.int8Tensor(size, .contiguous, a), random.int8Tensor(size, .contiguous, b))
      let bounds = random.int8Bounds()
      let result = try FusedCall("fused.sub", [("self", x), ("other", y)], bounds.attributes).run(quantization: output)
      // The sum with the second operand mirrored about its zero point, where int8 holds the mirror image.
      let (p, q) = (Logical(x), Logical(y))
      for (index, quantum) in result.elements(as: Int8.self).enumerated() {
        let want = simulatedQuantum(p.real(at: [index]) - q.real(at: [index]), output, bounds.lower, bounds.upper)
        #expect(abs(Double(quantum) - want) <= 1)
      }
      let mirrored = q.spec.shape.elementCount == 0 ? [] : y.elements(as: Int8.self).map { 2 * b.zeroPoint - Int32($0) }
      guard mirrored.allSatisfy({ (-128...127).contains($0) }) else { return }
      let other = Tensor(mirrored.map { Int8($0) }, shape: size).reinterpreted(as: y.spec)
      let sum = try FusedCall("fused.add", [("self", x), ("other", other)], bounds.attributes).run(quantization: output)
      #expect(sum.elements(as: Int8.self) == result.elements(as: Int8.self))
    },
    FusedCase("fused.sub", "f32") { random in
      let (x, y) = (random.floatTensor([7]), random.floatTensor([7]))
      let result = try FusedCall("fused.sub", [("self", x), ("other", y)]).run().elements(as: Float.self)
      #expect(result == zip(x.elements(as: Float.self), y.elements(as: Float.self)).map { $0 - $1 })
    },
  ]

  /// Within one quantum of the reference on the dequantized input: the f32 kernel inside rounds as it does.
  private static func expectReal(
    _ op: String, _ tensors: [(String, Tensor)], _ attributes: [String: Attribute], _ random: inout FusedRandom,
    reference: (Logical, [Int]) -> Double
  ) throws {
    let output = QuantizationParameters(scale: random.scale(0.02), zeroPoint: random.zeroPoint())
    let result = try FusedCall(op, tensors, attributes).run(quantization: output)
    let (input, quanta) = (Logical(tensors[0].1), Logical(result))
    for index in Logical.indices(result.shape) {
      let want = simulatedQuantum(reference(input, index), output, -128, 127)
      #expect(abs(quanta.at(index) - want) <= 1, "\(op) at \(index)")
    }
  }

  /// exp by its series on halves, so that the reference shares no code with the kernel.
  private static func exponential(_ x: Double) -> Double {
    if x < -0.5 { return exponential(x / 2) * exponential(x / 2) }
    var (term, sum) = (1.0, 1.0)
    for n in 1...20 {
      term *= x / Double(n)
      sum += term
    }
    return sum
  }
}

extension FusedRefusal {
  static let real = [
    FusedRefusal("fused.matmul", "inner sizes") {
      try FusedCall("fused.matmul", [("self", flat(.int8, [2, 3])), ("other", flat(.int8, [2, 3]))])
    },
    FusedRefusal("fused.matmul", "int8") {
      try FusedCall("fused.matmul", [("self", flat(.float32, [2, 3])), ("other", flat(.int8, [3, 2]))])
    },
    FusedRefusal("fused.softmax", "int8 operand") {
      try FusedCall("fused.softmax", [("self", flat(.float32))], ["dim": .int(1)])
    },
    FusedRefusal("fused.softmax", "'dim'") { try FusedCall("fused.softmax", [("self", flat())], ["dim": .int(2)]) },
    FusedRefusal("fused.softmax", "contiguous") {
      try FusedCall("fused.softmax", [("self", image())], ["dim": .int(1)])
    },
    FusedRefusal("fused.layer_norm", "normalized_shape") {
      try FusedCall("fused.layer_norm", [("input", flat())], ["normalized_shape": .ints([3])])
    },
    FusedRefusal("fused.upsample_nearest2d", "[N, C, H, W]") {
      try FusedCall(
        "fused.upsample_nearest2d", [("input", flat())], ["output_size": .ints([2, 2]), "scale_factors": .none])
    },
    FusedRefusal("fused.upsample_bilinear2d", "two sizes") {
      try FusedCall(
        "fused.upsample_bilinear2d", [("input", flat(.int8, [1, 1, 2, 2]))],
        ["output_size": .none, "align_corners": .bool(true), "scale_factors": .none])
    },
    FusedRefusal("fused.expand", "expanded") {
      try FusedCall("fused.expand", [("self", flat())], ["size": .ints([3, 4])])
    },
    FusedRefusal("fused.expand", "expanded") {
      try FusedCall("fused.expand", [("self", flat())], ["size": .ints([4])])
    },
    FusedRefusal("fused.pad", "interior") {
      try FusedCall(
        "fused.pad", [("self", flat())], ["pre": .ints([0, 0]), "post": .ints([0, 0]), "interior": .ints([-1, 0])])
    },
    FusedRefusal("fused.sub", "agree") {
      try FusedCall("fused.sub", [("self", flat()), ("other", flat(.int8, [2, 5]))])
    },
  ]
}
