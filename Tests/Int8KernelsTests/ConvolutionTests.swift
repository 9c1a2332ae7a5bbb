import DelegateSchema
import Int8Kernels
import Processor
import TestSupport
import Testing
import Threads

/// A convolution and random data for it; the seed alone decides everything.
private struct Case {
  var conv = i8k_conv()
  var input: [Int8] = []
  var filter: [Int8] = []
  var bias: [Int32] = []
  var scales: [Float] = []

  init(
    depthwise: Bool, channels: Int, groups: Int = 1, batch: ClosedRange<Int> = 1...2, using random: inout SplitMix
  ) {
    func draw(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    let kernels = [1, 1, 2, 3, 3, 5, 7]
    (conv.depthwise, conv.window.groupCount) = (depthwise, groups)
    conv.in.batch = draw(batch)
    conv.window.kernel = (kernels[draw(0...6)], kernels[draw(0...6)])
    conv.window.stride = (draw(1...2), draw(1...3))
    conv.window.dilation = (draw(1...2), draw(0...3) == 0 ? 2 : 1)
    conv.window.padding = (draw(0...3), draw(0...3))
    let reachY = (conv.window.kernel.height - 1) * conv.window.dilation.height + 1
    let reachX = (conv.window.kernel.width - 1) * conv.window.dilation.width + 1
    (conv.in.height, conv.in.width) = (
      max(draw(1...9), reachY - conv.window.padding.top), max(draw(1...9), reachX - conv.window.padding.left)
    )
    conv.out.height = (conv.window.padding.top + conv.in.height + draw(0...2) - reachY) / conv.window.stride.height + 1
    conv.out.width = (conv.window.padding.left + conv.in.width + draw(0...2) - reachX) / conv.window.stride.width + 1
    conv.in.channels = channels
    conv.out.channels = depthwise ? channels : groups * draw(1...70)
    let extremes: [Int8] = [-128, 127, 0, Int8(draw(-128...127))]
    conv.in_zero_point = extremes[draw(0...3)]
    conv.out_zero_point = extremes[draw(0...3)]
    conv.min = Int8(draw(0...1) == 0 ? -128 : draw(-128...0))
    conv.max = Int8(draw(0...1) == 0 ? 127 : draw(1...127))
    let taps = conv.window.kernel.height * conv.window.kernel.width * (depthwise ? 1 : channels / groups)
    // What follows the input must not matter; 16 bytes of it are readable.
    input = (0..<conv.in.batch * conv.in.height * conv.in.width * channels + 16).map { _ in Int8(draw(-128...127)) }
    filter = (0..<conv.out.channels * taps).map { _ in Int8(draw(-128...127)) }
    bias = (0..<conv.out.channels).map { _ in Int32(draw(-20000...20000)) }
    scales = (0..<conv.out.channels).map { _ in Float(draw(1...1000)) / Float(taps * 100_000) }
  }

  /// (rows, channels) times the transposed filter.
  mutating func becomeProduct(rows: Int, outChannels: Int, using random: inout SplitMix) {
    resize(1, outChannels: outChannels, using: &random)
    (conv.window.kernel, conv.window.padding) = ((1, 1), (0, 0))
    (conv.in.width, conv.out.width) = (rows, rows)
    input = (0..<rows * conv.in.channels + 16).map { _ in Int8.random(in: -128...127, using: &random) }
    filter.removeLast(filter.count - outChannels * conv.in.channels)
  }

  /// A 3 x 3 convolution with padding of images of `size` x `size`.
  mutating func resize(_ size: Int, outChannels: Int, using random: inout SplitMix) {
    (conv.window.kernel, conv.window.dilation) = ((3, 3), (1, 1))
    (conv.window.stride, conv.window.padding) = ((1, 1), (1, 1))
    (conv.in.height, conv.in.width, conv.out.height, conv.out.width) = (size, size, size, size)
    conv.out.channels = outChannels
    let taps = 9 * (conv.depthwise ? 1 : conv.in.channels / conv.window.groupCount)
    func drawn(_ count: Int) -> [Int8] { (0..<count).map { _ in Int8.random(in: -128...127, using: &random) } }
    input = drawn(conv.in.batch * size * size * conv.in.channels + 16)
    filter = drawn(outChannels * taps)
    bias = (0..<outChannels).map { _ in Int32.random(in: -20000...20000, using: &random) }
    scales = (0..<outChannels).map { _ in Float(Int.random(in: 1...1000, using: &random)) / Float(taps * 100_000) }
  }

  /// A depthwise convolution with half a window of padding of images of `size`.
  mutating func reshape(
    kernel: (Int, Int), stride: Int, dilation: Int, size: (Int, Int), using random: inout SplitMix
  ) {
    conv.window.kernel = kernel
    conv.window.stride = (stride, stride)
    conv.window.dilation = (dilation, dilation)
    conv.window.padding = (kernel.0 / 2 * dilation, kernel.1 / 2 * dilation)
    (conv.in.height, conv.in.width) = size
    (conv.out.height, conv.out.width) = ((size.0 - 1) / stride + 1, (size.1 - 1) / stride + 1)
    func drawn(_ count: Int) -> [Int8] { (0..<count).map { _ in Int8.random(in: -128...127, using: &random) } }
    input = drawn(conv.in.batch * size.0 * size.1 * conv.in.channels + 16)
    filter = drawn(conv.out.channels * kernel.0 * kernel.1)
  }

  var outputCount: Int { conv.in.batch * conv.out.height * conv.out.width * conv.out.channels }

  func run(on isa: cpu_isa, threads: OpaquePointer? = nil) -> [Int8] {
    var conv = conv
    conv.isa = isa
    #expect(i8k_conv_plan(&conv))
    let packed = UnsafeMutableRawPointer.allocate(byteCount: i8k_conv_packed_size(&conv), alignment: 64)
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: i8k_conv_scratch_size(&conv) + 64, alignment: 64)
    defer {
      packed.deallocate()
      scratch.deallocate()
    }
    i8k_conv_pack(&conv, filter, bias, scales, packed, threads)
    var output = [Int8](repeating: 99, count: outputCount + 64)
    input.withUnsafeBufferPointer { input in
      i8k_conv_setup(&conv, input.baseAddress, scratch)
      i8k_conv_run(&conv, packed, input.baseAddress, &output, scratch, threads)
    }
    #expect(output[outputCount...].allSatisfy { $0 == 99 }, "written past the end")
    return Array(output[..<outputCount])
  }

