import GraphIR
import Operators
import TensorCore

extension ReferenceRewriter {
  static let poolingRules: [ReferenceRule] = [
    ReferenceRule([.avgPool2d]) { rewriter, node throws(GraphError) in
      try rewriter.rewriteAveragePool(node)
    },
    ReferenceRule([.adaptiveAvgPool2d]) { rewriter, node throws(GraphError) in
      try rewriter.rewriteAdaptiveAveragePool(node)
    },
    ReferenceRule([.meanDim]) { rewriter, node throws(GraphError) in try rewriter.rewriteMean(node) },
  ]

  /// The most elements whose sum, each at most 255 in magnitude, is sure to fit in int32.
  private static let largestCount = Int(Int32.max) / 255

  private mutating func rewriteMean(_ node: Node) throws(GraphError) -> String? {
    let (dims, keeps) = try source.read(node) { call throws(OperatorError) in
      (try call.ints("dim"), try call.bool("keepdim"))
    }
    return try rewriteWholeMean(node, dims: dims, keepsRank: keeps)
  }

  private mutating func rewriteAdaptiveAveragePool(_ node: Node) throws(GraphError) -> String? {
    guard let input = node.value("self") else { return "it has no input" }
    let (shape, result) = (source.spec(input).shape, source.spec(node.output).shape)
    let (height, width) = (shape.rank - 2, shape.rank - 1)
    if result[height] == 1, result[width] == 1 {
      return try rewriteWholeMean(node, dims: [height, width], keepsRank: true)
    }
    guard shape[height] % result[height] == 0, shape[width] % result[width] == 0 else {
      return "its windows are of unequal size: \(shape) to \(result)"
    }
    let kernel = [shape[height] / result[height], shape[width] / result[width]]
    return try rewriteWindows(node, input, kernel: kernel, stride: kernel, padding: [0, 0])
  }

  private mutating func rewriteAveragePool(_ node: Node) throws(GraphError) -> String? {
    guard let input = node.value("self") else { return "it has no input" }
    let (kernel, padding, strides) = try source.read(node) { call throws(OperatorError) in
      (try call.pair("kernel_size"), try call.pair("padding"), try call.ints("stride"))
    }
    let (ceil, counted, divisor) = try source.read(node) { call throws(OperatorError) in
      (try call.bool("ceil_mode"), try call.bool("count_include_pad"), try call.optionalInt("divisor_override"))
    }
    guard !ceil else { return "ceil_mode makes windows of different sizes" }
    guard counted || (padding.height == 0 && padding.width == 0) else { return "padding is left out of the mean" }
    guard divisor == nil || divisor == kernel.height * kernel.width else {
      return "divisor_override is not the window's area"
    }
    return try rewriteWindows(
      node, input, kernel: [kernel.height, kernel.width],
      stride: strides.isEmpty ? [kernel.height, kernel.width] : strides,
      padding: [padding.height, padding.width])
  }

  /// Sums over whole dimensions.
  private mutating func rewriteWholeMean(_ node: Node, dims: [Int], keepsRank: Bool) throws(GraphError) -> String? {
    guard let input = node.value("self") else { return "it has no input" }
    let shape = source.spec(input).shape
    let reduced = dims.isEmpty ? Array(0..<shape.rank) : dims.compactMap(shape.normalizedDimension)
    let count = reduced.reduce(1) { $0 * (shape.rank == 0 ? 1 : shape[$1]) }
    return try rewriteMean(node, input, count: count) { rewriter, x in
      rewriter.emit(
        .sumDim, name: node.name + "_sum",
        [
          ("self", .value(x)), ("dim", .attribute(.ints(reduced))), ("keepdim", .attribute(.bool(keepsRank))),
          ("dtype", .attribute(.dataType(.int32))),
        ], output: TensorSpec(.int32, rewriter.source.spec(node.output).shape), metadata: node.metadata)
    }
  }

  /// Sums over windows: a convolution of each channel with ones.
  private mutating func rewriteWindows(
    _ node: Node, _ input: ValueID, kernel: [Int], stride: [Int], padding: [Int]
  ) throws(GraphError) -> String? {
    let shape = source.spec(input).shape
    let channels = shape[shape.rank - 3]
    return try rewriteMean(node, input, count: kernel[0] * kernel[1]) { rewriter, x in
      let ones = Tensor(
        [Int32](repeating: 1, count: channels * kernel[0] * kernel[1]),
        shape: Shape([channels, 1, kernel[0], kernel[1]]))
      return rewriter.emit(
        .conv2d, name: node.name + "_sum",
        [
          ("input", .value(x)), ("weight", .value(rewriter.addConstant(node.name + "_ones", ones))),
          ("stride", .attribute(.ints(stride))), ("padding", .attribute(.ints(padding))),
          ("groups", .attribute(.int(channels))),
        ], output: TensorSpec(.int32, rewriter.source.spec(node.output).shape), metadata: node.metadata)
    }
  }

  /// RNE(clamp(sum · s)) + zp, with s = input scale / (output scale · count) in float32.
  private mutating func rewriteMean(
    _ node: Node, _ input: ValueID, count: Int, sum: (inout ReferenceRewriter, ValueID) -> ValueID
  ) throws(GraphError) -> String? {
    guard let x = activation(input) else { return Self.inputReason }
    guard let chain = try chain(of: node) else { return "its output is not quantized" }
    guard count <= Self.largestCount else { return "a sum of \(count) elements may not fit in int32" }
    let factor = x.parameters.scale / (chain.quantization.scale * Float(count))
    guard factor.isFinite, factor > 0 else {
      return "input scale / (output scale · count) is not a positive finite number"
    }
    let total = sum(&self, centered(x.id, x.parameters, node))
    finish(chain, emitRequantize(total, by: [factor], axis: nil, chain))
    return nil
  }
}
