import PipelineTesting
import Swiftlet
import TensorCore
import TestSupport
import Testing

/// A small float model around one operator, with everything that `prepare` to `lower` makes of it.
private struct OperatorModel {
  var program = ExportedProgram(name: "model")
  private var random: SeededGenerator

  init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  mutating func values(_ shape: Shape, scale: Float = 1) -> Tensor {
    Tensor((0..<shape.elementCount).map { _ in Float.random(in: -scale...scale, using: &random) }, shape: shape)
  }

  mutating func input(_ shape: Shape) -> ValueID {
    let id = program.graph.addValue("x\(program.graph.inputs.count)", TensorSpec(.float32, shape))
    program.graph.inputs.append(id)
    program.inputKinds.append(.userInput)
    return id
  }

  mutating func constant(_ shape: Shape, scale: Float = 1) -> ValueID {
    program.addBuffer("w\(program.stateDict.count)", values(shape, scale: scale))
  }

  mutating func call(
    _ op: String, _ arguments: KeyValuePairs<String, Operand>, _ rest: [(String, Operand)] = []
  ) throws -> ValueID {
    var node = Node(
      name: "n\(program.graph.nodes.count)", operatorName: op,
      arguments: arguments.map { Node.Argument($0.key, $0.value) } + rest.map { Node.Argument($0.0, $0.1) }, outputs: []
    )
    let (known, call) = try program.call(of: node, constants: program.constants())
    node.outputs = try known.infer(call).map { program.graph.addValue(node.name, $0) }
    program.graph.nodes.append(node)
    return node.outputs[0]
  }
}

/// One operator in a graph: how the graph is built from its input.
struct LoweredCase: Sendable, CustomTestStringConvertible {
  let name: String
  let shapes: [Shape]
  let isDynamic: Bool
  fileprivate let build: @Sendable (inout OperatorModel, [ValueID]) throws -> ValueID
  var testDescription: String { name }

  fileprivate init(
    _ name: String, _ shapes: Shape..., isDynamic: Bool = false,
    build: @escaping @Sendable (inout OperatorModel, [ValueID]) throws -> ValueID
  ) {
    (self.name, self.shapes, self.isDynamic, self.build) = (name, shapes, isDynamic, build)
  }

  fileprivate static func unary(_ op: String, _ more: KeyValuePairs<String, Operand> = [:]) -> LoweredCase {
    let rest = more.map { ($0.key, $0.value) }
    return LoweredCase(op, [1, 4, 3, 5]) { model, x in
      try model.call(op, ["self": .value(x[0])], rest)
    }
  }

  fileprivate static func convolution(
    _ op: String, _ input: Shape, _ weight: Shape, outputs: Int, _ more: KeyValuePairs<String, Operand> = [:],
    isDynamic: Bool = false
  ) -> LoweredCase {
    let rest = more.map { ($0.key, $0.value) }
    let name = "\(op) \(input) \(weight) \(rest.map { "\($0.0)=\($0.1)" })" + (isDynamic ? " dynamic" : "")
    return LoweredCase(name, input, isDynamic: isDynamic) { model, x in
      let (w, b) = (model.constant(weight, scale: 0.5), model.constant([outputs], scale: 0.3))
      return try model.call(op, ["input": .value(x[0]), "weight": .value(w), "bias": .value(b)], rest)
    }
  }

  /// Whether ExecuTorch has another operator for it, so that a file holds an equal function of other arithmetic.
  var isComputedOtherwiseInFiles: Bool {
    ["silu", "hardsigmoid", "avg_pool2d", "dynamic"].contains { name.contains($0) }
  }

  /// Why ExecuTorch's delegate cannot run it; nil when it can.
  var reasonAgainstFiles: String? {
    guard isDynamic, name.contains("conv2d") else { return nil }
    return name.contains("groups") ? "depthwise" : "for each image"
  }

  static let all: [LoweredCase] = activations + convolutions + products + binary + real

