import Operators
import TensorCore
import Testing

extension FusedCase {
  static let movement = [
    FusedCase("fused.pad", "any rank and layout", rounds: 100) { random in
      let input = anyActivation(&random)
      let rank = input.shape.rank
      let pre = (0..<rank).map { _ in random.pick([0, 0, random.int(0...3)]) }
      let post = (0..<rank).map { _ in random.pick([0, 0, random.int(0...3)]) }
      let value = random.pick([0, 0.3, -100, 1e9])
      let result = try FusedCall(
        "fused.pad", [("self", input)], ["pre": .ints(pre), "post": .ints(post), "value": .float(value)]
      ).run()
      #expect(result.shape == Shape((0..<rank).map { input.shape[$0] + pre[$0] + post[$0] }))
      #expect(result.spec.quantization == input.spec.quantization && result.spec.dimOrder == input.spec.dimOrder)
      var fill = Double(Float(value))
      if let parameters = input.spec.quantization {
        let scaled = Float(value) * Float(1 / Double(parameters.scale))
        fill = referenceQuantum(scaled, parameters.zeroPoint, -128, 127)
      }
      let (x, got) = (Logical(input), Logical(result))
      for index in Logical.indices(result.shape) {
        let source = zip(index, pre).map { $0 - $1 }
        let isInside = zip(source, input.shape.dimensions).allSatisfy { $0 >= 0 && $0 < $1 }
        #expect(got.at(index) == (isInside ? x.at(source) : fill), "\(input.spec) \(pre) \(post) at \(index)")
      }
    },
    FusedCase("fused.cat", "any rank and layout", rounds: 80) { random in
      let first = anyActivation(&random, minimumRank: 1)
      let dim = random.int(0...first.shape.rank - 1)
      var parts = [first]
      for _ in 0..<random.int(0...3) {
        var sizes = first.shape.dimensions
        sizes[dim] = random.int(0...5)
        var spec = first.spec
        spec.shape = Shape(sizes)
        let part = random.activation(spec.dataType, spec.shape, spec.dimOrder)
        parts.append(part.reinterpreted(as: spec))
      }
      let isNegative = random.chance(2)
      let result = try FusedCall(
        "fused.cat", [], ["dim": .int(isNegative ? dim - first.shape.rank : dim)], list: parts
      ).run()
      #expect(result.shape[dim] == parts.reduce(0) { $0 + $1.shape[dim] })
      #expect(result.spec.quantization == first.spec.quantization && result.spec.dimOrder == first.spec.dimOrder)
      let got = Logical(result)
      var start = 0
      for part in parts {
        let x = Logical(part)
        for index in Logical.indices(part.shape) {
          var target = index
          target[dim] += start
          #expect(got.at(target) == x.at(index))
        }
        start += part.shape[dim]
      }
    },
    FusedCase("fused.slice", "any rank, layout and step", rounds: 100) { random in
      let input = anyActivation(&random, minimumRank: 1)
      let dim = random.int(0...input.shape.rank - 1)
      let start = random.int(0...input.shape[dim])
      let end = random.int(start...input.shape[dim])
      let step = random.pick([1, 1, 2, 3, Int.max])
      let result = try FusedCall(
        "fused.slice", [("self", input)],
        ["dim": .int(dim), "start": .int(start), "end": .int(end), "step": .int(step)]
      ).run()
      let taken = step == Int.max ? (start < end ? [start] : []) : Array(stride(from: start, to: end, by: step))
      #expect(result.shape[dim] == taken.count)
      #expect(result.spec.quantization == input.spec.quantization && result.spec.dimOrder == input.spec.dimOrder)
      let (x, got) = (Logical(input), Logical(result))
      for index in Logical.indices(result.shape) {
        var source = index
        source[dim] = taken[index[dim]]
        #expect(got.at(index) == x.at(source))
      }
    },
    FusedCase("fused.view", "bytes stay", rounds: 20) { random in
      let (n, c, h, w) = (random.int(1...3), random.int(1...5), random.int(1...3), random.int(1...3))
      let input = random.activation(.int8, [n, c, h, w], random.pick([.contiguous, .channelsLast]))
      let result = try FusedCall("fused.view", [("self", input)], ["size": .ints([n, -1])]).run()
      #expect(result.spec == TensorSpec(.int8, [n, c * h * w], quantization: input.spec.quantization))
      #expect(FusedCall.bytes(result) == FusedCall.bytes(input))
      let wide = Tensor((0..<6).map(Int64.init), shape: [6])
      let viewed = try FusedCall("fused.view", [("self", wide)], ["size": .ints([2, 3])]).run()
      #expect(viewed.spec == TensorSpec(.int64, [2, 3]) && viewed.elements(as: Int64.self) == [0, 1, 2, 3, 4, 5])
    },
    FusedCase("dim_order_ops._to_dim_order_copy.default", "both ways, any element size") { random in
      let shape: Shape = [random.int(0...2), random.int(1...70), random.int(1...9), random.int(1...9)]
      let (from, to) = random.pick([(DimOrder.contiguous, DimOrder.channelsLast), (.channelsLast, .contiguous)])
      for target in [from, to] {
        let name = target == .channelsLast ? "channels_last" : "contiguous"
        let numbers = Array(0..<shape.elementCount)
        func check<Element: TensorElement & BinaryInteger>(_ values: [Element]) throws {
          let input = Tensor(values, shape: shape, dimOrder: from)
          let result = try FusedCall(
            "dim_order_ops._to_dim_order_copy.default", [("self", input)], ["dim_order": .string(name)]
          ).run()
          #expect(result.spec == TensorSpec(Element.dataType, shape, dimOrder: target))
          let got = result.elements(as: Element.self)
          for index in Logical.indices(shape) {
            #expect(got[Logical.offset(result.spec, index)] == values[Logical.offset(input.spec, index)])
          }
        }
        switch random.int(0...3) {
        case 0: try check(numbers.map { UInt8(truncatingIfNeeded: $0) })
        case 1: try check(numbers.map { Int16(truncatingIfNeeded: $0) })
        case 2: try check(numbers.map { Int32(truncatingIfNeeded: $0) })
        default: try check(numbers.map { Int64($0) })
        }
      }
    },
  ]

  private static func anyActivation(_ random: inout FusedRandom, minimumRank: Int = 0) -> Tensor {
    let order = random.pick([DimOrder.contiguous, .channelsLast])
    let rank = order == .channelsLast ? 4 : random.int(minimumRank...5)
    let shape = Shape((0..<rank).map { _ in random.pick([1, random.int(1...5), random.int(1...5)]) })
    return random.activation(random.pick([.int8, .float32]), shape, order)
  }
}
