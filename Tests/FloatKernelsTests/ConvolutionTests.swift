import FloatKernels
import Processor
import Testing
import Threads

/// A convolution and random data in [-1, 1] for it; the seed alone decides everything.
private struct Case {
  var conv = f32k_conv()
  var input: [Float] = []
  var filter: [Float] = []
  var bias: [Float] = []

  /// Any window, or with `winograd` one that is computed so.
  init(
    depthwise: Bool = false, channels: Int, groups: Int = 1, outputs: ClosedRange<Int> = 1...70, winograd: Bool = false,
    using random: inout SplitMix
  ) {
    func draw(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    (conv.depthwise, conv.groups, conv.batch) = (depthwise, groups, draw(1...3))
    (conv.dilation_height, conv.dilation_width, conv.stride_height, conv.stride_width) = (1, 1, 1, 1)
    (conv.kernel_height, conv.kernel_width) = (3, 3)
    if !winograd {
      let kernels = [1, 1, 2, 3, 3, 5, 7]
      (conv.kernel_height, conv.kernel_width) = (kernels[draw(0...6)], kernels[draw(0...6)])
      (conv.stride_height, conv.stride_width) = (draw(1...2), draw(1...3))
      (conv.dilation_height, conv.dilation_width) = (draw(1...2), draw(0...3) == 0 ? 2 : 1)
      // The windows that depthwise kernels are made for are common.
      if draw(0...1) == 0 {
        (conv.kernel_width, conv.stride_width) = (conv.kernel_height, conv.stride_height)
        (conv.dilation_height, conv.dilation_width) = (1, 1)
      }
    }
    (conv.pad_top, conv.pad_left) = (draw(0...3), draw(0...3))
    let reachY = (conv.kernel_height - 1) * conv.dilation_height + 1
    let reachX = (conv.kernel_width - 1) * conv.dilation_width + 1
    (conv.in_height, conv.in_width) = (
      max(draw(1...9), reachY - conv.pad_top), max(draw(1...14), reachX - conv.pad_left)
    )
    conv.out_height = (conv.pad_top + conv.in_height + draw(0...2) - reachY) / conv.stride_height + 1
    conv.out_width = (conv.pad_left + conv.in_width + draw(0...2) - reachX) / conv.stride_width + 1
    conv.in_channels = channels
    conv.out_channels = depthwise ? channels : groups * draw(outputs)
    conv.min = draw(0...1) == 0 ? -.infinity : -0.5
    conv.max = draw(0...1) == 0 ? .infinity : 1
    fill(using: &random)
  }

  /// Images of `size` x `size` with padding of one for a window of three.
  mutating func resize(_ size: Int, outChannels: Int, kernel: Int = 3, using random: inout SplitMix) {
    (conv.kernel_height, conv.kernel_width, conv.dilation_height, conv.dilation_width) = (kernel, kernel, 1, 1)
    (conv.stride_height, conv.stride_width, conv.pad_top, conv.pad_left) = (1, 1, kernel / 2, kernel / 2)
    (conv.in_height, conv.in_width, conv.out_height, conv.out_width) = (size, size, size, size)
    conv.out_channels = outChannels
    fill(using: &random)
  }

  /// A window and an image of one column or one line, without padding.
  mutating func lengthen(_ length: Int, isTall: Bool, using random: inout SplitMix) {
    (conv.kernel_height, conv.kernel_width) = isTall ? (length, 1) : (1, length)
    (conv.stride_height, conv.stride_width, conv.dilation_height, conv.dilation_width) = (1, 1, 1, 1)
    (conv.pad_top, conv.pad_left) = (0, 0)
    (conv.in_height, conv.in_width) = isTall ? (length + 40, 1) : (1, length + 40)
    (conv.out_height, conv.out_width) = isTall ? (41, 1) : (1, 41)
    fill(using: &random)
  }

  private mutating func fill(using random: inout SplitMix) {
    func drawn(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
    input = drawn(conv.batch * conv.in_height * conv.in_width * conv.in_channels)
    filter = drawn(conv.out_channels * conv.kernel_height * conv.kernel_width * depth)
    bias = drawn(conv.out_channels)
  }

  var depth: Int { conv.depthwise ? 1 : conv.in_channels / conv.groups }
  var outputCount: Int { conv.batch * conv.out_height * conv.out_width * conv.out_channels }

  func run(on isa: cpu_isa, threads: OpaquePointer? = nil) -> [Float] {
    var conv = conv
    conv.isa = isa
    #expect(f32k_conv_supports(&conv))
    let scratchSize = f32k_conv_scratch_size(&conv, thr_pool_count(threads))
    let packed = UnsafeMutableRawPointer.allocate(byteCount: f32k_conv_packed_size(&conv), alignment: 64)
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: scratchSize + 64, alignment: 64)
    defer {
      packed.deallocate()
      scratch.deallocate()
    }
    scratch.initializeMemory(as: UInt8.self, repeating: 0xff, count: scratchSize + 64)
    f32k_conv_pack(&conv, filter, bias, packed)
    var output = [Float](repeating: 99, count: outputCount + 64)
    f32k_conv_setup(&conv, scratch)
    f32k_conv_run(&conv, packed, input, &output, scratch, threads)
    #expect(output[outputCount...].allSatisfy { $0 == 99 }, "written past the end")
    #expect(
      UnsafeRawBufferPointer(start: scratch + scratchSize, count: 64).allSatisfy { $0 == 0xff },
      "written past the scratch memory")
    return Array(output[..<outputCount])
  }

