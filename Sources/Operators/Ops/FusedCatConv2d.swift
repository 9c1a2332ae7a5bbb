import TensorCore

extension Operator {
  /// An int8 convolution into channels of a concatenation: `fused.conv2d` whose result are the channels from `start` on of an
  /// output with `channels` of them. The others are those of 'self'; without it they are undefined, for operators behind
  /// this one to fill.
  ///
  /// `infer` leaves the output's quantization parameters open; 'self' has them too.
  package static let fusedCatConv2d = Operator(
    "fused.cat_conv2d(Tensor? self, Tensor input, Tensor weight, Tensor? bias, int[2] stride=1, int[4] padding=0, "
      + "int[2] dilation=1, int groups=1, *, int start, int channels, float output_min=-inf, "
      + "float output_max=inf) -> Tensor", traits: [.inPlace, .fused], layer: .convolution(spatial: 2),
    infer: { call throws(OperatorError) in [try FusedCatConv2d(call).output] },
    prepare: { call throws(OperatorError) in
      let output = try call.checkedOutput([try FusedCatConv2d(call).output])
      return try FusedCatConv2d(call).prepared(call, output)
    })
}

/// A validated call of `fused.cat_conv2d`.
private struct FusedCatConv2d {
  let output: TensorSpec
  private let product: TensorSpec
  private let start: Int

  init(_ call: OperatorCall) throws(OperatorError) {
    let input = try call.spec("input")
    try call.check(input.dataType == .int8, "'input' must be int8, not \(input)")
    let convolution = FusedCatConv2d.convolution(call, [])
    product = try call.naming { () throws(OperatorError) in try Operator.fusedConv2d.infer(convolution)[0] }
    start = try call.int("start")
    let channels = try call.int("channels")
    try call.check(
      start >= 0 && channels <= Int(Int32.max) && product.shape[1] <= channels && start <= channels - product.shape[1],
      "\(product.shape[1]) channels from \(start) on are not among \(channels)")
    var sizes = product.shape.dimensions
    sizes[1] = channels
    guard let shape = Shape(validating: sizes) else { throw call.error("the output \(sizes) is too large") }
    output = TensorSpec(.int8, shape, dimOrder: .channelsLast)
    guard var other = try call.optionalSpec("self") else { return }
    try call.checkActivation(other, "self")
    other.quantization = nil
    try call.check(other == output, "'self' must be \(output), not \(other)")
  }

  private static func convolution(_ call: OperatorCall, _ outputs: [TensorSpec]) -> OperatorCall {
    OperatorCall(
      op: Operator.fusedConv2d, node: call.node,
      arguments: call.arguments.without(["self", "start", "channels"]), inputs: call.inputs,
      constants: call.constants, outputs: outputs)
  }

  /// The convolution's result waits in the scratch memory.
  func prepared(_ call: OperatorCall, _ output: TensorSpec) throws(OperatorError) -> PreparedKernel {
    var part = product
    part.quantization = output.quantization
    if let other = try call.optionalSpec("self") {
      try call.check(other == output, "'self' \(other) and the output \(output) must have the same parameters")
    }
    let convolution = FusedCatConv2d.convolution(call, [part])
    let multiply = try call.naming { () throws(OperatorError) in try Operator.fusedConv2d.prepare(convolution) }
    let offset = (multiply.scratchByteCount + 63) / 64 * 64
    let (byteCount, start, count, stride) = (output.byteCount, start, part.shape[1], output.shape[1])
    let rows = part.shape.elementCount / count
    let other = try call.index(of: "self")
    return PreparedKernel(scratchByteCount: offset + part.byteCount + Storage.padding) { buffers in
      let source = buffers.scratch + offset
      var target = source
      withUnsafePointer(to: &target) { targets in
        multiply.run(KernelBuffers(inputs: buffers.inputs, outputs: targets, scratch: buffers.scratch))
      }
      let output = buffers.outputs[0]
      if let other, buffers.inputs[other] != UnsafeRawPointer(output) {
        output.copyMemory(from: buffers.inputs[other], byteCount: byteCount)
      }
      for row in 0..<rows {
        (output + (row &* stride &+ start)).copyMemory(from: source + (row &* count), byteCount: count)
      }
    }
  }
}
