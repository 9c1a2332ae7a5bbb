import PipelineTesting
import Swiftlet
import Testing

@testable import XNNPACKBackend

/// Each delegated node against its portable kernel on random shapes: identical bytes in int8.
struct DelegatedNodeTests {
  static let types: [DataType] = [.int8, .float32]

  private func bounds(_ random: inout Random, _ type: DataType) -> [(String, CallArgument)] {
    guard random.next(0...1) == 1 else { return [] }
    return type == .int8
      ? [("output_min", .attribute(.float(-100))), ("output_max", .attribute(.float(90)))]
      : [("output_min", .attribute(.float(0))), ("output_max", .attribute(.float(1)))]
  }

  @Test(arguments: types, 0..<40)
  func convolution2D(_ type: DataType, _ seed: Int) throws {
    var random = Random(seed)
    let isDepthwise = seed % 3 == 0
    let groups = isDepthwise ? random.next(1...40) : random.next(1...3)
    let inPerGroup = isDepthwise ? 1 : random.next(1...19)
    let outPerGroup = isDepthwise ? 1 : random.next(1...37)
    let (kh, kw) = (random.next(1...5), random.next(1...5))
    let (sh, sw) = (random.next(1...2), random.next(1...2))
    let (dh, dw) = isDepthwise ? (1, 1) : (random.next(1...2), random.next(1...2))
    let pads = [random.next(0...2), random.next(0...2), random.next(0...2), random.next(0...2)]
    let (h, w) = ((kh - 1) * dh + random.next(1...12), (kw - 1) * dw + random.next(1...12))
    let oh = (h + pads[0] + pads[2] - (kh - 1) * dh - 1) / sh + 1
    let ow = (w + pads[1] + pads[3] - (kw - 1) * dw - 1) / sw + 1
    let hasBias = random.next(0...3) > 0
    let input = random.activation([1, groups * inPerGroup, h, w], type)
    let weight = random.weight([groups * outPerGroup, inPerGroup, kh, kw], type, perChannel: seed % 2 == 0)
    var arguments: [(String, CallArgument)] = [
      ("input", .tensor(0)), ("weight", .tensor(1)), ("stride", .attribute(.ints([sh, sw]))),
      ("padding", .attribute(.ints(pads))), ("dilation", .attribute(.ints([dh, dw]))),
      ("groups", .attribute(.int(groups))),
    ]
    var inputs = [input, weight]
    if hasBias {
      arguments.append(("bias", .tensor(2)))
      inputs.append(random.bias(groups * outPerGroup, type))
    }
    try SingleNode(
      operatorName: "fused.conv2d", arguments: arguments + bounds(&random, type), inputs: inputs,
      constantIndices: Set(1..<inputs.count),
      output: random.output([1, groups * outPerGroup, oh, ow], type, scale: random.float(0.02, 0.3))
    ).expectDelegateEqualsPortable()
  }