  /// The sum with `other`, which lies where the output does if `inPlace`.
  func run(on isa: cpu_isa, adding other: [Int8], _ add: i8k_add, inPlace: Bool, threads: OpaquePointer?) -> [Int8] {
    var conv = conv
    conv.isa = isa
    #expect(i8k_conv_plan(&conv))
    let packed = UnsafeMutableRawPointer.allocate(byteCount: i8k_conv_packed_size(&conv), alignment: 64)
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: i8k_conv_scratch_size(&conv) + 64, alignment: 64)
    defer {
      packed.deallocate()
      scratch.deallocate()
    }
    i8k_conv_pack(&conv, filter, bias, scales, packed, nil)
    var output = (inPlace ? other : [Int8](repeating: 99, count: outputCount)) + [Int8](repeating: 99, count: 64)
    input.withUnsafeBufferPointer { input in
      other.withUnsafeBufferPointer { other in
        output.withUnsafeMutableBufferPointer { output in
          i8k_conv_setup(&conv, input.baseAddress, scratch)
          i8k_conv_run_sum(
            &conv, packed, input.baseAddress, [add], inPlace ? UnsafePointer(output.baseAddress) : other.baseAddress,
            output.baseAddress, scratch, threads)
        }
      }
    }
    #expect(output[outputCount...].allSatisfy { $0 == 99 }, "written past the end")
    return Array(output[..<outputCount])
  }

  /// Straight from the definition.
  func expected() -> [Int8] {
    var output: [Int8] = []
    let inputZero = Int32(conv.in_zero_point)
    let outputZero = Int32(conv.out_zero_point)
    let low = Float(Int32(conv.min) - outputZero)
    let high = Float(Int32(conv.max) - outputZero)
    let depth = conv.depthwise ? 1 : conv.in.channels / conv.window.groupCount
    let outputs = conv.out.channels / conv.window.groupCount
    for n in 0..<conv.in.batch {
      for y in 0..<conv.out.height {
        for x in 0..<conv.out.width {
          for c in 0..<conv.out.channels {
            var sum = bias[c]
            for ky in 0..<conv.window.kernel.height {
              let iy = y * conv.window.stride.height + ky * conv.window.dilation.height - conv.window.padding.top
              guard iy >= 0, iy < conv.in.height else { continue }
              for kx in 0..<conv.window.kernel.width {
                let ix = x * conv.window.stride.width + kx * conv.window.dilation.width - conv.window.padding.left
                guard ix >= 0, ix < conv.in.width else { continue }
                let pixel = ((n * conv.in.height + iy) * conv.in.width + ix) * conv.in.channels
                let tap = ((c * conv.window.kernel.height + ky) * conv.window.kernel.width + kx) * depth
                for k in 0..<depth {
                  sum +=
                    (Int32(input[pixel + (conv.depthwise ? c : c / outputs * depth + k)]) - inputZero)
                    * Int32(filter[tap + k])
                }
              }
            }
            let real = min(max(Float(sum) * scales[c], low), high)
            output.append(Int8(Int32(real.rounded(.toNearestOrEven)) + outputZero))
          }
        }
      }
    }
    return output
  }
}

struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

private let builds = (0..<CPU_ISA_COUNT.rawValue).map { cpu_isa(rawValue: $0) }.filter { i8k_isa_available($0) }

@Suite struct ConvolutionTests {
  /// Every number of channels up to a block and a bit, on every build of this processor.
  @Test(arguments: [false, true], Array(1...33) + [47, 64, 65, 100, 130])
  func everyBuildGivesTheDefinition(depthwise: Bool, channels: Int) {
    var random = SplitMix(state: UInt64(channels * 2 + (depthwise ? 1 : 0)))
    for _ in 0..<(channels < 34 ? 6 : 3) {
      let test = Case(depthwise: depthwise, channels: channels, using: &random)
      let expected = test.expected()
      for build in builds {
        #expect(test.run(on: build) == expected, "\(String(cString: cpu_isa_name(build))) \(test.conv)")
      }
    }
  }

  /// Every number of output channels beyond a block, in groups too, with batches that need pointers moved.
  @Test(arguments: [1, 2], Array(1...24))
  func sumsWithAnotherTensorAreConvolutionAndSum(groups: Int, seed: Int) throws {
    var random = SplitMix(state: UInt64(seed))
    var test = Case(depthwise: false, channels: groups * seed, groups: groups, using: &random)
    if seed % 3 == 0 { test.resize(20, outChannels: groups * 40, using: &random) }
    let other = (0..<test.outputCount).map { _ in Int8.random(in: -128...127, using: &random) }
    var add = i8k_add()
    try #require(i8k_add_init(&add, [0.03, Float(seed) * 0.01, 0.05], [3, Int8(seed), -128], -100, 120))
    var expected = [Int8](repeating: 0, count: other.count)
    i8k_add_run(CPU_PORTABLE, &add, test.expected(), other, &expected, other.count)
    let threads = thr_pool_create(2)
    defer { thr_pool_delete(threads) }
    for build in builds {
      for inPlace in [false, true] {
        #expect(test.run(on: build, adding: other, add, inPlace: inPlace, threads: nil) == expected)
        #expect(test.run(on: build, adding: other, add, inPlace: inPlace, threads: threads) == expected)
      }
    }
  }

