import TensorCore
import Testing

struct WidenedTests {
  /// Every half: subnormals, infinities, and NaN with its payload.
  @Test func everyHalfIsExact() {
    let halves = (0...UInt16.max).map { $0 }
    let tensor = Tensor(halves.map { Int16(bitPattern: $0) }, shape: [65536])
    let floats = tensor.reinterpreted(as: TensorSpec(.float16, [65536])).widened()
    #expect(floats.dataType == .float32)
    for (bits, float) in zip(halves, floats.elements(as: Float.self)) {
      let expected = Float(Float16(bitPattern: bits))
      if expected.isNaN {
        #expect(float.isNaN && float.bitPattern & 0x7f_ffff == UInt32(bits & 0x3ff) << 13)
      } else if float.bitPattern != expected.bitPattern {
        Issue.record("half \(bits) becomes \(float), not \(expected)")
      }
    }
  }

  @Test func everyBrainFloatIsExact() {
    let tensor = Tensor((0...UInt16.max).map { Int16(bitPattern: $0) }, shape: [256, 256])
    let floats = tensor.reinterpreted(as: TensorSpec(.bfloat16, [256, 256])).widened()
    #expect(floats.spec == TensorSpec(.float32, [256, 256]))
    #expect(floats.elements(as: Float.self).map(\.bitPattern) == (0...UInt32(UInt16.max)).map { $0 << 16 })
  }

  @Test func doublesAreRoundedToNearest() {
    let values: [Double] = [0.1, 1e300, -1e300, 1e-46, 1e-40, 16_777_217, 16_777_219, -0.0, .infinity]
    let floats = Tensor(values, shape: [9]).widened().elements(as: Float.self)
    #expect(floats.map(\.bitPattern) == values.map { Float($0).bitPattern })
    #expect(floats[1] == .infinity && floats[3] == 0 && floats[5] == 16_777_216 && floats[6] == 16_777_220)
    #expect(Tensor([Double.nan], shape: []).widened().elements(as: Float.self)[0].isNaN)
  }

  @Test func otherTypesAndTheOrderInMemoryStay() {
    let ints = Tensor([1, 2] as [Int32], shape: [2])
    #expect(ints.widened().storage === ints.storage)
    let image = Tensor([1, 2, 3, 4] as [Double], shape: [1, 2, 1, 2], dimOrder: .channelsLast)
    #expect(image.widened().spec == TensorSpec(.float32, [1, 2, 1, 2], dimOrder: .channelsLast))
    #expect(image.widened().elements(as: Float.self) == [1, 2, 3, 4])
  }
}