  /// On XNNPACK's kernels and on ours, in place and not.
  @Test(arguments: 0..<40)
  func sumOfConvolution2D(_ seed: Int) throws {
    var random = Random(seed)
    let groups = random.next(1...3)
    let (inputs, outputs) = (groups * random.next(2...19), groups * random.next(4...37))
    let (kernel, stride, pad) = (random.next(1...4), random.next(1...2), random.next(0...2))
    let size = kernel + random.next(1...12)
    let outputSize = (size + 2 * pad - kernel) / stride + 1
    let shape: Shape = [random.next(1...2), outputs, outputSize, outputSize]
    let product = QuantizationParameters(scale: random.float(0.02, 0.3), zeroPoint: Int32(random.next(-128...127)))
    let isBounded = random.next(0...1) == 1
    var tensors = [
      random.activation(shape, .int8), random.activation([shape[0], inputs, size, size], .int8),
      random.weight([outputs, inputs / groups, kernel, kernel], .int8, perChannel: seed % 2 == 0),
    ]
    var arguments: [(String, CallArgument)] = [
      ("self", .tensor(0)), ("input", .tensor(1)), ("weight", .tensor(2)), ("stride", .attribute(.int(stride))),
      ("padding", .attribute(.int(pad))), ("groups", .attribute(.int(groups))),
      ("conv_scale", .attribute(.float(Double(product.scale)))),
      ("conv_zero_point", .attribute(.int(Int(product.zeroPoint)))),
      ("conv_min", .attribute(.float(isBounded ? -90 : -.infinity))),
    ]
    if random.next(0...3) > 0 {
      arguments.append(("bias", .tensor(3)))
      tensors.append(random.bias(outputs, .int8))
    }
    let node = SingleNode(
      operatorName: "fused.add_conv2d", arguments: arguments + bounds(&random, .int8), inputs: tensors,
      constantIndices: Set(2..<tensors.count), output: random.output(shape, .int8, scale: random.float(0.02, 0.3)))
    let portable = try node.run(node.method(delegate: false))
    #expect(try node.run(node.method(delegate: false, inPlace: true)) == portable)
    for kernels in MethodOptions.Kernels.allCases {
      for (threads, inPlace) in [(1, false), (1, true), (2, false), (2, true)] {
        let method = try node.method(delegate: true, threads: threads, inPlace: inPlace, kernels: kernels)
        #expect(method.operations[0].backend != .portable, "\(kernels): \(method.operations[0].reason ?? "")")
        #expect(try node.run(method) == portable, "\(kernels), \(threads) threads, in place: \(inPlace)")
      }
    }
  }

  /// Two convolutions' worth of channels, on XNNPACK's kernels and on ours, in place and not.
  @Test(arguments: 0..<30)
  func convolution2DIntoChannels(_ seed: Int) throws {
    var random = Random(seed)
    let (inputs, outputs, kernel) = (random.next(1...19), random.next(1...70), random.next(1...3))
    let (before, after, size) = (random.next(0...40), random.next(0...40), kernel + random.next(0...9))
    let output = random.output(
      [random.next(1...2), before + outputs + after, size - kernel + 1, size - kernel + 1], .int8, scale: 0.2)
    let node = SingleNode(
      operatorName: "fused.cat_conv2d",
      arguments: [
        ("self", .tensor(0)), ("input", .tensor(1)), ("weight", .tensor(2)), ("bias", .tensor(3)),
        ("start", .attribute(.int(before))), ("channels", .attribute(.int(output.shape[1]))),
      ] + bounds(&random, .int8),
      inputs: [
        random.activation(output.shape, .int8, output.quantization),
        random.activation([output.shape[0], inputs, size, size], .int8),
        random.weight([outputs, inputs, kernel, kernel], .int8, perChannel: seed % 2 == 0), random.bias(outputs, .int8),
      ], constantIndices: [2, 3], output: output)
    let portable = try node.run(node.method(delegate: false))
    #expect(try node.run(node.method(delegate: false, inPlace: true)) == portable)
    for kernels in MethodOptions.Kernels.allCases {
      for (threads, inPlace) in [(1, false), (1, true), (2, false), (2, true)] {
        let method = try node.method(delegate: true, threads: threads, inPlace: inPlace, kernels: kernels)
        #expect(method.operations[0].backend != .portable, "\(kernels): \(method.operations[0].reason ?? "")")
        #expect(try node.run(method) == portable, "\(kernels), \(threads) threads, in place: \(inPlace)")
      }
    }
  }

  @Test(arguments: types, 0..<20)
  func fullyConnected(_ type: DataType, _ seed: Int) throws {
    var random = Random(seed)
    let (rows, from, to) = (random.next(1...5), random.next(1...300), random.next(1...70))
    let inputs = [
      random.activation([rows, from], type), random.weight([to, from], type, perChannel: seed % 2 == 0),
      random.bias(to, type),
    ]
    try SingleNode(
      operatorName: "fused.linear",
      arguments: [("input", .tensor(0)), ("weight", .tensor(1)), ("bias", .tensor(2))] + bounds(&random, type),
      inputs: inputs, constantIndices: [1, 2], output: random.output([rows, to], type, scale: random.float(0.02, 0.3))
    ).expectDelegateEqualsPortable()
  }