  /// Few rows have several sums of each output: depths that these divide, and that leave a rest.
  @Test(arguments: Array(1...5) + [13, 14, 15, 29], [1, 4, 12, 16, 20, 28, 64, 100])
  func productsGiveTheDefinition(rows: Int, depth: Int) {
    var random = SplitMix(state: UInt64(rows * 1000 + depth))
    for outputs in [1, 16, 17, 32, 40] {
      var test = Case(depthwise: false, channels: depth, batch: 1...1, using: &random)
      test.becomeProduct(rows: rows, outChannels: outputs, using: &random)
      let expected = test.expected()
      for build in builds {
        #expect(test.run(on: build) == expected, "\(String(cString: cpu_isa_name(build))) \(outputs) channels")
      }
    }
  }

  /// Sums at both ends of int32, scales at both ends of what is allowed: everything is at a bound or at the zero point.
  @Test(arguments: [false, true])
  func hugeSumsAreClamped(depthwise: Bool) {
    var random = SplitMix(state: 3)
    for channels in [4, 16, 32, 64, 70] {
      var test = Case(depthwise: depthwise, channels: channels, using: &random)
      let taps = Int32(test.filter.count / test.conv.out.channels)
      let room = taps * 255 * 128
      for c in test.bias.indices {
        test.bias[c] = c % 2 == 0 ? Int32.max - room : Int32.min + room
        test.scales[c] = c % 3 == 0 ? Float(1).nextDown : c % 3 == 1 ? .leastNormalMagnitude : 0.001
      }
      let expected = test.expected()
      for build in builds {
        #expect(test.run(on: build) == expected, "\(String(cString: cpu_isa_name(build))) \(test.conv)")
      }
    }
  }

  /// Windows with kernels of their own and others, channels that fill a block in part, images down to one place.
  @Test(arguments: [(3, 3), (5, 5), (3, 5), (5, 3), (7, 7), (1, 7)], 1...3)
  func depthwiseWindowsGiveTheDefinition(kernel: (Int, Int), stride: Int) {
    var random = SplitMix(state: UInt64(kernel.0 * 100 + kernel.1 * 10 + stride))
    for channels in [1, 16, 17, 24, 32, 33, 64, 96, 112, 144, 200] {
      let size = (Int.random(in: 1...20, using: &random), Int.random(in: 1...20, using: &random))
      for dilation in channels % 3 == 0 ? [1, 2] : [1] {
        var test = Case(depthwise: true, channels: channels, using: &random)
        test.reshape(kernel: kernel, stride: stride, dilation: dilation, size: size, using: &random)
        let expected = test.expected()
        for build in builds {
          #expect(test.run(on: build) == expected, "\(String(cString: cpu_isa_name(build))) \(test.conv)")
        }
      }
    }
  }

  /// More images than there are pointers for, the last of them fewer.
  @Test(arguments: [false, true], [1, 3, 16, 70])
  func largeBatchesGiveTheDefinition(depthwise: Bool, channels: Int) {
    var random = SplitMix(state: UInt64(channels * 2 + (depthwise ? 1 : 0)))
    var large = 0
    while large < 4 {
      let test = Case(depthwise: depthwise, channels: channels, batch: 12...60, using: &random)
      guard test.conv.out.height * test.conv.out.width * test.conv.in.batch > 600 else { continue }
      large += 1
      let expected = test.expected()
      for build in builds {
        #expect(test.run(on: build) == expected, "\(String(cString: cpu_isa_name(build))) \(test.conv)")
      }
    }
  }

