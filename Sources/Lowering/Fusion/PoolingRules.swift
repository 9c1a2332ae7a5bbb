import GraphIR
import Operators
import TensorCore

extension Fuser {
  static let poolingRules: [FusionRule] = [
    FusionRule(["aten.max_pool2d.default"]) { fuser, node throws(GraphError) in try fuser.fuseMaxPool(node) },
    FusionRule(["aten.avg_pool2d.default"]) { fuser, node throws(GraphError) in try fuser.fuseAveragePool(node) },
    FusionRule(["aten.adaptive_avg_pool2d.default"]) { fuser, node throws(GraphError) in
      try fuser.fuseAdaptiveAveragePool(node)
    },
    FusionRule(["aten.mean.dim"]) { fuser, node throws(GraphError) in try fuser.fuseMean(node) },
  ]

  /// Padding at the far side that makes the windows cover `output` positions.
  private func farPadding(_ output: Int, _ input: Int, _ pad: Int, _ kernel: Int, _ stride: Int, _ dilation: Int) -> Int
  {
    max(0, (output - 1) * stride + (kernel - 1) * dilation + 1 - input - pad)
  }

  private mutating func fuseMaxPool(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("self"), source.graph.spec(input).shape.rank == 4 else {
      return .refused("its input is not 4-D")
    }
    let call = try call(node)
    let (kernel, pad, dilation, strides) = try reading { () throws(OperatorError) in
      (try call.pair("kernel_size"), try call.pair("padding"), try call.pair("dilation"), try call.ints("stride"))
    }
    let stride = strides.isEmpty ? [kernel.height, kernel.width] : [strides[0], strides[strides.count - 1]]
    let shape = source.graph.spec(input).shape
    let result = source.graph.spec(node.output).shape
    var (bottom, right) = (pad.height, pad.width)
    if try reading({ () throws(OperatorError) in try call.bool("ceil_mode") }) {
      bottom = farPadding(result[2], shape[2], pad.height, kernel.height, stride[0], dilation.height)
      right = farPadding(result[3], shape[3], pad.width, kernel.width, stride[1], dilation.width)
    }
    let value = convert(try settled(input), to: .channelsLast)
    let output = TensorSpec(
      spec(value).dataType, result, dimOrder: .channelsLast, quantization: spec(value).quantization)
    let arguments: [(String, Operand)] = [
      ("self", .value(value)), ("kernel_size", .attribute(.ints([kernel.height, kernel.width]))),
      ("stride", .attribute(.ints(stride))), ("padding", .attribute(.ints([pad.height, right, bottom, pad.width]))),
      ("dilation", .attribute(.ints([dilation.height, dilation.width]))),
    ]
    forms[node.output] = Form(emit("fused.max_pool2d", name: node.name, arguments, output: output, sources: [node]))
    return .fused
  }

  private mutating func fuseAveragePool(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("self"), source.graph.spec(input).shape.rank == 4 else {
      return .refused("its input is not 4-D")
    }
    let call = try call(node)
    let (kernel, pad, strides) = try reading { () throws(OperatorError) in
      (try call.pair("kernel_size"), try call.pair("padding"), try call.ints("stride"))
    }
    let (ceil, counted, divisor) = try reading { () throws(OperatorError) in
      (try call.bool("ceil_mode"), try call.bool("count_include_pad"), try call.optionalInt("divisor_override"))
    }
    guard !ceil else { return .refused("ceil_mode is not fused") }
    guard counted || (pad.height == 0 && pad.width == 0) else {
      return .refused("padding that is left out of the mean is not fused")
    }
    guard divisor == nil || divisor == kernel.height * kernel.width else {
      return .refused("divisor_override is not fused")
    }
    let stride = strides.isEmpty ? (kernel.height, kernel.width) : (strides[0], strides[strides.count - 1])
    return try emitAveragePool(
      node, input, kernel: kernel, stride: stride, padding: [pad.height, pad.width, pad.height, pad.width])
  }

  private mutating func fuseAdaptiveAveragePool(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("self"), source.graph.spec(input).shape.rank == 4 else {
      return .refused("its input is not 4-D")
    }
    let shape = source.graph.spec(input).shape
    let result = source.graph.spec(node.output).shape
    guard shape[2] % result[2] == 0, shape[3] % result[3] == 0 else {
      return .refused("its windows are of unequal size: \(shape) to \(result)")
    }
    let kernel = (height: shape[2] / result[2], width: shape[3] / result[3])
    return try emitAveragePool(node, input, kernel: kernel, stride: kernel, padding: [0, 0, 0, 0])
  }

  /// A mean over height and width.
  private mutating func fuseMean(_ node: Node) throws(GraphError) -> FusionOutcome {
    let call = try call(node)
    let dims = try reading { () throws(OperatorError) in try call.ints("dim") }
    guard let input = node.value("self"), source.graph.spec(input).shape.rank == 4,
      Set(dims.map { $0 < 0 ? $0 + 4 : $0 }) == [2, 3]
    else { return .refused("only the mean over height and width of a 4-D tensor is fused") }
    let shape = source.graph.spec(input).shape
    let kernel = (height: shape[2], width: shape[3])
    return try emitAveragePool(node, input, kernel: kernel, stride: kernel, padding: [0, 0, 0, 0])
  }

  private mutating func emitAveragePool(
    _ node: Node, _ input: ValueID, kernel: (height: Int, width: Int), stride: (Int, Int), padding: [Int]
  ) throws(GraphError) -> FusionOutcome {
    var chain = try outputChain(of: node)
    let value: ValueID
    if let quantized = try int8(input), chain.quantization != nil {
      value = convert(quantized, to: .channelsLast)
    } else {
      chain.quantization = nil
      value = try real(input, .channelsLast)
    }
    let arguments: [(String, Operand)] =
      [
        ("self", .value(value)), ("kernel_size", .attribute(.ints([kernel.height, kernel.width]))),
        ("stride", .attribute(.ints([stride.0, stride.1]))), ("padding", .attribute(.ints(padding))),
      ] + chain.bounds()
    let output = outputSpec(chain)
    // A mean may drop the dimensions that it is taken over.
    let isFlat = output.shape.rank == 2
    var image = output
    if isFlat {
      image.shape = Shape(output.shape.dimensions + [1, 1])
      image.dimOrder = .channelsLast
    }
    let pooled = emit(
      "fused.avg_pool2d", name: isFlat ? chain.name + "_pool" : chain.name, arguments, output: image,
      sources: chain.nodes)
    finish(chain, isFlat ? emitView(pooled, name: chain.name, output.shape, chain.nodes) : pooled)
    return .fused
  }
}
