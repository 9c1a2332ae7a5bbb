import DelegateSchema
import FloatKernels
import Processor
import TestSupport
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
    (conv.depthwise, conv.window.groupCount, conv.in.batch) = (depthwise, groups, draw(1...3))
    (conv.window.stride, conv.window.dilation) = ((1, 1), (1, 1))
    conv.window.kernel = (3, 3)
    if !winograd {
      let kernels = [1, 1, 2, 3, 3, 5, 7]
      conv.window.kernel = (kernels[draw(0...6)], kernels[draw(0...6)])
      conv.window.stride = (draw(1...2), draw(1...3))
      conv.window.dilation = (draw(1...2), draw(0...3) == 0 ? 2 : 1)
      // The windows that depthwise kernels are made for are common.
      if draw(0...1) == 0 {
        (conv.window.kernel.width, conv.window.stride.width) = (conv.window.kernel.height, conv.window.stride.height)
        conv.window.dilation = (1, 1)
      }
    }
    conv.window.padding = (draw(0...3), draw(0...3))
    let reachY = (conv.window.kernel.height - 1) * conv.window.dilation.height + 1
    let reachX = (conv.window.kernel.width - 1) * conv.window.dilation.width + 1
    (conv.in.height, conv.in.width) = (
      max(draw(1...9), reachY - conv.window.padding.top), max(draw(1...14), reachX - conv.window.padding.left)
    )
    conv.out.height = (conv.window.padding.top + conv.in.height + draw(0...2) - reachY) / conv.window.stride.height + 1
    conv.out.width = (conv.window.padding.left + conv.in.width + draw(0...2) - reachX) / conv.window.stride.width + 1
    conv.in.channels = channels
    conv.out.channels = depthwise ? channels : groups * draw(outputs)
    conv.min = draw(0...1) == 0 ? -.infinity : -0.5
    conv.max = draw(0...1) == 0 ? .infinity : 1
    fill(using: &random)
  }

  /// Images of `size` x `size` with padding of one for a window of three.
  mutating func resize(_ size: Int, outChannels: Int, kernel: Int = 3, using random: inout SplitMix) {
    (conv.window.kernel, conv.window.dilation) = ((kernel, kernel), (1, 1))
    (conv.window.stride, conv.window.padding) = ((1, 1), (kernel / 2, kernel / 2))
    (conv.in.height, conv.in.width, conv.out.height, conv.out.width) = (size, size, size, size)
    conv.out.channels = outChannels
    fill(using: &random)
  }

  /// A window and an image of one column or one line, without padding.
  mutating func lengthen(_ length: Int, isTall: Bool, using random: inout SplitMix) {
    conv.window.kernel = isTall ? (length, 1) : (1, length)
    (conv.window.stride, conv.window.dilation) = ((1, 1), (1, 1))
    conv.window.padding = (0, 0)
    (conv.in.height, conv.in.width) = isTall ? (length + 40, 1) : (1, length + 40)
    (conv.out.height, conv.out.width) = isTall ? (41, 1) : (1, 41)
    fill(using: &random)
  }

  private mutating func fill(using random: inout SplitMix) {
    func drawn(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
    input = drawn(conv.in.batch * conv.in.height * conv.in.width * conv.in.channels)
    filter = drawn(conv.out.channels * conv.window.kernel.height * conv.window.kernel.width * depth)
    bias = drawn(conv.out.channels)
  }

  var depth: Int { conv.depthwise ? 1 : conv.in.channels / conv.window.groupCount }
  var outputCount: Int { conv.in.batch * conv.out.height * conv.out.width * conv.out.channels }

  func run(on isa: cpu_isa, threads: OpaquePointer? = nil) -> [Float] {
    var conv = conv
    conv.isa = isa
    #expect(f32k_conv_plan(&conv))
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
    let outputs = conv.out.channels / conv.window.groupCount
    let products = Double(conv.window.kernel.height * conv.window.kernel.width * depth)
    var index = 0
    for n in 0..<conv.in.batch {
      for y in 0..<conv.out.height {
        for x in 0..<conv.out.width {
          for c in 0..<conv.out.channels {
            var sum = Double(bias[c])
            var magnitude = sum.magnitude
            for ky in 0..<conv.window.kernel.height {
              let iy = y * conv.window.stride.height + ky * conv.window.dilation.height - conv.window.padding.top
              guard iy >= 0, iy < conv.in.height else { continue }
              for kx in 0..<conv.window.kernel.width {
                let ix = x * conv.window.stride.width + kx * conv.window.dilation.width - conv.window.padding.left
                guard ix >= 0, ix < conv.in.width else { continue }
                let pixel = ((n * conv.in.height + iy) * conv.in.width + ix) * conv.in.channels
                let first = pixel + (conv.depthwise ? c : c / outputs * depth)
                let tap = ((c * conv.window.kernel.height + ky) * conv.window.kernel.width + kx) * depth
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
      #expect(f32k_conv_plan(&conv))
      expectNear(run(on: build), winograd: conv.shape.winograd, String(cString: cpu_isa_name(build)))
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
      conv.isa = CPU_PORTABLE
      #expect(f32k_conv_plan(&conv) && conv.shape.winograd)
      test.expectEveryBuildNear()
    }
  }

  /// Fully connected: one row, which takes several blocks of channels at once, and some.
  @Test(arguments: [1, 2, 15, 31], [1, 8, 16, 33, 128, 129, 300])
  func rowsAreNearTheDefinition(rows: Int, outputs: Int) {
    var random = SplitMix(state: UInt64(rows * 1000 + outputs))
    var test = Case(channels: 45, using: &random)
    test.conv.in.batch = 1
    test.resize(1, outChannels: outputs, kernel: 1, using: &random)
    (test.conv.in.width, test.conv.out.width) = (rows, rows)
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
        first.conv.in.batch = 1
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
    (conv.isa, conv.window.groupCount) = (CPU_PORTABLE, 1)
    (conv.in.batch, conv.in.channels, conv.out.channels) = (1, 1 << 18, 1 << 18)
    (conv.in.height, conv.in.width, conv.out.height, conv.out.width) = (1, 1, 1 << 14, 1 << 14)
    conv.window.kernel = (1 << 14, 1 << 14)
    (conv.window.stride, conv.window.dilation) = ((1, 1), (1, 1))
    conv.window.padding = (1 << 14, 1 << 14)
    #expect(!f32k_conv_plan(&conv))
  }
}