  /// Four dimensions that are no image's: the last one has the features, in memory too.
  @Test(arguments: types, 0..<5)
  func fullyConnectedOfFourDimensions(_ type: DataType, _ seed: Int) throws {
    var random = Random(seed)
    let (height, width, from, to) = (random.next(1...4), random.next(1...4), random.next(1...50), random.next(1...50))
    let input = random.activation([height * width, from], type)
    let output = random.output([height * width, to], type, scale: random.float(0.02, 0.3))
    func fourDimensions(_ spec: TensorSpec, _ features: Int) -> TensorSpec {
      TensorSpec(spec.dataType, [1, height, width, features], quantization: spec.quantization)
    }
    let inputs = [
      input.reinterpreted(as: fourDimensions(input.spec, from)), random.weight([to, from], type, perChannel: true),
      random.bias(to, type),
    ]
    try SingleNode(
      operatorName: "fused.linear", arguments: [("input", .tensor(0)), ("weight", .tensor(1)), ("bias", .tensor(2))],
      inputs: inputs, constantIndices: [1, 2], output: fourDimensions(output, to)
    ).expectDelegateEqualsPortable()
  }

  @Test(arguments: ["fused.add", "fused.mul"], types)
  func binary(_ name: String, _ type: DataType) throws {
    for seed in 0..<30 {
      var random = Random(seed)
      let shape: Shape = [1, random.next(1...70), random.next(1...9), random.next(1...9)]
      let inputs = [random.activation(shape, type), random.activation(shape, type)]
      try SingleNode(
        operatorName: name, arguments: [("self", .tensor(0)), ("other", .tensor(1))] + bounds(&random, type),
        inputs: inputs, output: random.output(shape, type, scale: random.float(0.004, 0.1))
      ).expectDelegateEqualsPortable()
    }
  }

  @Test(arguments: types, 0..<20)
  func maxPooling2D(_ type: DataType, _ seed: Int) throws {
    var random = Random(seed)
    let (kh, kw) = (random.next(2...4), random.next(1...4))
    let (sh, sw) = (random.next(1...3), random.next(1...3))
    let pads = [random.next(0...1), 0, random.next(0...1), 0]
    let (h, w) = (kh + random.next(0...9), kw + random.next(0...9))
    let channels = random.next(1...40)
    let input = random.activation([1, channels, h, w], type)
    let shape: Shape = [1, channels, (h + pads[0] + pads[2] - kh) / sh + 1, (w - kw) / sw + 1]
    try SingleNode(
      operatorName: "fused.max_pool2d",
      arguments: [
        ("self", .tensor(0)), ("kernel_size", .attribute(.ints([kh, kw]))), ("stride", .attribute(.ints([sh, sw]))),
        ("padding", .attribute(.ints(pads))),
      ], inputs: [input],
      output: TensorSpec(type, shape, dimOrder: .channelsLast, quantization: input.spec.quantization)
    ).expectDelegateEqualsPortable()
  }

  @Test(arguments: types, 0..<30)
  func averagePooling2D(_ type: DataType, _ seed: Int) throws {
    var random = Random(seed)
    let isGlobal = seed % 2 == 0
    let (kh, kw) = (random.next(2...7), random.next(1...7))
    let (h, w) = isGlobal ? (kh, kw) : (kh + random.next(0...5), kw + random.next(0...5))
    let channels = random.next(1...90)
    let input = random.activation([1, channels, h, w], type)
    let shape: Shape = [1, channels, h - kh + 1, w - kw + 1]
    let quantization = seed % 4 < 2 ? input.spec.quantization : random.parameters()
    try SingleNode(
      operatorName: "fused.avg_pool2d",
      arguments: [
        ("self", .tensor(0)), ("kernel_size", .attribute(.ints([kh, kw]))), ("stride", .attribute(.ints([1, 1]))),
      ], inputs: [input],
      output: TensorSpec(type, shape, dimOrder: .channelsLast, quantization: type == .int8 ? quantization : nil)
    ).expectDelegateEqualsPortable()
  }

