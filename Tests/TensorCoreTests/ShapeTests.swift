import TensorCore
import Testing

struct ShapeTests {
  @Test func stridesAreRowMajor() {
    #expect(Shape([2, 3, 4]).strides == [12, 4, 1])
    #expect(Shape([]).strides == [])
    #expect(Shape([]).elementCount == 1)
  }

  @Test(arguments: [[-1], [2, -3], [Int.max, 2], [1 << 32, 1 << 32], [0, -1]])
  func hostileSizesAreRefused(_ sizes: [Int]) {
    #expect(Shape(validating: sizes) == nil)
  }

  @Test func negativeDimensionsCountFromTheEnd() {
    let shape: Shape = [2, 3]
    #expect(shape.normalizedDimension(-1) == 1)
    #expect(shape.normalizedDimension(2) == nil)
    #expect(shape.normalizedDimension(-3) == nil)
  }
}

struct TensorTests {
  @Test func elementsComeBack() {
    let tensor = Tensor([1, 2, 3, 4] as [Float], shape: [2, 2])
    #expect(tensor.elements(as: Float.self) == [1, 2, 3, 4])
    #expect(tensor.spec.description == "float32[2, 2]")
  }

  @Test func anUnalignedWindowIsCopiedOnDemand() {
    let storage = Storage(byteCount: 16)
    for index in 0..<16 { storage.base.storeBytes(of: UInt8(index), toByteOffset: index, as: UInt8.self) }
    let window = Tensor(TensorSpec(.uint8, [4]), storage: storage, byteOffset: 3)
    let aligned = window.aligned()
    #expect(aligned.byteOffset == 0)
    #expect(aligned.elements(as: UInt8.self) == [3, 4, 5, 6])
  }

  @Test func quantizeRoundsHalfToEvenAndSaturates() {
    let parameters = QuantizationParameters(scale: 0.5, zeroPoint: 3)
    #expect([0, 0.25, 0.75, -0.25, 1e9, -1e9, .nan].map { parameters.quantize($0) } == [3, 3, 5, 3, 127, -128, 3])
  }

  @Test func aMissingFileIsNamed() {
    #expect { try Storage(mapping: "no/such/file") } throws: { "\($0)".hasPrefix("no/such/file: cannot open") }
  }
}
