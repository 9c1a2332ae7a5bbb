import Operators
import TensorCore
import Testing

/// A call that an operator must refuse, and a part of what it must say.
struct FusedRefusal: Sendable, CustomTestStringConvertible {
  let op: String
  let words: String
  let call: @Sendable () throws -> FusedCall
  let quantization: QuantizationParameters?

  init(
    _ op: String, _ words: String,
    quantization: QuantizationParameters? = QuantizationParameters(scale: 1, zeroPoint: 0),
    _ call: @escaping @Sendable () throws -> FusedCall
  ) {
    self.op = op
    self.words = words
    self.quantization = quantization
    self.call = call
  }

  var testDescription: String { "\(op): \(words)" }

  static func image(_ type: DataType = .int8, _ shape: Shape = [1, 4, 5, 5], scale: Float = 0.5) -> Tensor {
    let quantization = type == .int8 ? QuantizationParameters(scale: scale, zeroPoint: 3) : nil
    return Tensor(zeros: TensorSpec(type, shape, dimOrder: .channelsLast, quantization: quantization))
  }

  static func filter(_ shape: Shape = [6, 4, 3, 3], _ quantization: QuantizationParameters? = nil) -> Tensor {
    let order: DimOrder = shape.rank == 4 ? .channelsLast : .contiguous
    return Tensor(
      zeros: TensorSpec(
        .int8, shape, dimOrder: order, quantization: quantization ?? QuantizationParameters(scale: 0.1, zeroPoint: 0)))
  }

  static func flat(_ type: DataType = .int8, _ shape: Shape = [2, 4], scale: Float = 0.5) -> Tensor {
    let quantization = type == .int8 ? QuantizationParameters(scale: scale, zeroPoint: 3) : nil
    return Tensor(zeros: TensorSpec(type, shape, quantization: quantization))
  }

  private static func convolution(
    _ words: String, _ attributes: [String: Attribute] = [:], input: Tensor = image(), weight: Tensor = filter(),
    bias: Tensor? = nil, quantization: QuantizationParameters? = QuantizationParameters(scale: 1, zeroPoint: 0)
  ) -> FusedRefusal {
    FusedRefusal("fused.conv2d", words, quantization: quantization) {
      try FusedCall(
        "fused.conv2d", [("input", input), ("weight", weight)] + (bias.map { [("bias", $0)] } ?? []), attributes)
    }
  }

  static let convolutions = [
    convolution("groups", ["groups": .int(3)]),
    convolution("groups", ["groups": .int(.min)]),
    convolution("stride", ["stride": .ints([0, 1])]),
    convolution("stride", ["stride": .ints([1, 1, 1])]),
    convolution("padding", ["padding": .ints([-1, 0, 0, 0])]),
    convolution("padding", ["padding": .ints([.max, 0, 0, 0])]),
    convolution("does not fit", ["dilation": .ints([4, 4])]),
    convolution("output_min", ["output_min": .float(3), "output_max": .float(2)]),
    convolution("output_min", ["output_min": .float(0.5)]),
    convolution("output_max", ["output_max": .float(128)]),
    convolution("output_min nan", ["output_min": .float(.nan)]),
    convolution("channels", weight: filter([6, 5, 3, 3])),
    convolution("'weight' must be 4-D", weight: filter([6, 36])),
    convolution("'weight' must be int8", weight: image(.float32, [6, 4, 3, 3])),
    convolution(
      "zero point of 'weight'", weight: filter([6, 4, 3, 3], QuantizationParameters(scale: 1, zeroPoint: 1))),
    convolution("scales for 6", weight: filter([6, 4, 3, 3], QuantizationParameters(perChannel: [1, 1], axis: 0))),
    convolution(
      "dimension 0", weight: filter([6, 4, 3, 3], QuantizationParameters(perChannel: [1, 1, 1, 1], axis: 1))),
    convolution("positive normal", weight: filter([6, 4, 3, 3], QuantizationParameters(scale: -1, zeroPoint: 0))),
    convolution("'bias' must be int32[6]", bias: Tensor([Float](repeating: 0, count: 6), shape: [6])),
    convolution("'bias' must be int32[6]", bias: Tensor([Int32](repeating: 0, count: 5), shape: [5])),
    convolution("channels last", input: flat()),
    convolution("empty", input: image(.int8, [1, 4, 0, 5])),
    convolution("without quantization", quantization: nil),
    convolution("zero point", quantization: QuantizationParameters(scale: 1, zeroPoint: 200)),
    convolution("positive normal", quantization: QuantizationParameters(scale: .infinity, zeroPoint: 0)),
    convolution(
      "positive finite", input: image(scale: 3e38), quantization: QuantizationParameters(scale: 1e-20, zeroPoint: 0)),
    convolution("scale of 'input'", input: image(scale: .nan)),
  ]

