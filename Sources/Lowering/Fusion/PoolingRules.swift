import GraphIR
import Operators
import TensorCore

extension Fuser {
  static let poolingRules: [FusionRule] = [
    FusionRule([.maxPool2d, .maxPool1d]) { fuser, node throws(GraphError) in
      try fuser.fuseMaxPool(node)
    },
    FusionRule([.avgPool2d, .avgPool1d]) { fuser, node throws(GraphError) in
      try fuser.fuseAveragePool(node)
    },
    FusionRule([.adaptiveAvgPool2d, .adaptiveAvgPool1d]) {
      fuser, node throws(GraphError) in
      try fuser.fuseAdaptiveAveragePool(node)
    },
    FusionRule([.meanDim]) { fuser, node throws(GraphError) in try fuser.fuseMean(node) },
  ]

  /// What a pooling is on: images of height 1, where it is a 1-D one.
  private struct Images {
    let input: ValueID
    let isFlat: Bool
    /// [N, C, H, W]
    let shape, result: Shape
  }

  /// Nil for an operand without a batch.
  private func images(_ node: Node) -> Images? {
    guard let input = node.value("self") else { return nil }
    let isFlat = [.maxPool1d, .avgPool1d, .adaptiveAvgPool1d].contains(node.op)
    let (shape, result) = (source.graph.spec(input).shape, source.graph.spec(node.output).shape)
    guard shape.rank == (isFlat ? 3 : 4) else { return nil }
    func image(_ shape: Shape) -> Shape { isFlat ? Shape([shape[0], shape[1], 1, shape[2]]) : shape }
    return Images(input: input, isFlat: isFlat, shape: image(shape), result: image(result))
  }

  private mutating func emitImage(_ value: ValueID, _ images: Images, _ node: Node) -> ValueID {
    let image =
      images.isFlat
      ? emitView(convert(value, to: .contiguous), name: node.name + "_image", images.shape) : value
    return convert(image, to: .channelsLast)
  }

  private mutating func emitFlat(_ image: ValueID, _ images: Images, name: String, _ shape: Shape) -> ValueID {
    images.isFlat ? emitView(convert(image, to: .contiguous), name: name + "_flat", shape) : image
  }

  private mutating func fuseMaxPool(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let images = images(node) else { return .refused("its input has no batch") }
    let window = try window(node)
    let value = emitImage(try settled(images.input), images, node)
    let output = TensorSpec(
      spec(value).dataType, images.result, dimOrder: .channelsLast, quantization: spec(value).quantization)
    let pooled = emit(
      .fusedMaxPool2d, name: node.name, [("self", .value(value))] + window.arguments(of: .fusedMaxPool2d),
      output: output, sources: [node])
    forms[node.output] = Form(emitFlat(pooled, images, name: node.name, source.graph.spec(node.output).shape))
    return .fused
  }

  private mutating func fuseAveragePool(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let images = images(node) else { return .refused("its input has no batch") }
    let (call, window) = (try call(node), try window(node))
    let (ceil, counted, divisor) = try reading { () throws(OperatorError) in
      (
        try call.bool("ceil_mode"), try call.bool("count_include_pad"),
        images.isFlat ? nil : try call.optionalInt("divisor_override")
      )
    }
    guard !ceil else { return .refused("ceil_mode is not fused") }
    guard counted || !window.isPadded else {
      return .refused("padding that is left out of the mean is not fused")
    }
    guard divisor == nil || divisor == window.area else {
      return .refused("divisor_override is not fused")
    }
    return try emitAveragePool(node, images, window)
  }

  private mutating func fuseAdaptiveAveragePool(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let images = images(node) else { return .refused("its input has no batch") }
    let (shape, result) = (images.shape, images.result)
    guard shape[2] % result[2] == 0, shape[3] % result[3] == 0 else {
      return .refused("its windows are of unequal size: \(shape) to \(result)")
    }
    let kernel = [shape[2] / result[2], shape[3] / result[3]]
    return try emitAveragePool(node, images, Window2d(kernel: kernel, stride: kernel))
  }

  /// A mean over height and width.
  private mutating func fuseMean(_ node: Node) throws(GraphError) -> FusionOutcome {
    let call = try call(node)
    let dims = try reading { () throws(OperatorError) in try call.ints("dim") }
    guard let input = node.value("self"), source.graph.spec(input).shape.rank == 4,
      Set(dims.map { $0 < 0 ? $0 + 4 : $0 }) == [2, 3]
    else { return .refused("only the mean over height and width of a 4-D tensor is fused") }
    let shape = source.graph.spec(input).shape
    let images = Images(input: input, isFlat: false, shape: shape, result: [shape[0], shape[1], 1, 1])
    let kernel = [shape[2], shape[3]]
    return try emitAveragePool(node, images, Window2d(kernel: kernel, stride: kernel))
  }

  private mutating func emitAveragePool(
    _ node: Node, _ images: Images, _ window: Window2d
  ) throws(GraphError) -> FusionOutcome {
    var chain = try outputChain(of: node)
    let operand: ValueID
    if let quantized = try int8(images.input), chain.quantization != nil {
      operand = quantized
    } else {
      chain.quantization = nil
      operand = try real(images.input, images.isFlat ? .contiguous : .channelsLast)
    }
    let value = emitImage(operand, images, node)
    let arguments = [("self", .value(value))] + window.arguments(of: .fusedAvgPool2d) + chain.bounds()
    var output = outputSpec(chain)
    let shape = output.shape
    output.shape = images.result
    output.dimOrder = .channelsLast
    let pooled = emit(.fusedAvgPool2d, name: chain.name, arguments, output: output, sources: chain.nodes)
    // A mean may drop the dimensions that it is taken over.
    let isMatrix = shape.rank == 2
    finish(
      chain,
      isMatrix
        ? emitView(pooled, name: chain.name + "_flat", shape) : emitFlat(pooled, images, name: chain.name, shape))
    return .fused
  }
}