  @Test(arguments: [2, 3, 8], [1, 2, 3, 4, 7, 16, 33])
  func groupsGiveTheDefinition(groups: Int, depth: Int) {
    var random = SplitMix(state: UInt64(groups * 100 + depth))
    for batch in [1...2, 30...40] {
      let test = Case(depthwise: false, channels: groups * depth, groups: groups, batch: batch, using: &random)
      let expected = test.expected()
      for build in builds {
        #expect(test.run(on: build) == expected, "\(String(cString: cpu_isa_name(build))) \(test.conv)")
      }
    }
  }

  /// Large enough to be divided: by rows, by output channels, with a padded copy, over images.
  @Test(arguments: [2, 3, 5])
  func threadsChangeNothing(count: Int) throws {
    let threads = try #require(thr_pool_create(count))
    defer { thr_pool_delete(threads) }
    var random = SplitMix(state: UInt64(count))
    for (depthwise, size, input, output, batch, groups) in [
      (false, 14, 64, 70, 1, 1), (false, 7, 130, 130, 1, 1), (false, 40, 3, 64, 2, 1), (true, 28, 96, 96, 1, 1),
      (true, 7, 160, 160, 3, 1), (true, 13, 40, 40, 1, 1), (false, 14, 33, 100, 5, 1), (false, 14, 96, 120, 2, 3),
    ] {
      var test = Case(
        depthwise: depthwise, channels: input, groups: groups, batch: batch...batch, using: &random)
      test.resize(size, outChannels: output, using: &random)
      for build in builds {
        let alone = test.run(on: build)
        for _ in 0..<3 { #expect(test.run(on: build, threads: threads) == alone, "\(test.conv)") }
      }
    }
  }

  /// Before they are scaled: x - x_zp times the filter plus bias, for whole and half blocks of channels.
  @Test(arguments: [1, 15, 16, 17, 33, 64, 70])
  func sumsAreTheDefinition(outputs: Int) {
    var random = SplitMix(state: UInt64(outputs))
    let (rows, depth, stride) = (31, 37, (outputs + 15) / 16 * 16)
    var test = Case(depthwise: false, channels: depth, batch: 1...1, using: &random)
    test.becomeProduct(rows: rows, outChannels: outputs, using: &random)
    let input = test.input
    for build in builds {
      test.conv.isa = build
      #expect(i8k_conv_plan(&test.conv))
      let packed = UnsafeMutableRawPointer.allocate(byteCount: i8k_conv_packed_size(&test.conv), alignment: 64)
      defer { packed.deallocate() }
      i8k_conv_pack(&test.conv, test.filter, test.bias, test.scales, packed, nil)
      var sums = [Int32](repeating: 99, count: rows * stride + 32)
      i8k_conv_sums(&test.conv, packed, input, &sums, stride, nil, nil)
      #expect(sums[(rows * stride)...].allSatisfy { $0 == 99 }, "written past the end")
      for row in 0..<rows {
        for c in 0..<outputs {
          var sum = test.bias[c]
          for k in 0..<depth {
            sum += (Int32(input[row * depth + k]) - Int32(test.conv.in_zero_point)) * Int32(test.filter[c * depth + k])
          }
          #expect(sums[row * stride + c] == sum, "\(String(cString: cpu_isa_name(build))) row \(row) channel \(c)")
        }
      }
    }
  }

  @Test func refusesWhatIsTooLarge() {
    var conv = i8k_conv()
    (conv.isa, conv.window.groupCount) = (CPU_PORTABLE, 1)
    (conv.in.batch, conv.in.channels, conv.out.channels) = (1, 1 << 18, 1 << 18)
    (conv.in.height, conv.in.width, conv.out.height, conv.out.width) = (1, 1, 1 << 14, 1 << 14)
    conv.window.kernel = (1 << 14, 1 << 14)
    (conv.window.stride, conv.window.dilation) = ((1, 1), (1, 1))
    conv.window.padding = (1 << 14, 1 << 14)
    #expect(!i8k_conv_plan(&conv))
  }
}