  private static func unary(
    _ op: String, _ words: String, _ attributes: [String: Attribute], _ input: Tensor = image()
  ) -> FusedRefusal {
    FusedRefusal(op, words) { try FusedCall(op, [("self", input)], attributes) }
  }

  private static func binary(_ op: String, _ words: String, _ a: Tensor, _ b: Tensor) -> FusedRefusal {
    FusedRefusal(op, words) { try FusedCall(op, [("self", a), ("other", b)]) }
  }

  static let others = [
    FusedRefusal("fused.linear", "last dimension") {
      try FusedCall("fused.linear", [("input", flat(.int8, [2, 5])), ("weight", filter([3, 4]))])
    },
    FusedRefusal("fused.linear", "must be contiguous") {
      try FusedCall("fused.linear", [("input", image(.int8, [1, 1, 1, 4])), ("weight", filter([3, 4]))])
    },
    FusedRefusal("fused.linear", "empty") {
      try FusedCall("fused.linear", [("input", flat(.int8, [2, 0])), ("weight", filter([3, 0]))])
    },
    FusedRefusal("fused.linear", "'input' is missing") { try FusedCall("fused.linear", [("weight", filter([3, 4]))]) },
    binary("fused.add", "must agree", flat(), flat(.float32)),
    binary("fused.add", "must agree", flat(), flat(.int8, [4, 2])),
    binary("fused.add", "must agree", image(), image().reinterpreted(as: contiguous(image().spec))),
    binary("fused.add", "too large", flat(scale: 1e38), flat()),
    binary("fused.mul", "must agree", flat(), flat(.int8, [2, 1])),
    binary("fused.mul", "positive finite", flat(scale: 1e30), flat(scale: 1e30)),
    unary("fused.max_pool2d", "stride", ["kernel_size": .ints([2, 2]), "stride": .ints([])]),
    unary("fused.max_pool2d", "kernel", ["kernel_size": .ints([0, 2]), "stride": .int(1)]),
    unary("fused.max_pool2d", "kernel", ["kernel_size": .ints([.max, 2]), "stride": .int(1)]),
    unary("fused.im2col", "must be float32", ["kernel_size": .int(2), "stride": .int(1)]),
    unary("fused.avg_pool2d", "does not fit", ["kernel_size": .int(6), "stride": .int(1)]),
    unary(
      "fused.avg_pool2d", "float32 or int8", ["kernel_size": .int(2), "stride": .int(1)],
      Tensor([1], shape: [1, 1, 1, 1])),
    unary("fused.clamp", "integer in -128...127", ["output_min": .float(-129), "output_max": .float(0)]),
    unary("fused.pad", "one per dimension", ["pre": .ints([1]), "post": .ints([1])]),
    unary("fused.pad", "negative", ["pre": .ints([0, 0, 0, -1]), "post": .ints([0, 0, 0, 0])]),
    unary("fused.pad", "too large", ["pre": .ints([0, 0, 0, .max]), "post": .ints([0, 0, 0, 0])]),
    FusedRefusal("fused.cat", "list of tensors") { try FusedCall("fused.cat", [], ["dim": .int(0)]) },
    FusedRefusal("fused.cat", "does not fit") {
      try FusedCall("fused.cat", [], ["dim": .int(0)], list: [flat(), flat(.int8, [2, 3])])
    },
    FusedRefusal("fused.cat", "quantization parameters") {
      try FusedCall("fused.cat", [], ["dim": .int(0)], list: [flat(), flat(scale: 0.25)])
    },
    FusedRefusal("fused.cat", "not a dimension") {
      try FusedCall("fused.cat", [], ["dim": .int(.min)], list: [flat()])
    },
    unary("fused.slice", "not a range", ["dim": .int(1), "start": .int(-1), "end": .int(2)]),
    unary("fused.slice", "not a range", ["dim": .int(1), "start": .int(0), "end": .int(.max)]),
    unary("fused.slice", "'step'", ["dim": .int(1), "start": .int(0), "end": .int(2), "step": .int(0)]),
    unary("fused.slice", "not a dimension", ["dim": .int(4), "start": .int(0), "end": .int(2)]),
    FusedRefusal("fused.lut", "int8[256]") {
      try FusedCall("fused.lut", [("self", flat()), ("table", Tensor([Int8](repeating: 0, count: 255), shape: [255]))])
    },
    unary("fused.quantize", "must be float32", [:]),
    unary("fused.dequantize", "must be int8", [:], image(.float32)),
    unary("fused.quantize", "must be \"channels_last\" or", ["dim_order": .string("chw")], image(.float32)),
    FusedRefusal("fused.dequantize", "must be 4-D") {
      try FusedCall("fused.dequantize", [("self", flat())], ["dim_order": .string("contiguous")])
    },
    FusedRefusal("fused.quantize", "without quantization", quantization: nil) {
      try FusedCall("fused.quantize", [("self", flat(.float32))])
    },
    unary("fused.view", "cannot be viewed", ["size": .ints([3, -1])]),
    unary("fused.view", "cannot be viewed", ["size": .ints([-1, -1])]),
    unary("fused.view", "cannot be viewed", ["size": .ints([.max, .max])]),
    unary("dim_order_ops._to_dim_order_copy.default", "4-D", ["dim_order": .string("contiguous")], flat()),
    unary("dim_order_ops._to_dim_order_copy.default", "channels_last", ["dim_order": .string("nhwc")]),
  ]

