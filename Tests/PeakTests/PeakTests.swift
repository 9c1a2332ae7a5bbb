import Peak
import Processor
import Testing

@Suite struct PeakTests {
  /// Work that the compiler removed would still be counted, hence only the counts are tested here.
  @Test(arguments: [CPU_PORTABLE, CPU_AVX2, CPU_AVX512_VNNI].filter(cpu_isa_available).map(\.rawValue))
  func loopsCountTheirWork(_ number: UInt32) {
    let isa = cpu_isa(rawValue: number)
    for peak in [peak_int8, peak_float] {
      #expect(peak(isa, 1) > 0)
      #expect(peak(isa, 1000) == 1000 * peak(isa, 1))
      #expect(peak(isa, 0) == 0)
    }
  }

  @Test func readingStaysInsideTheBuffer() {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 64)
    defer { buffer.deallocate() }
    buffer.initializeMemory(as: UInt8.self, repeating: 1)
    for (size, read) in [(0, 0), (511, 0), (512, 512), (1030, 1024), (4096, 4096)] {
      #expect(peak_read(buffer.baseAddress, size) == UInt64(read))
    }
  }
}
