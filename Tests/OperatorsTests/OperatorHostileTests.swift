import TensorCore
import TestSupport
import Testing

@testable import Operators

/// Arguments no exporter writes: whatever they are, operators answer with a result or an error.
@Suite struct OperatorHostileTests {
  private static let integers = [
    Int.min, Int.min + 1, -(1 << 32), -(1 << 31), -129, -3, -2, -1, 0, 1, 2, 3, 5, 64, 255, 1 << 31, (1 << 31) - 1,
    1 << 32,
    1 << 62, Int.max - 1, Int.max,
  ]
  private static let types: [DataType] = [.float32, .int8, .int32, .int64, .uint8, .float64]

  /// Outputs above this are inferred, but not computed.
  private static let computedElements = 1 << 12

  private struct Generator {
    var random: FusedRandom

    mutating func integer() -> Int { random.chance(3) ? random.pick(integers) : random.int(-2...4) }
    mutating func double() -> Double {
      random.pick([0, 1, -1, 0.1, 1e-40, 1e300, -1e300, .nan, .infinity, -.infinity, 127.5, 3e38])
    }

    /// One size or the type changed. A size may be too large for memory, for `infer` only.
    mutating func changed(_ spec: TensorSpec) -> TensorSpec {
      if random.chance(4) { return TensorSpec(random.pick(types), spec.shape) }
      var sizes = spec.shape.dimensions
      switch random.int(0...3) {
      case 0: sizes.insert(random.pick([1, 2]), at: 0)
      case 1 where !sizes.isEmpty: sizes.removeLast()
      case _ where !sizes.isEmpty:
        sizes[random.int(0...sizes.count - 1)] = random.pick([0, 1, 2, 3, 4, 5, 8, 1 << 20, 1 << 31, 1 << 40])
      default: break
      }
      return TensorSpec(spec.dataType, Shape(validating: sizes) ?? spec.shape)
    }

    mutating func attribute(_ kind: Schema.Kind) -> Attribute {
      if random.chance(20) { return random.pick([.none, .string("x"), .int(1), .ints([]), .bools([true])]) }
      switch kind {
      case .int, .optionalInt: return .int(integer())
      case .float, .optionalFloat: return random.chance(4) ? .int(integer()) : .float(double())
      case .bool: return .bool(random.chance(2))
      case .string: return .string(random.chance(2) ? "constant" : "reflect")
      case .dataType: return .dataType(random.pick(DataType.allCases))
      case .ints(let count):
        let count = random.chance(4) ? random.int(0...5) : count ?? random.int(0...4)
        return .ints((0..<count).map { _ in integer() })
      case .floats: return .floats((0..<random.int(0...3)).map { _ in double() })
      case .tensor, .optionalTensor, .tensors: return .none
      }
    }

    /// A golden call with some of its arguments and shapes changed.
    mutating func call(_ op: Operator, _ cases: [OpCase]) -> OperatorCall {
      let model = random.pick(cases)
      var arguments = model.arguments
      for parameter in op.schema.parameters {
        switch (parameter.kind, arguments[parameter.name]) {
        case (.tensor, .tensor), (.optionalTensor, .tensor):
          if random.chance(40) { arguments[parameter.name] = random.chance(2) ? nil : .tensor(integer()) }
        case (.tensors, .tensors(let indices)):
          if random.chance(10) { arguments[parameter.name] = .tensors(indices + [random.chance(2) ? 0 : integer()]) }
        case (.tensor, _), (.optionalTensor, _), (.tensors, _): break
        default:
          if random.chance(4) { arguments[parameter.name] = .attribute(attribute(parameter.kind)) }
        }
      }
      let isChanged = random.chance(3)
      let inputs = model.inputs.map { isChanged && random.chance(2) ? changed($0.spec) : $0.spec }
      return OperatorCall(
        op: op, node: "node", arguments: arguments, inputs: inputs,
        constants: [Tensor?](repeating: nil, count: inputs.count))
    }

    /// Any bits: NaNs, infinities and extreme integers among them.
    mutating func tensor(_ spec: TensorSpec) -> Tensor {
      Tensor(unsafeUninitialized: spec) { bytes in
        for i in bytes.indices { bytes[i] = UInt8(truncatingIfNeeded: random.bits()) }
      }
    }
  }

  @Test(arguments: OperatorSet.atenOperators.map(\.name) + OperatorSet.quantizedDecomposedOperators.map(\.name))
  func neverTraps(operatorName: String) throws {
    let op = try #require(OperatorSet.standard[operatorName])
    var generator = Generator(random: FusedRandom(seed: UInt64(operatorName.utf8.count)))
    var computed = 0
    let cases = try OperatorGolden.cases.get().filter { $0.operatorName == operatorName }
    for _ in 0..<2000 {
      let call = generator.call(op, cases)
      guard let outputs = try? op.infer(call) else { continue }
      #expect(outputs.count >= 1 && outputs[0].shape.elementCount >= 0)
      let isSmall = (outputs + call.inputs).allSatisfy { $0.shape.elementCount <= Self.computedElements }
      guard isSmall else { continue }
      _ = try op.execute(call, inputs: call.inputs.map { generator.tensor($0) })
      computed += 1
    }
    #expect(computed >= 100, "too few calls got as far as the kernel")
  }

  @Test func sliceStepOfAnySize() throws {
    let op = try #require(OperatorSet.standard["aten.slice.Tensor"])
    let input = Tensor([0, 1, 2, 3, 4, 5] as [Int32], shape: [3, 2])
    let call = OperatorCall(op, [input.spec], ["dim": .int(0), "start": .int(1), "step": .int(.max)])
    #expect(try op.execute(call, inputs: [input])[0].elements(as: Int32.self) == [2, 3])
  }

  @Test func notANumberQuantizesToTheZeroPoint() throws {
    let input = Tensor([.nan, -.nan, .infinity, -.infinity] as [Float], shape: [4])
    let bounds: [String: Attribute] = ["quant_min": .int(-128), "quant_max": .int(127), "dtype": .dataType(.int8)]
    let perTensor = try #require(OperatorSet.standard["quantized_decomposed.quantize_per_tensor.default"])
    let call = OperatorCall(
      perTensor, [input.spec], bounds.merging(["scale": .float(0.5), "zero_point": .int(-7)]) { $1 })
    #expect(try perTensor.execute(call, inputs: [input])[0].elements(as: Int8.self) == [-7, -7, 127, -128])
    let perChannel = try #require(OperatorSet.standard["quantized_decomposed.quantize_per_channel.default"])
    let scales = Tensor([1, 1, .nan, 0] as [Double], shape: [4])
    let zeroPoints = Tensor([5, .max, 6, 0] as [Int64], shape: [4])
    let channelCall = OperatorCall(
      perChannel, [input.spec, scales.spec, zeroPoints.spec], bounds.merging(["axis": .int(0)]) { $1 })
    let quanta = try perChannel.execute(channelCall, inputs: [input, scales, zeroPoints])[0].elements(as: Int8.self)
    #expect(quanta == [5, 127, 6, -128])
  }
}