  /// The filter makes [2, 6, 3, 3] of the input; attributes replace valid ones.
  private static func sum(
    _ words: String, _ attributes: [String: Attribute] = [:], other: Tensor = image(.int8, [2, 6, 3, 3]),
    input: Tensor = image(.int8, [2, 4, 5, 5]), weight: Tensor = filter()
  ) -> FusedRefusal {
    FusedRefusal("fused.add_conv2d", words, quantization: QuantizationParameters(scale: 1, zeroPoint: 0)) {
      try FusedCall(
        "fused.add_conv2d", [("self", other), ("input", input), ("weight", weight)],
        ["conv_scale": .float(1), "conv_zero_point": .int(0)].merging(attributes) { $1 })
    }
  }

  static let sums = [
    sum("must agree", other: image(.int8, [2, 6, 3, 4])),
    sum("must agree", other: image(.float32, [2, 6, 3, 3])),
    sum("'input' must be int8", input: image(.float32, [2, 4, 5, 5])),
    sum("conv_scale", ["conv_scale": .float(0)]),
    sum("conv_scale", ["conv_scale": .float(.nan)]),
    sum("conv_zero_point", ["conv_zero_point": .int(128)]),
    sum("output_min", ["conv_min": .float(3), "conv_max": .float(2)]),
    sum("output_min", ["output_min": .float(0.5)]),
    sum("groups", ["groups": .int(3)]),
  ]

  private static func part(
    _ words: String, start: Int = 2, channels: Int = 9, other: Tensor = image(.int8, [2, 9, 3, 3])
  ) -> FusedRefusal {
    FusedRefusal("fused.cat_conv2d", words, quantization: QuantizationParameters(scale: 1, zeroPoint: 0)) {
      try FusedCall(
        "fused.cat_conv2d", [("self", other), ("input", image(.int8, [2, 4, 5, 5])), ("weight", filter())],
        ["start": .int(start), "channels": .int(channels)])
    }
  }

  static let parts = [
    part("are not among", start: 4), part("are not among", start: -1), part("are not among", start: .max),
    part("are not among", channels: .max), part("are not among", channels: .min),
    part("'self' must be", other: image(.int8, [2, 8, 3, 3])),
    part("'self' must be int8", other: image(.float32, [2, 9, 3, 3])),
    part("the same parameters"),
  ]

  static let all = convolutions + sums + parts + others + dynamic + real

  private static func contiguous(_ spec: TensorSpec) -> TensorSpec {
    TensorSpec(spec.dataType, spec.shape, quantization: spec.quantization)
  }
}