  @Test(arguments: types, 0..<10)
  func movement(_ type: DataType, _ seed: Int) throws {
    var random = Random(seed)
    let (c, h, w) = (random.next(1...50), random.next(1...20), random.next(1...20))
    let input = random.activation([1, c, h, w], type)
    let quantization = input.spec.quantization
    func spec(_ shape: Shape, _ order: DimOrder = .channelsLast) -> TensorSpec {
      TensorSpec(type, shape, dimOrder: order, quantization: quantization)
    }
    let (before, after) = ([0, random.next(0...3), 1, 2], [0, random.next(0...3), random.next(0...2), 0])
    try SingleNode(
      operatorName: "fused.pad",
      arguments: [
        ("self", .tensor(0)), ("pre", .attribute(.ints(before))), ("post", .attribute(.ints(after))),
      ], inputs: [input],
      output: spec([1, c + before[1] + after[1], h + before[2] + after[2], w + before[3] + after[3]])
    ).expectDelegateEqualsPortable(tolerance: 0)
    let other = random.activation([1, random.next(1...30), h, w], type, quantization)
    try SingleNode(
      operatorName: "fused.cat", arguments: [("tensors", .tensors([0, 1, 2])), ("dim", .attribute(.int(1)))],
      inputs: [input, other, input], output: spec([1, c + other.shape[1] + c, h, w])
    ).expectDelegateEqualsPortable(tolerance: 0)
    try SingleNode(
      operatorName: "dim_order_ops._to_dim_order_copy.default",
      arguments: [("self", .tensor(0)), ("dim_order", .attribute(.string("contiguous")))], inputs: [input],
      output: spec([1, c, h, w], .contiguous)
    ).expectDelegateEqualsPortable(tolerance: 0)
    let contiguous = input.reinterpreted(as: spec([1, c, h, w], .contiguous))
    try SingleNode(
      operatorName: "dim_order_ops._to_dim_order_copy.default",
      arguments: [("self", .tensor(0)), ("dim_order", .attribute(.string("channels_last")))], inputs: [contiguous],
      output: spec([1, c, h, w])
    ).expectDelegateEqualsPortable(tolerance: 0)
  }

  @Test(arguments: 0..<10)
  func unary(_ seed: Int) throws {
    var random = Random(seed)
    let shape: Shape = [1, random.next(1...33), random.next(1...40), random.next(1...40)]
    let input = random.activation(shape, .int8)
    let table = Tensor((0..<256).map { _ in Int8(random.next(-128...127)) }, shape: [256])
    try SingleNode(
      operatorName: "fused.lut", arguments: [("self", .tensor(0)), ("table", .tensor(1))], inputs: [input, table],
      constantIndices: [1], output: random.output(shape, .int8, scale: 0.1)
    ).expectDelegateEqualsPortable()
    try SingleNode(
      operatorName: "fused.clamp",
      arguments: [
        ("self", .tensor(0)), ("output_min", .attribute(.float(-50))), ("output_max", .attribute(.float(60))),
      ], inputs: [input], output: input.spec
    ).expectDelegateEqualsPortable()
    try SingleNode(
      operatorName: "fused.dequantize", arguments: [("self", .tensor(0))], inputs: [input],
      output: TensorSpec(.float32, shape, dimOrder: .channelsLast)
    ).expectDelegateEqualsPortable(tolerance: 0)
  }

  /// Ties, odd zero points, values far outside the range and infinities.
  @Test(arguments: [-128, -1, 0, 3, 127] as [Int32])
  func quantize(_ zeroPoint: Int32) throws {
    let parameters = QuantizationParameters(scale: 0.25, zeroPoint: zeroPoint)
    var values = (-3000...3000).map { Float($0) * 0.125 / 4 }
    values += [.infinity, -.infinity, 1e30, -1e30, 3.4e38, 0, -0.0, .leastNonzeroMagnitude]
    let input = Tensor(values, shape: [values.count])
    try SingleNode(
      operatorName: "fused.quantize", arguments: [("self", .tensor(0))], inputs: [input],
      output: TensorSpec(.int8, input.shape, quantization: parameters)
    ).expectDelegateEqualsPortable()
  }

