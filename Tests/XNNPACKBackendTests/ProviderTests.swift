import FloatKernels
import Int8Kernels
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

/// Which provider runs a node, by what is asked for and, with `auto`, by what the kernels for this processor say.
struct ProviderTests {
  /// Who decides between XNNPACK and the delegate's own kernels.
  enum Choice { case int8Convolutions, int8Sums, floatKernels, alwaysXNNPACK, alwaysNative }

  private func expect(_ node: SingleNode, _ choice: Choice, sourceLocation: SourceLocation = #_sourceLocation) throws {
    for kernels in MethodOptions.Kernels.allCases {
      let isPreferred =
        switch choice {
        case .int8Convolutions: i8k_is_preferred(UInt32(I8K_CONVOLUTIONS))
        case .int8Sums: i8k_is_preferred(UInt32(I8K_SUMS))
        case .floatKernels: f32k_is_preferred()
        case .alwaysXNNPACK, .alwaysNative: false
        }
      let isNative =
        choice == .alwaysNative
        || choice != .alwaysXNNPACK && (kernels == .native || kernels == .auto && isPreferred)
      let backend = try node.method(delegate: true, kernels: kernels).operations[0].backend
      #expect(
        backend == (isNative ? .native : .xnnpack), "\(node.operatorName) \(kernels)", sourceLocation: sourceLocation)
    }
  }

  private func convolution(_ type: DataType, inputs: Int, outputs: Int, groups: Int) -> SingleNode {
    var random = Random(groups)
    return SingleNode(
      operatorName: "fused.conv2d",
      arguments: [
        ("input", .tensor(0)), ("weight", .tensor(1)), ("stride", .attribute(.int(1))),
        ("padding", .attribute(.int(1))), ("groups", .attribute(.int(groups))),
      ],
      inputs: [
        random.activation([1, inputs, 6, 6], type),
        random.weight([outputs, inputs / groups, 3, 3], type, perChannel: true),
      ], constantIndices: [1], output: random.output([1, outputs, 6, 6], type, scale: 0.25))
  }

  /// Groups of fewer than four filters would be packed four times as large.
  @Test func convolutions() throws {
    for (inputs, outputs, groups) in [(8, 8, 1), (8, 8, 8), (8, 16, 4)] {
      try expect(convolution(.int8, inputs: inputs, outputs: outputs, groups: groups), .int8Convolutions)
      try expect(convolution(.float32, inputs: inputs, outputs: outputs, groups: groups), .floatKernels)
    }
    for type in [DataType.int8, .float32] {
      try expect(convolution(type, inputs: 8, outputs: 8, groups: 4), .alwaysXNNPACK)
    }
  }

  /// The delegate's kernels scale sums of products by less than 1, XNNPACK's by less than 256.
  @Test func scalesOfOneAndMoreAreXNNPACKs() throws {
    var node = convolution(.int8, inputs: 8, outputs: 8, groups: 1)
    node.output = TensorSpec(
      .int8, node.output.shape, dimOrder: .channelsLast, quantization: QuantizationParameters(scale: 1e-5, zeroPoint: 0)
    )
    try expect(node, .alwaysXNNPACK)
  }

  @Test func elementwise() throws {
    var random = Random(1)
    for (type, choice) in [(DataType.int8, Choice.int8Sums), (.float32, .alwaysXNNPACK)] {
      let inputs = [random.activation([1, 8, 3, 3], type), random.activation([1, 8, 3, 3], type)]
      let output = random.output([1, 8, 3, 3], type, scale: 0.05)
      for (name, choice) in [("fused.add", choice), ("fused.sub", .alwaysXNNPACK), ("fused.mul", .alwaysXNNPACK)] {
        try expect(
          SingleNode(
            operatorName: name, arguments: [("self", .tensor(0)), ("other", .tensor(1))], inputs: inputs,
            output: output), choice)
      }
    }
  }

  @Test func pooling() throws {
    var random = Random(1)
    for (type, choice) in [(DataType.int8, Choice.alwaysNative), (.float32, .floatKernels)] {
      let input = random.activation([1, 8, 7, 7], type)
      for (dilation, choice) in [(1, choice), (2, .alwaysXNNPACK)] {
        let size = 7 - dilation
        try expect(
          SingleNode(
            operatorName: "fused.max_pool2d",
            arguments: [
              ("self", .tensor(0)), ("kernel_size", .attribute(.int(2))), ("stride", .attribute(.int(1))),
              ("padding", .attribute(.int(0))), ("dilation", .attribute(.int(dilation))),
            ], inputs: [input],
            output: TensorSpec(
              type, [1, 8, size, size], dimOrder: .channelsLast, quantization: input.spec.quantization)), choice)
      }
    }
  }
}