@Suite struct FusedRefusalTests {
  @Test(arguments: FusedRefusal.all)
  func isRefusedWithAReason(_ refusal: FusedRefusal) throws {
    let call = try refusal.call()
    do {
      _ = try call.run(quantization: refusal.quantization)
      Issue.record("was accepted")
    } catch let error as OperatorError {
      #expect(error.reason.contains(refusal.words.replacing(" nan", with: "")), "\(error)")
      #expect(error.operatorName == refusal.op)
    }
  }

  @Test func outputsThatContradictTheCallAreRefused() throws {
    let image = FusedRefusal.image()
    let call = try FusedCall("fused.clamp", [("self", image)])
    for output in [
      TensorSpec(
        .int8, image.shape, dimOrder: .channelsLast, quantization: QuantizationParameters(scale: 1, zeroPoint: 0)),
      TensorSpec(.int8, image.shape, quantization: image.spec.quantization),
      FusedRefusal.image(.int8, [1, 4, 5, 6]).spec,
    ] {
      #expect(throws: OperatorError.self) { try call.op.prepare(call.call(outputs: [output])) }
    }
    #expect(throws: OperatorError.self) { try call.op.prepare(call.call(outputs: [])) }
    #expect(throws: OperatorError.self) { try call.op.prepare(call.call(outputs: [image.spec, image.spec])) }
  }

  /// Attributes from a hostile file: every operator answers with specs or an error.
  @Test func hostileAttributesNeverTrap() throws {
    let weights = FusedRefusal.filter()
    let calls = [
      try FusedCall("fused.conv2d", [("input", FusedRefusal.image()), ("weight", weights)]),
      try FusedCall(
        "fused.add_conv2d",
        [
          ("self", FusedRefusal.image(.int8, [2, 6, 3, 3])), ("input", FusedRefusal.image(.int8, [2, 4, 5, 5])),
          ("weight", weights),
        ], ["conv_scale": .float(1), "conv_zero_point": .int(0)]),
      try FusedCall("fused.linear", [("input", FusedRefusal.flat()), ("weight", FusedRefusal.filter([3, 4]))]),
      try FusedCall("fused.add", [("self", FusedRefusal.flat()), ("other", FusedRefusal.flat())]),
      try FusedCall("fused.max_pool2d", [("self", FusedRefusal.image())], ["kernel_size": .int(2), "stride": .int(1)]),
      try FusedCall("fused.avg_pool2d", [("self", FusedRefusal.image())], ["kernel_size": .int(2), "stride": .int(1)]),
      try FusedCall("fused.clamp", [("self", FusedRefusal.flat(.float32))]),
      try FusedCall("fused.pad", [("self", FusedRefusal.flat())], ["pre": .ints([0, 1]), "post": .ints([1, 0])]),
      try FusedCall("fused.cat", [], ["dim": .int(0)], list: [FusedRefusal.flat(), FusedRefusal.flat()]),
      try FusedCall(
        "fused.slice", [("self", FusedRefusal.image())], ["dim": .int(1), "start": .int(0), "end": .int(2)]),
      try FusedCall("fused.view", [("self", FusedRefusal.flat())], ["size": .ints([8])]),
    ]
    let numbers = [Int.max, .min, -1, 0, 1, 2, Int(Int32.max), 1 << 40]
    var random = FusedRandom(seed: 7)
    for call in calls {
      let names = call.op.schema.parameters.map(\.name).filter { name in !call.tensors.contains { $0.name == name } }
      for _ in 0..<400 {
        var hostile = call
        for _ in 0..<random.int(1...2) {
          let value: Attribute =
            switch random.int(0...4) {
            case 0: .int(random.pick(numbers))
            case 1: .ints((0..<random.int(0...5)).map { _ in random.pick(numbers) })
            case 2: .float(random.pick([.nan, .infinity, -.infinity, 1e300, -0.5, 1e-300]))
            case 3: .none
            default: random.pick([.string("x"), .bool(true), .floats([1]), .dataType(.int8)])
            }
          hostile.attributes[random.pick(names)] = value
        }
        guard var output = try? hostile.op.infer(hostile.call()).first else { continue }
        if output.dataType == .int8, output.quantization == nil {
          output.quantization = QuantizationParameters(scale: 1, zeroPoint: 0)
        }
        _ = try? hostile.op.prepare(hostile.call(outputs: [output]))
      }
    }
  }
}
