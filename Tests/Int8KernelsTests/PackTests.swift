import DelegateSchema
import Int8Kernels
import Processor
import TestSupport
import Testing
import Threads

/// Packed filters are what kernels.h says, byte by byte: a file of packed weights outlives the build that wrote it.
@Suite struct PackTests {
  private static let half = 16
  private static let whole = 32

  /// (O, taps, I) by its definition: for each block of channels bias, scales and (taps, I / 4, width, 4) weights.
  private func expected(
    _ conv: i8k_conv, inputOffset: Int32, filter: [Int8], bias: [Int32], scales: [Float]
  ) -> [UInt8] {
    let (outputs, depth) = (conv.out.channels / conv.window.groupCount, conv.in.channels / conv.window.groupCount)
    let taps = conv.window.kernel.height * conv.window.kernel.width
    let quads = (depth + 3) / 4
    var bytes: [UInt8] = []
    for group in 0..<conv.window.groupCount {
      for first in stride(from: 0, to: outputs, by: PackTests.whole) {
        let count = min(PackTests.whole, outputs - first)
        let width = count > PackTests.half ? PackTests.whole : PackTests.half
        let channels = (0..<width).map { $0 < count ? group * outputs + first + $0 : nil }
        func weight(_ channel: Int?, _ tap: Int, _ k: Int) -> Int8 {
          guard let channel, k < depth else { return 0 }
          return filter[(channel * taps + tap) * depth + k]
        }
        for channel in channels {
          var sum: Int32 = 0
          for tap in 0..<taps { for k in 0..<depth { sum &+= Int32(weight(channel, tap, k)) } }
          let folded = (channel.map { bias[$0] } ?? 0) &- (inputOffset &+ Int32(conv.in_zero_point)) &* sum
          withUnsafeBytes(of: folded) { bytes += $0 }
        }
        for channel in channels { withUnsafeBytes(of: channel.map { scales[$0] } ?? 0) { bytes += $0 } }
        for tap in 0..<taps {
          for quad in 0..<quads {
            for channel in channels {
              for k in 0..<4 { bytes.append(UInt8(bitPattern: weight(channel, tap, quad * 4 + k))) }
            }
          }
        }
      }
    }
    return bytes
  }

  /// Depths with and without a remainder, blocks that are full, half full and neither, extreme weights, several threads.
  @Test(arguments: [
    (36, 70, 3, 1), (64, 64, 1, 1), (50, 24, 1, 1), (272, 1000, 1, 1), (120, 99, 3, 3), (200, 33, 3, 1),
  ])
  func filtersAreLaidOutAsDefined(inputs: Int, outputs: Int, kernel: Int, groups: Int) throws {
    var random = SplitMix(state: UInt64(inputs * outputs))
    let threads = try #require(thr_pool_create(2))
    defer { thr_pool_delete(threads) }
    let count = outputs * inputs / groups * kernel * kernel
    for isExtreme in [false, true] {
      let filter = (0..<count).map { _ in isExtreme ? Int8.min : Int8.random(in: -128...127, using: &random) }
      let bias = (0..<outputs).map { _ in Int32.random(in: -1_000_000...1_000_000, using: &random) }
      let scales = (0..<outputs).map { _ in Float.random(in: 0.001...0.9, using: &random) }
      for (isa, inputOffset) in [(CPU_PORTABLE, Int32(0)), (CPU_AVX2, 0), (CPU_AVX512_VNNI, 128)]
      where i8k_isa_available(isa) {
        var conv = i8k_conv()
        (conv.isa, conv.window.groupCount, conv.in.batch) = (isa, groups, 1)
        (conv.in.height, conv.in.width, conv.in.channels) = (5, 5, inputs)
        (conv.out.height, conv.out.width, conv.out.channels) = (5, 5, outputs)
        conv.window.kernel = (kernel, kernel)
        (conv.window.stride, conv.window.dilation) = ((1, 1), (1, 1))
        conv.window.padding = (kernel / 2, kernel / 2)
        (conv.in_zero_point, conv.out_zero_point, conv.min, conv.max) = (-7, 3, -128, 127)
        #expect(i8k_conv_plan(&conv))
        let definition = expected(conv, inputOffset: inputOffset, filter: filter, bias: bias, scales: scales)
        #expect(i8k_conv_packed_size(&conv) == definition.count)
        for threads in [nil, threads] {
          let packed = UnsafeMutableRawPointer.allocate(byteCount: definition.count, alignment: 64)
          defer { packed.deallocate() }
          packed.initializeMemory(as: UInt8.self, repeating: 0x5a, count: definition.count)
          i8k_conv_pack(&conv, filter, bias, scales, packed, threads)
          let bytes = UnsafeRawBufferPointer(start: packed, count: definition.count)
          #expect(bytes.elementsEqual(definition), "\(String(cString: cpu_isa_name(isa)))")
        }
      }
    }
  }

  /// Given weights are told by their size: filters packed by rows have another than those packed by places.
  @Test(arguments: [1, 3, 4, 7, 11, 16])
  func layoutsDifferInSize(channels: Int) {
    var conv = i8k_conv()
    (conv.isa, conv.window.groupCount, conv.in.batch) = (i8k_isa(), 1, 1)
    (conv.in.height, conv.in.width, conv.in.channels) = (9, 9, channels)
    (conv.out.height, conv.out.width, conv.out.channels) = (3, 3, 24)
    conv.window.kernel = (3, 3)
    (conv.window.stride, conv.window.dilation) = ((3, 3), (1, 1))
    #expect(i8k_conv_plan(&conv) && conv.shape.by_rows)
    let byRows = i8k_conv_packed_size(&conv)
    (conv.window.dilation.width, conv.window.stride.width) = (2, 2)
    #expect(i8k_conv_plan(&conv) && !conv.shape.by_rows)
    #expect(i8k_conv_packed_size(&conv) != byRows)
  }
}