  /// The definition in double, and how far f32 may be from it. A sum of n products is off by at most n halves of an ulp
  /// of the sum of their magnitudes. Winograd's error has no bound that is as close: with values up to 1 it is within 32
  /// halves of an ulp of the root of the number of products, as independent errors add up.
  func expectNear(_ output: [Float], winograd: Bool, _ name: String) {
    let half = 0x1p-24
    let outputs = conv.out_channels / conv.groups
    let products = Double(conv.kernel_height * conv.kernel_width * depth)
    var index = 0
    for n in 0..<conv.batch {
      for y in 0..<conv.out_height {
        for x in 0..<conv.out_width {
          for c in 0..<conv.out_channels {
            var sum = Double(bias[c])
            var magnitude = sum.magnitude
            for ky in 0..<conv.kernel_height {
              let iy = y * conv.stride_height + ky * conv.dilation_height - conv.pad_top
              guard iy >= 0, iy < conv.in_height else { continue }
              for kx in 0..<conv.kernel_width {
                let ix = x * conv.stride_width + kx * conv.dilation_width - conv.pad_left
                guard ix >= 0, ix < conv.in_width else { continue }
                let pixel = ((n * conv.in_height + iy) * conv.in_width + ix) * conv.in_channels
                let first = pixel + (conv.depthwise ? c : c / outputs * depth)
                let tap = ((c * conv.kernel_height + ky) * conv.kernel_width + kx) * depth
                for k in 0..<depth {
                  let product = Double(input[first + k]) * Double(filter[tap + k])
                  sum += product
                  magnitude += product.magnitude
                }
              }
            }
            let real = min(max(sum, Double(conv.min)), Double(conv.max))
            let tolerance = winograd ? 32 * half * products.squareRoot() : (products + 2) * half * magnitude
            let difference = (Double(output[index]) - real).magnitude
            if !(difference <= tolerance) {
              Issue.record("\(name) \(conv): place \(y), \(x), channel \(c): \(output[index]), not \(real)")
              return
            }
            index += 1
          }
        }
      }
    }
  }

  func expectEveryBuildNear() {
    for build in builds {
      var conv = conv
      conv.isa = build
      let winograd = f32k_conv_is_winograd(&conv)
      expectNear(run(on: build), winograd: winograd, String(cString: cpu_isa_name(build)))
    }
  }
}

private struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

private let builds = (0..<CPU_ISA_COUNT.rawValue).map { cpu_isa(rawValue: $0) }.filter { f32k_isa_available($0) }

@Suite struct FloatConvolutionTests {
  @Test(arguments: [false, true], Array(1...18) + [31, 32, 33, 47, 64, 65])
  func everyBuildIsNearTheDefinition(depthwise: Bool, channels: Int) {
    var random = SplitMix(state: UInt64(channels * 2 + (depthwise ? 1 : 0)))
    for _ in 0..<(depthwise ? 12 : 4) {
      Case(depthwise: depthwise, channels: channels, using: &random).expectEveryBuildNear()
    }
  }

  /// Windows with more lines than there are pointers for in tiles of all rows, and with one line as long.
  @Test(arguments: [146, 147, 160, 300])
  func longWindowsAreNearTheDefinition(length: Int) {
    var random = SplitMix(state: UInt64(length))
    for isTall in [true, false] {
      var test = Case(channels: 1, outputs: 1...20, using: &random)
      test.lengthen(length, isTall: isTall, using: &random)
      test.expectEveryBuildNear()
    }
  }

