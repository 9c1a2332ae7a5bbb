import Int8Kernels
import Processor
import Testing

@Suite struct AddTests {
  /// Every build, every length about that of a vector, in place or not, from extreme parameters.
  @Test(
    arguments: [1, 0.001, 0.5, 255.9, 3.7] as [Float], [(-128, -128), (127, 127), (0, -128), (5, 17)] as [(Int8, Int8)])
  func everyBuildGivesTheDefinition(ratio: Float, zeroPoints: (Int8, Int8)) throws {
    var add = i8k_add()
    let scales: [Float] = [0.05 * ratio, 0.05 * 0.3, 0.05]
    try #require(i8k_add_init(&add, scales, [zeroPoints.0, zeroPoints.1, zeroPoints.0], -120, 99))
    let shift = 20 - max(scales[0] / scales[2], scales[1] / scales[2]).exponent
    func multiplier(_ scale: Float) -> Int64 {
      Int64((Float(sign: .plus, exponent: shift, significand: 1) * (scale / scales[2])).rounded(.toNearestOrEven))
    }
    func sum(_ a: Int8, _ b: Int8) -> Int8 {
      let total =
        (Int64(a) - Int64(zeroPoints.0)) * multiplier(scales[0]) + (Int64(b) - Int64(zeroPoints.1))
        * multiplier(scales[1])
      return Int8(min(99, max(-120, ((total + 1 << (shift - 1)) >> shift) + Int64(zeroPoints.0))))
    }
    // All pairs of extremes and some between.
    let a = (0..<700).map { Int8(truncatingIfNeeded: $0 % 5 == 0 ? -128 : $0 % 7 == 0 ? 127 : $0 &* 37) }
    let b = (0..<700).map { Int8(truncatingIfNeeded: $0 % 3 == 0 ? -128 : $0 % 4 == 0 ? 127 : $0 &* 91) }
    let expected = zip(a, b).map(sum)
    for isa in (0..<CPU_ISA_COUNT.rawValue).map({ cpu_isa(rawValue: $0) }) where i8k_isa_available(isa) {
      for count in Array(1...70) + [127, 128, 129, 700] {
        var output = [Int8](repeating: 99, count: count + 32)
        i8k_add_run(isa, &add, a, b, &output, count)
        #expect(Array(output[..<count]) == Array(expected[..<count]) && output[count...].allSatisfy { $0 == 99 })
        var (first, second) = (a, b)
        first.withUnsafeMutableBufferPointer { i8k_add_run(isa, &add, $0.baseAddress, b, $0.baseAddress, count) }
        second.withUnsafeMutableBufferPointer { i8k_add_run(isa, &add, a, $0.baseAddress, $0.baseAddress, count) }
        #expect(first == Array(expected[..<count]) + a[count...] && second == Array(expected[..<count]) + b[count...])
      }
    }
  }

  @Test(arguments: [0.0009, 256, .nan, .infinity, 0, -1] as [Float])
  func ratiosOutsideTheFixedPointAreRefused(ratio: Float) {
    var add = i8k_add()
    #expect(!i8k_add_init(&add, [ratio, 1, 1], [0, 0, 0], -128, 127))
    #expect(!i8k_add_init(&add, [1, ratio, 1], [0, 0, 0], -128, 127))
  }
}