  /// Quantizing to channels last and dequantizing from it, also of special numbers, one channel and one place.
  @Test(arguments: 0..<60)
  func convertTranspose(_ seed: Int) throws {
    var random = Random(seed)
    let shape: Shape = [
      random.next(1...2), [3, 3, 1, random.next(1...40)][seed % 4], random.next(1...40) * (seed % 7 == 0 ? 9 : 1),
      seed % 5 == 0 ? 1 : random.next(1...70),
    ]
    var values = (0..<shape.elementCount).map { _ in random.float(-3, 3) }
    let special: [Float] = [.nan, .infinity, -.infinity, 3e38, -3e38, -0.0, 0.0625, 0.1875]
    for (index, value) in special.enumerated() where index * 3 < values.count { values[index * 3] = value }
    let quantization = seed % 2 == 0 ? random.parameters() : QuantizationParameters(scale: 0.125, zeroPoint: -128)
    let (last, first) = (DimOrder.channelsLast, DimOrder.contiguous)
    try SingleNode(
      operatorName: "fused.quantize",
      arguments: [("self", .tensor(0)), ("dim_order", .attribute(.string("channels_last")))],
      inputs: [Tensor(values, shape: shape)],
      output: TensorSpec(.int8, shape, dimOrder: last, quantization: quantization)
    ).expectDelegateEqualsPortable()
    try SingleNode(
      operatorName: "fused.dequantize",
      arguments: [("self", .tensor(0)), ("dim_order", .attribute(.string("contiguous")))],
      inputs: [random.activation(shape, .int8, quantization)], output: TensorSpec(.float32, shape, dimOrder: first)
    ).expectDelegateEqualsPortable(tolerance: 0)
  }

  @Test func conversionsWithTheOtherTranspositionAreNotDelegated() throws {
    let quantization = QuantizationParameters(scale: 0.125, zeroPoint: 0)
    let node = SingleNode(
      operatorName: "fused.quantize",
      arguments: [("self", .tensor(0)), ("dim_order", .attribute(.string("contiguous")))],
      inputs: [Tensor((0..<12).map(Float.init), shape: [1, 3, 2, 2], dimOrder: .channelsLast)],
      output: TensorSpec(.int8, [1, 3, 2, 2], quantization: quantization))
    #expect(try node.reasonAgainst() == "no kernel converts and transposes in this direction")
    #expect(try node.method(delegate: true, force: true).operations[0].backend == .portable)
  }

  /// The limits that `Capabilities` states are the library's: one step outside, it has a reason, and forced, the library
  /// refuses, and the portable kernel runs.
  @Test func refusedScalesFallBackToThePortableKernel() throws {
    var random = Random(1)
    let shape: Shape = [1, 8, 2, 2]
    let quantization = QuantizationParameters(scale: 1, zeroPoint: 0)
    let inputs = [random.activation(shape, .int8, quantization), random.activation(shape, .int8, quantization)]
    for (scale, isTaken) in [(Float(0.00389), false), (0.0040, true), (1024, true), (1025, false)] {
      let node = SingleNode(
        operatorName: "fused.add", arguments: [("self", .tensor(0)), ("other", .tensor(1))], inputs: inputs,
        output: TensorSpec(
          .int8, shape, dimOrder: .channelsLast, quantization: QuantizationParameters(scale: scale, zeroPoint: 0)))
      #expect(try (node.reasonAgainst() == nil) == isTaken)
      let forced = try node.method(delegate: true, force: true)
      #expect((forced.operations[0].backend != .portable) == isTaken)
      #expect(try node.run(forced) == node.run(node.method(delegate: false)))
    }
  }

  @Test func everyNodeOfTheTableHasAFusedOperator() {
    for node in NodeTable.all { #expect(OperatorSet.standard[node.op.name] != nil, "\(node.op)") }
  }
}