  fileprivate static let activations: [LoweredCase] =
    [
      "aten.sigmoid.default", "aten.tanh.default", "aten.hardswish.default", "aten.hardsigmoid.default",
      "aten.silu.default", "aten.gelu.default", "aten.elu.default", "aten.leaky_relu.default", "aten.erf.default",
    ].map { unary($0) } + [
      unary("aten.clamp.default", ["min": .attribute(.float(-0.5)), "max": .attribute(.float(0.25))])
    ]

  private static let convolutions: [LoweredCase] = [
    convolution("aten.conv1d.default", [2, 3, 9], [4, 3, 3], outputs: 4, ["padding": ints(1), "stride": ints(2)]),
    convolution("aten.conv1d.padding", [1, 3, 8], [2, 3, 4], outputs: 2, ["padding": .attribute(.string("same"))]),
    convolution(
      "aten.conv2d.padding", [1, 3, 6, 7], [2, 3, 2, 4], outputs: 2, ["padding": .attribute(.string("same"))]),
    convolution("aten.conv2d.padding", [1, 4, 6, 7], [4, 1, 3, 3], outputs: 4, ["groups": .attribute(.int(4))]),
    convolution("aten.conv_transpose2d.input", [1, 3, 4, 5], [3, 2, 3, 3], outputs: 2),
    convolution(
      "aten.conv_transpose2d.input", [2, 4, 4, 3], [4, 2, 3, 2], outputs: 2,
      ["stride": ints(2, 3), "padding": ints(1, 0), "output_padding": ints(1, 1)]),
    convolution(
      "aten.conv_transpose2d.input", [1, 3, 5, 5], [3, 2, 2, 2], outputs: 2,
      ["stride": ints(2, 2), "dilation": ints(2, 1)]),
    convolution("aten.linear.default", [3, 5, 8], [6, 8], outputs: 6),
    convolution("aten.linear.default", [3, 5, 8], [6, 8], outputs: 6, isDynamic: true),
    convolution("aten.linear.default", [1, 67], [35, 67], outputs: 35, isDynamic: true),
    convolution("aten.linear.default", [2, 150, 132], [70, 132], outputs: 70, isDynamic: true),
    convolution(
      "aten.conv2d.default", [2, 3, 6, 5], [4, 3, 3, 3], outputs: 4, ["padding": ints(1, 1)], isDynamic: true),
    convolution(
      "aten.conv2d.default", [1, 4, 6, 5], [4, 1, 3, 3], outputs: 4,
      ["groups": .attribute(.int(4)), "stride": ints(2, 2)],
      isDynamic: true),
  ]

  private static func ints(_ values: Int...) -> Operand { .attribute(.ints(values)) }

  private static let products: [LoweredCase] = [
    LoweredCase("matmul", [2, 3, 4], [2, 4, 5]) { model, x in
      try model.call("aten.matmul.default", ["self": .value(x[0]), "other": .value(x[1])])
    },
    LoweredCase("matmul with a constant", [2, 3, 4]) { model, x in
      let other = model.constant([4, 2])
      return try model.call("aten.matmul.default", ["self": .value(x[0]), "other": .value(other)])
    },
    LoweredCase("bmm after transpose", [2, 3, 4], [2, 5, 4]) { model, x in
      let turned = try model.call(
        "aten.transpose.int", ["self": .value(x[1]), "dim0": .attribute(.int(1)), "dim1": .attribute(.int(2))])
      return try model.call("aten.bmm.default", ["self": .value(x[0]), "mat2": .value(turned)])
    },
  ]

