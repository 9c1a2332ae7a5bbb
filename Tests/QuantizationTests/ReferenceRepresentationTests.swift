import GraphIR
import PipelineTesting
import Quantization
import Swiftlet
import TensorCore
import TestSupport
import Testing

/// PT2E's scenarios of the reference representation, by their names.
@Suite struct ReferenceRepresentationTests {
  // MARK: PT2E's scenarios

  @Test(arguments: [true, false]) func staticLinear(isPerChannel: Bool) throws {
    for shape: Shape in [[3, 20], [2, 5, 20]] {
      var model = QDQModel()
      let x = model.pair(model.input(shape), 0.021, -7)
      let bias = model.model.parameter("bias", [6])
      let weight = model.weight([6, 20], isPerChannel: isPerChannel)
      let outputs = Shape(shape.dimensions.dropLast() + [6])
      let y = model.real(
        "aten.linear.default", ["input": .value(x), "weight": .value(weight), "bias": .value(bias)], outputs)
      let reference = try expectAgreement(model.finish(model.pair(y, 0.043, 11)), [.random(shape, -3...3)], 0.043)
      #expect(reference.expectOperator("aten.linear.default", on: .int32))
    }
  }

  /// Parameters that are chosen at run time leave the layer in float, between their own nodes.
  @Test func dynamicLinear() throws {
    let golden = try #require(PT2EGolden.load("scenarios.json").first { $0.name == "dynamic_linear" })
    let reference = try referenceRepresentation(of: golden.converted.program(golden.name))
    let reasons = Dictionary(
      reference.notRewritten.map { ($0.operatorName, $0.reason) }, uniquingKeysWith: { a, _ in a })
    #expect(
      reasons == [
        "quantized_decomposed.choose_qparams.tensor": "its parameters are computed at run time",
        "quantized_decomposed.quantize_per_tensor.tensor": "its parameters are computed at run time",
        "quantized_decomposed.dequantize_per_tensor.tensor": "its parameters are computed at run time",
        "aten.linear.default": "its input is not int8 with constant per-tensor parameters",
      ])
  }

  /// Without a quantized input there is nothing to compute in integers; the weight is dequantized exactly.
  @Test func weightOnlyLinear() throws {
    var model = QDQModel()
    let x = model.input([3, 20])
    let weight = model.weight([6, 20])
    let program = model.finish(
      model.real("aten.linear.default", ["input": .value(x), "weight": .value(weight)], [3, 6]))
    let reference = try referenceRepresentation(of: program)
    #expect(
      reference.notRewritten.map(\.description) == [
        "linear (aten.linear.default): its input is not int8 with constant per-tensor parameters"
      ])
    #expect(!reference.program.graph.nodes.contains { $0.operatorName.hasPrefix("quantized_decomposed.") })
    let input = Tensor.random([3, 20], -3...3)
    #expect(try run(reference.program, [input]) == run(program, [input]))
  }

  struct Convolution: Sendable {
    var weight: Shape = [6, 4, 3, 3]
    var stride = [1, 1]
    var padding = [1, 1]
    var dilation = [1, 1]
    var groups = 1
    var activation: String?
    var isPerChannel = true
    var zeroPoint = -23
  }

  @Test(arguments: [
    Convolution(), Convolution(stride: [2, 1], padding: [0, 1]), Convolution(activation: "aten.relu.default"),
    Convolution(activation: "aten.hardtanh.default", isPerChannel: false),
    Convolution(weight: [4, 1, 3, 3], groups: 4),
    Convolution(weight: [8, 2, 3, 2], dilation: [2, 1], groups: 2, zeroPoint: 127),
    Convolution(weight: [5, 4, 1, 1], padding: [0, 0], zeroPoint: 0),
  ]) func conv2d(_ shape: Convolution) throws {
    var model = QDQModel()
    let x = model.pair(model.input([2, 4, 9, 8]), 0.021, shape.zeroPoint)
    let bias = model.model.parameter("bias", [shape.weight[0]])
    let (stride, padding, dilation) = (shape.stride, shape.padding, shape.dilation)
    func size(_ input: Int, _ i: Int) -> Int {
      (input + 2 * padding[i] - dilation[i] * (shape.weight[2 + i] - 1) - 1) / stride[i] + 1
    }
    let output: Shape = [2, shape.weight[0], size(9, 0), size(8, 1)]
    let weight = model.weight(shape.weight, isPerChannel: shape.isPerChannel)
    var y = model.real(
      "aten.conv2d.default",
      [
        "input": .value(x), "weight": .value(weight), "bias": .value(bias),
        "stride": .attribute(.ints(stride)), "padding": .attribute(.ints(padding)),
        "dilation": .attribute(.ints(dilation)), "groups": .attribute(.int(shape.groups)),
      ], output)
    if let activation = shape.activation {
      let bounds: KeyValuePairs<String, Operand> =
        activation.contains("relu")
        ? ["self": .value(y)]
        : ["self": .value(y), "min_val": .attribute(.float(-1)), "max_val": .attribute(.float(2.5))]
      y = model.real(activation, bounds, output)
    }
    let program = model.finish(model.pair(y, 0.061, -3))
    let reference = try expectAgreement(program, [.random([2, 4, 9, 8], -3...3)], 0.061)
    #expect(reference.expectOperator("aten.conv2d.default", on: .int32))
  }

  /// Scales: of the operands and of the sum. The last two are out of the fixed point's reach.
  @Test(
    arguments: [[0.02, 0.03, 0.04], [0.01, 2, 2.1], [0.5, 0.004, 0.0039], [0.001, 2, 2.1], [3, 0.01, 0.01]] as [[Float]]
  )
  func add(scales: [Float]) throws {
    try expectBinary("aten.add.Tensor", scales)
  }

  @Test func addRelu() throws {
    try expectBinary("aten.add.Tensor", [0.02, 0.03, 0.04], isRectified: true)
  }

  @Test func maxPool2d() throws {
    var model = QDQModel()
    let x = model.pair(model.input([1, 3, 9, 8]), 0.021, 5)
    let y = model.real(
      "aten.max_pool2d.default",
      [
        "self": .value(x), "kernel_size": .attribute(.ints([3, 2])), "stride": .attribute(.ints([2, 2])),
        "padding": .attribute(.ints([1, 1])),
      ], [1, 3, 5, 5])
    let reference = try expectAgreement(model.finish(model.pair(y, 0.021, 5)), [.random([1, 3, 9, 8], -3...3)], nil)
    #expect(reference.expectOperator("aten.max_pool2d.default", on: .int8))
  }

  @Test func qdq() throws {
    var model = QDQModel()
    let x = model.input([800])
    let program = model.finish(model.pair(x, 0.5, -11), model.pair(model.pair(x, 0.037, 100), 0.061, -3))
    let ties = (-400..<396).map { Float($0) * 0.25 } + [.infinity, -.infinity, .nan, 1e30]
    let reference = try expectAgreement(program, [Tensor(ties, shape: [800])], nil)
    #expect(reference.notRewritten.isEmpty)
    #expect(Set(reference.program.graph.nodes.map(\.operatorName)).isSubset(of: Self.arithmetic))
  }

  @Test(arguments: [DataType.float32, .float64]) func qdqPerChannel(scaleType: DataType) throws {
    var model = QDQModel()
    let x = model.input([2, 3, 40])
    let values: [Float] = [0.037, 0.5, 0.0021]
    let scales = model.model.parameter(
      "scales", scaleType == .float32 ? Tensor(values, shape: [3]) : Tensor(values.map(Double.init), shape: [3]))
    let zeroPoints = model.model.parameter("zero_points", Tensor([0, -5, 101] as [Int64], shape: [3]))
    let integers = model.perChannel(
      "quantize_per_channel", x, scales, zeroPoints, axis: 1, TensorSpec(.int8, [2, 3, 40]))
    let program = model.finish(
      model.perChannel(
        "dequantize_per_channel", integers, scales, zeroPoints, axis: 1, TensorSpec(.float32, [2, 3, 40])))
    let input = Tensor.random([2, 3, 40], -8...8)
    let reference = try referenceRepresentation(of: program)
    #expect(try run(reference.program, [input]) == run(program, [input]))
    #expect(reference.notRewritten.count == (scaleType == .float32 ? 0 : 2))
    if scaleType == .float32 {
      #expect(Set(reference.program.graph.nodes.map(\.operatorName)).isSubset(of: Self.arithmetic))
    }
  }

  static let arithmetic: Set<String> = [
    "aten.mul.Tensor", "aten.clamp.default", "aten.round.default", "aten.to.dtype", "aten.add.Tensor",
    "aten.sub.Tensor",
  ]

  // MARK: Graphs of torchao

  /// Every graph of PT2E's and XNNPACKQuantizer's scenarios against the lowered program, which has float islands in two:
  /// a mean over one dimension, and weights that are not folded. Dynamic ones, which stay in float, against the simulation.
  @Test(arguments: try PT2EGolden.load("scenarios.json"))
  func scenarios(_ golden: PT2ECase) throws {
    let program = try golden.converted.program(golden.name)
    let reference = try referenceRepresentation(of: program)
    let inputs = program.userInputs.map { id in
      let spec = program.graph.spec(id)
      return spec.dataType == .float32 ? Tensor.random(spec.shape, -1.5...1.5) : Tensor(zeros: spec)
    }
    let outputs = try run(reference.program, inputs)
    if golden.name.hasPrefix("dynamic_") {
      #expect(try outputs == run(program, inputs))
      return
    }
    let method = try Method(lower(program, partitioner: XNNPACKPartitioner()), threads: ThreadPool(threadCount: 1))
    let lowered = try method.run(inputs).map { $0.elements(as: Float.self) }
    let quantum: Float = ["obs_sharing_ops": 0.01369, "fold_quantize_false_per_channel": 0.01334][golden.name] ?? 0
    for (x, y) in zip(outputs.joined(), lowered.joined()) { #expect((x - y).magnitude <= quantum) }
  }
}