  @Test(arguments: [2, 3, 8], [1, 2, 3, 4, 7, 16, 33])
  func groupsAreNearTheDefinition(groups: Int, depth: Int) {
    var random = SplitMix(state: UInt64(groups * 100 + depth))
    Case(channels: groups * depth, groups: groups, outputs: 1...40, using: &random).expectEveryBuildNear()
  }

  @Test(arguments: [16, 17, 31, 32, 40, 67])
  func winogradIsNearTheDefinition(channels: Int) {
    var random = SplitMix(state: UInt64(channels))
    for _ in 0..<3 {
      let test = Case(channels: channels, outputs: 16...70, winograd: true, using: &random)
      var conv = test.conv
      #expect(f32k_conv_is_winograd(&conv))
      test.expectEveryBuildNear()
    }
  }

  /// Fully connected: one row, which takes several blocks of channels at once, and some.
  @Test(arguments: [1, 2, 15, 31], [1, 8, 16, 33, 128, 129, 300])
  func rowsAreNearTheDefinition(rows: Int, outputs: Int) {
    var random = SplitMix(state: UInt64(rows * 1000 + outputs))
    var test = Case(channels: 45, using: &random)
    test.conv.batch = 1
    test.resize(1, outChannels: outputs, kernel: 1, using: &random)
    (test.conv.in_width, test.conv.out_width) = (rows, rows)
    test.input = (0..<rows * 45).map { _ in Float.random(in: -1...1, using: &random) }
    test.expectEveryBuildNear()
  }

  /// Divided by rows, by output channels, by tiles and by images; also for a single row. The same images alone give the
  /// same bytes as in a batch.
  @Test(arguments: [2, 3, 5])
  func threadsAndBatchesChangeNothing(count: Int) throws {
    let threads = try #require(thr_pool_create(count))
    defer { thr_pool_delete(threads) }
    var random = SplitMix(state: UInt64(count))
    for (depthwise, size, input, output, groups, kernel) in [
      (false, 14, 64, 70, 1, 3), (false, 7, 130, 130, 1, 3), (false, 40, 3, 64, 1, 3), (true, 28, 96, 96, 1, 3),
      (true, 7, 160, 160, 1, 5), (false, 14, 33, 100, 1, 1), (false, 14, 96, 120, 3, 3), (false, 30, 48, 40, 1, 3),
      (false, 1, 700, 900, 1, 1), (false, 7, 400, 500, 1, 1), (false, 14, 32, 33, 1, 5),
    ] {
      var test = Case(depthwise: depthwise, channels: input, groups: groups, using: &random)
      test.resize(size, outChannels: output, kernel: kernel, using: &random)
      for build in builds {
        let alone = test.run(on: build)
        for _ in 0..<3 { #expect(test.run(on: build, threads: threads) == alone, "\(test.conv)") }
        var first = test
        first.conv.batch = 1
        first.input = Array(test.input[..<(size * size * input)])
        #expect(first.run(on: build, threads: threads) == Array(alone[..<(size * size * output)]), "\(test.conv)")
      }
    }
  }

  @Test(arguments: [false, true]) func notANumberStays(winograd: Bool) {
    var random = SplitMix(state: 1)
    var test = Case(channels: 20, winograd: true, using: &random)
    test.resize(6, outChannels: 20, kernel: winograd ? 3 : 1, using: &random)
    (test.conv.min, test.conv.max) = (0, 6)
    test.input = test.input.map { _ in .nan }
    for build in builds { #expect(test.run(on: build).allSatisfy { $0.isNaN }) }
  }

  @Test func refusesWhatIsTooLarge() {
    var conv = f32k_conv()
    (conv.isa, conv.groups) = (CPU_PORTABLE, 1)
    (conv.batch, conv.in_channels, conv.out_channels) = (1, 1 << 18, 1 << 18)
    (conv.in_height, conv.in_width, conv.out_height, conv.out_width) = (1, 1, 1 << 14, 1 << 14)
    (conv.kernel_height, conv.kernel_width) = (1 << 14, 1 << 14)
    (conv.stride_height, conv.stride_width, conv.dilation_height, conv.dilation_width) = (1, 1, 1, 1)
    (conv.pad_top, conv.pad_left) = (1 << 14, 1 << 14)
    #expect(!f32k_conv_supports(&conv))
  }
}