  private static let binary: [LoweredCase] = ["aten.add.Tensor", "aten.sub.Tensor", "aten.mul.Tensor"].flatMap { op in
    [
      LoweredCase("\(op)", [1, 3, 4, 5], [1, 3, 4, 5]) { model, x in
        try model.call(op, ["self": .value(x[0]), "other": .value(x[1])])
      },
      LoweredCase("\(op), divided", [1, 13, 37, 41], [1, 13, 37, 41]) { model, x in
        try model.call(op, ["self": .value(x[0]), "other": .value(x[1])])
      },
      LoweredCase("\(op) broadcast", [1, 3, 4, 5], [1, 3, 1, 1]) { model, x in
        try model.call(op, ["self": .value(x[0]), "other": .value(x[1])])
      },
      LoweredCase("\(op) of other ranks", [2, 5], [4, 2, 5]) { model, x in
        try model.call(op, ["self": .value(x[0]), "other": .value(x[1])])
      },
      LoweredCase("\(op) with a constant", [1, 3, 4, 5]) { model, x in
        let other = model.constant([3, 1, 1])
        return try model.call(op, ["self": .value(x[0]), "other": .value(other)])
      },
      LoweredCase("\(op) with a number", [1, 3, 4, 5]) { model, x in
        try model.call(op, ["self": .value(x[0]), "other": .attribute(.float(0.75))])
      },
    ]
  }

  private static let real: [LoweredCase] = [
    LoweredCase("softmax", [2, 3, 6]) { model, x in
      try model.call("aten.softmax.int", ["self": .value(x[0]), "dim": .attribute(.int(-1))])
    },
    LoweredCase("layer_norm", [2, 3, 8]) { model, x in
      let (w, b) = (model.constant([8]), model.constant([8]))
      return try model.call(
        "aten.layer_norm.default",
        ["input": .value(x[0]), "normalized_shape": ints(8), "weight": .value(w), "bias": .value(b)])
    },
    LoweredCase("avg_pool2d", [1, 3, 6, 6]) { model, x in
      try model.call(
        "aten.avg_pool2d.default", ["self": .value(x[0]), "kernel_size": ints(2, 2), "stride": ints(2, 2)])
    },
    LoweredCase("upsample_nearest2d", [1, 3, 4, 5]) { model, x in
      try model.call(
        "aten.upsample_nearest2d.vec",
        ["input": .value(x[0]), "output_size": ints(7, 10), "scale_factors": .attribute(.none)])
    },
    LoweredCase("upsample_bilinear2d", [1, 3, 4, 5]) { model, x in
      try model.call(
        "aten.upsample_bilinear2d.vec",
        [
          "input": .value(x[0]), "output_size": .attribute(.none), "align_corners": .attribute(.bool(false)),
          "scale_factors": .attribute(.floats([2, 2])),
        ])
    },
  ]
}

/// Operators from float to int8: nothing computes reals, the delegate gives the portable kernels' bytes, and both are
/// within one quantum of the Q/DQ graph as it is written (dynamic: within float rounding).
@Suite struct LoweredOperatorTests {
  @Test(arguments: LoweredCase.all)
  func isInt8Throughout(_ lowered: LoweredCase) throws {
    for seed in 0..<6 {
      var (model, pipeline) = try quantized(lowered, seed)
      let wide = [lowered.shapes.map { model.values($0, scale: 3) }]
      try pipeline.lower().expectInt8().run(pipeline.samples + wide, threads: [2])
        .compare(simulation: lowered.isDynamic ? .relative(1e-5) : .quanta(1), portable: .bytes)
    }
  }

  /// Functions of one element are lookup tables of the delegate's; a clamp alone is a node of its own.
  @Test(arguments: LoweredCase.activations.dropLast())
  func isALookupTable(_ lowered: LoweredCase) throws {
    try quantized(lowered, 0).1.lower().expectDelegated("fused.lut", count: 1).expectPortable([])
  }

