import TensorCore

extension Operator {
  /// An int8 convolution and the sum of its result and another tensor: `fused.conv2d` with an output of `conv_scale` and
  /// `conv_zero_point`, bounded by `conv_min` and `conv_max`, then `fused.add` of it and 'self', which has its shape.
  ///
  /// `infer` leaves the output's quantization parameters open.
  package static let fusedAddConv2d = Operator(
    "fused.add_conv2d(Tensor self, Tensor input, Tensor weight, Tensor? bias, int[2] stride=1, int[4] padding=0, "
      + "int[2] dilation=1, int groups=1, *, float conv_scale, int conv_zero_point, float conv_min=-inf, "
      + "float conv_max=inf, float output_min=-inf, float output_max=inf) -> Tensor", traits: [.inPlace, .fused],
    layer: .convolution(spatial: 2),
    infer: { call throws(OperatorError) in try FusedAddConv2d(call).outputs },
    prepare: { call throws(OperatorError) in
      let fused = try FusedAddConv2d(call)
      return try fused.prepared(call, try call.checkedOutput(fused.outputs))
    })
}

/// A validated call of `fused.add_conv2d`.
private struct FusedAddConv2d {
  let outputs: [TensorSpec]
  private let convolution: OperatorCall
  private let other: TensorSpec
  private let position: Int

  init(_ call: OperatorCall) throws(OperatorError) {
    other = try call.activation("self")
    position = try call.position("self")
    let input = try call.spec("input")
    try call.check(input.dataType == .int8, "'input' must be int8, not \(input)")
    var arguments = call.arguments
    for name in ["conv_scale", "conv_zero_point", "conv_min", "conv_max", "self"] { arguments[name] = nil }
    arguments["output_min"] = .attribute(try call.attribute("conv_min"))
    arguments["output_max"] = .attribute(try call.attribute("conv_max"))
    func part(_ outputs: [TensorSpec]) -> OperatorCall {
      OperatorCall(
        op: Operator.fusedConv2d, node: call.node, arguments: arguments, inputs: call.inputs,
        constants: call.constants, outputs: outputs)
    }
    var product = try call.naming { () throws(OperatorError) in try Operator.fusedConv2d.infer(part([]))[0] }
    let (scale, zeroPoint) = (Float(try call.float("conv_scale")), try call.int("conv_zero_point"))
    try call.check(scale.isNormal && scale > 0, "conv_scale must be a positive normal number, not \(scale)")
    try call.check((-128...127).contains(zeroPoint), "conv_zero_point must be in -128...127, not \(zeroPoint)")
    product.quantization = QuantizationParameters(scale: scale, zeroPoint: Int32(zeroPoint))
    convolution = part([product])
    let sum = try FusedAddConv2d.sum(call, other, product, [])
    outputs = try call.naming { () throws(OperatorError) in try Operator.fusedAdd.infer(sum) }
  }

  private static func sum(
    _ call: OperatorCall, _ other: TensorSpec, _ product: TensorSpec, _ outputs: [TensorSpec]
  ) throws(OperatorError) -> OperatorCall {
    OperatorCall(
      op: Operator.fusedAdd, node: call.node,
      arguments: [
        "self": .tensor(0), "other": .tensor(1), "output_min": .attribute(try call.attribute("output_min")),
        "output_max": .attribute(try call.attribute("output_max")),
      ], inputs: [other, product], constants: [nil, nil], outputs: outputs)
  }

  /// The convolution's result waits in the scratch memory, so that the output may lie where 'self' does.
  func prepared(_ call: OperatorCall, _ output: TensorSpec) throws(OperatorError) -> PreparedKernel {
    let product = convolution.outputs[0]
    let multiply = try call.naming { () throws(OperatorError) in try Operator.fusedConv2d.prepare(convolution) }
    let sum = try FusedAddConv2d.sum(call, other, product, [output])
    let add = try call.naming { () throws(OperatorError) in try Operator.fusedAdd.prepare(sum) }
    try call.check(product.byteCount <= sizeLimit, "its output of \(product.byteCount) bytes is too large")
    let offset = (multiply.scratchByteCount + 63) / 64 * 64
    let position = position
    return PreparedKernel(scratchByteCount: offset + product.byteCount + Storage.padding) { buffers in
      var target = buffers.scratch + offset
      withUnsafePointer(to: &target) { targets in
        multiply.run(KernelBuffers(inputs: buffers.inputs, outputs: targets, scratch: buffers.scratch))
      }
      withUnsafeTemporaryAllocation(of: UnsafeRawPointer.self, capacity: 2) { operands in
        operands.initializeElement(at: 0, to: buffers.inputs[position])
        operands.initializeElement(at: 1, to: UnsafeRawPointer(buffers.scratch + offset))
        add.run(KernelBuffers(inputs: operands.baseAddress!, outputs: buffers.outputs, scratch: buffers.scratch))
      }
    }
  }
}