  /// Rows whose range is nothing, infinite, not a number, or on one side of zero.
  @Test func dynamicLinearOfAnyRow() throws {
    let rows: [[Float]] = [
      [0, 0, 0], [-0.0, 0, -0.0], [.nan, 1, 2], [.infinity, 1, -2], [-.infinity, .infinity, 0], [3e38, -3e38, 1],
      [1e-40, 2e-40, 0], [-5, -4, -3], [1, 2, 3], [0.5, -0.5, 1e9],
    ]
    let lowered = LoweredCase.convolution("aten.linear.default", [10, 21], [9, 21], outputs: 9, isDynamic: true)
    for seed in 0..<2 {
      let int8 = try quantized(lowered, seed).1.program
      let sample = Tensor(rows.flatMap { row in (0..<21).map { row[$0 % 3] } }, shape: [10, 21])
      let results = try [XNNPACKPartitioner(), nil].map { partitioner in
        let method = try Method(lower(int8, partitioner: partitioner), threads: ThreadPool(threadCount: 2))
        #expect(method.operations.contains { $0.backend == .native } == (partitioner != nil))
        return try method.run([sample])[0].elements(as: Float.self)
      }
      for (index, (a, b)) in zip(results[0], results[1]).enumerated() {
        #expect(a.bitPattern == b.bitPattern || (a.isNaN && b.isNaN), "element \(index): \(a), not \(b)")
      }
    }
  }

  /// Written as an ExecuTorch program and read again, it gives the same integers: to the byte, but for what is computed
  /// in another form there.
  @Test(arguments: LoweredCase.all)
  func survivesAProgramFile(_ lowered: LoweredCase) throws {
    let others: Agreement = lowered.isDynamic ? .absolute(1e-4) : .quanta(1)
    for seed in 0..<4 {
      let pipeline = try quantized(lowered, seed).1
      if let reason = lowered.reasonAgainstFiles {
        let error = #expect(throws: GraphError.self) { try pipeline.writePTE() }
        #expect(error.map { "\($0)".contains(reason) } ?? false)
        continue
      }
      try pipeline.writePTE().run()
        .compare(portable: .bytes, files: lowered.isComputedOtherwiseInFiles ? others : .bytes)
    }
  }

  /// A model around the operator, and what quantizing it gives.
  private func quantized(_ lowered: LoweredCase, _ seed: Int) throws -> (OperatorModel, Pipeline) {
    var model = OperatorModel(seed: UInt64(seed) + 1)
    let inputs = lowered.shapes.map { model.input($0) }
    model.program.graph.outputs = [try lowered.build(&model, inputs)]
    let samples = (0..<3).map { _ in lowered.shapes.map { model.values($0, scale: 2) } }
    let config = QuantizationConfig.symmetric(isPerChannel: seed % 2 == 0, isDynamic: lowered.isDynamic)
    // What gives the model's result in a known range is quantized only where its operator is named.
    let named = ["aten.sigmoid", "aten.hardsigmoid", "aten.tanh", "aten.erf", "aten.softmax"]
    let quantizer = named.reduce(XNNPACKQuantizer(config)) { $0.setOperatorType($1, config) }
    return (model, try Pipeline(model.program, samples: samples).quantize(quantizer))
  }

  /// Constants that are read as reals are dequantized ahead of time, not at each run.
  @Test func tablesAreDequantizedOnce() throws {
    var model = OperatorModel(seed: 5)
    let table = model.constant([6, 4])
    let indices = model.program.graph.addValue("indices", TensorSpec(.int64, [3]))
    model.program.graph.inputs.append(indices)
    model.program.inputKinds.append(.userInput)
    model.program.graph.outputs = [
      try model.call("aten.embedding.default", ["weight": .value(table), "indices": .value(indices)])
    ]
    let int8 = try convert(prepare(model.program, quantizer: EmbeddingQuantizer()))
    let program = try lower(int8, partitioner: nil)
    #expect(program.instructions.map(\.operatorName) == ["aten.embedding.default"])
    let rows = Tensor([4, 0, 5] as [Int64], shape: [3])
    let result = try Method(program, threads: ThreadPool(threadCount: 1)).run([rows])[0].elements(as: Float.self)
    #expect(try result == Interpreter(int8).run([rows])[0].elements(as: Float.self))
  }
}
