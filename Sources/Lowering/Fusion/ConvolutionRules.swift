import GraphIR
import Operators
import TensorCore

extension Fuser {
  static let convolutionRules: [FusionRule] = [
    FusionRule([
      .conv2d, .conv2dPadding, .conv1d, .conv1dPadding,
      .convTranspose1d, .convTranspose2d,
    ]) { fuser, node throws(GraphError) in try fuser.fuseConvolution(node) },
    FusionRule([.linear]) { fuser, node throws(GraphError) in try fuser.fuseLinear(node) },
  ]

  private mutating func fuseConvolution(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("input"), let weightID = node.value("weight"), let given = try weight(weightID) else {
      return .refused("its weight is not a constant")
    }
    if let dynamic = dynamicInputs[input] { return try fuseDynamicConvolution(node, dynamic, given) }
    let geometry = ConvolutionGeometry(node.op.layer, try window(node))
    if let reason = geometry.refusal { return .refused(reason) }
    guard source.graph.spec(input).shape.rank == geometry.rank else { return .refused("its input has no batch") }
    let weight = geometry.images(given)
    var chain = try outputChain(of: node)
    var activation = try form(input)
    let isQuantized = try settleInt8(&chain, activation, weight)
    if weight.quantization == nil, spec(activation.id).quantization != nil {
      activation = Form(try real(input, .channelsLast))
    }
    if !isQuantized, weight.quantization != nil {
      return .refused(unquantizedReason(chain, activation, weight))
    }
    var window = geometry.window
    if let pending = activation.pendingPad, !geometry.isTransposed {
      window.padding = zip(window.padding, pending).map(+)
      activation.pendingPad = nil
    }
    var value = try settle(activation)
    if geometry.isFlat {
      value = emitView(value, name: lowered.graph[value].name + "_image", geometry.withHeight(spec(value).shape))
    }
    value = convert(value, to: .channelsLast)
    if let (shape, pad) = geometry.stuffed(spec(value).shape) {
      var output = spec(value)
      output.shape = shape
      value = emit(
        .fusedPad, name: node.name + "_stuffed", [("self", .value(value))] + pad, output: output, sources: [node])
    }
    guard case .constant(let bias) = try addBias(node, weight, isQuantized ? spec(value).quantization : nil) else {
      return .refused("its bias is not a constant")
    }
    var output = outputSpec(chain)
    if geometry.isFlat {
      output = TensorSpec(
        output.dataType, geometry.withHeight(output.shape), dimOrder: .channelsLast, quantization: output.quantization)
    }
    if ordersForCalibration,
      let total = emitInCalibrationOrder(
        chain, input: value, sourceShape: spec(value).shape, weight: weight.tensor.rowMajor(), bias: bias,
        window: window, output: output)
    {
      finish(chain, flattened(total, geometry, chain))
      return .fused
    }
    let kernel = addWeight(source.graph[weightID].name, weight, weight.tensor.channelsLast())
    let arguments: [(String, Operand)] =
      [("input", .value(value)), ("weight", .value(kernel))] + (bias.map { [("bias", .value($0))] } ?? [])
      + window.arguments(of: .fusedConv2d) + chain.bounds()
    let result = emit(.fusedConv2d, name: chain.name, arguments, output: output, sources: chain.nodes)
    finish(chain, flattened(result, geometry, chain))
    return .fused
  }

  /// The result of a 1-D convolution, which was computed as an image of height 1.
  private mutating func flattened(_ value: ValueID, _ geometry: ConvolutionGeometry, _ chain: OutputChain) -> ValueID {
    guard geometry.isFlat else { return value }
    return emitView(
      convert(value, to: .contiguous), name: lowered.graph[value].name + "_flat",
      source.graph.spec(chain.result).shape)
  }

  private mutating func fuseLinear(_ node: Node) throws(GraphError) -> FusionOutcome {
    guard let input = node.value("input"), let weightID = node.value("weight"), let weight = try weight(weightID) else {
      return .refused("its weight is not a constant")
    }
    if let dynamic = dynamicInputs[input] { return try fuseDynamicLinear(node, dynamic, weight) }
    var chain = try outputChain(of: node)
    var activation = try form(input)
    let isQuantized = try settleInt8(&chain, activation, weight)
    if weight.quantization == nil, spec(activation.id).quantization != nil {
      activation = Form(try real(input, .contiguous))
    }
    if !isQuantized, weight.quantization != nil {
      return .refused(unquantizedReason(chain, activation, weight))
    }
    var tensor = weight.tensor
    if let (channels, height, width) = activation.flattened {
      tensor = tensor.permutedColumns(channels: channels, height: height, width: width)
      activation.flattened = nil
    }
    let value = convert(try settle(activation), to: .contiguous)
    guard case .constant(let bias) = try addBias(node, weight, isQuantized ? spec(value).quantization : nil) else {
      return .refused("its bias is not a constant")
    }
    let weightValue = addWeight(source.graph[weightID].name, weight, tensor)
    finishLinear(
      chain, .fusedLinear, value,
      [("weight", .value(weightValue))] + (bias.map { [("bias", .value($0))] } ?? []) + chain.bounds())
    return .fused
  }

  /// Emits a linear layer on a contiguous input. Delegates take 4-D tensors for images: what has other meanings is given
  /// as rows.
  mutating func finishLinear(
    _ chain: OutputChain, _ op: Operator, _ input: ValueID, _ rest: [(String, Operand)]
  ) {
    var (value, output) = (input, outputSpec(chain))
    output.dimOrder = .contiguous
    let shape = output.shape
    if shape.rank == 4 {
      let rows = shape.dimensions.dropLast().reduce(1, *)
      value = emitView(value, name: chain.name + "_rows", [rows, spec(value).shape[3]])
      output.shape = [rows, shape[3]]
    }
    let result = emit(
      op, name: chain.name, [("input", .value(value))] + rest, output: output, sources: chain.nodes)
    finish(chain, shape.rank == 4 ? emitView(result, name: chain.name + "_view", shape) : result)
  }

  /// Whether input, weight and output are all int8. Otherwise the chain's quantization is dropped: the operator gives
  /// reals.
  private func settleInt8(_ chain: inout OutputChain, _ input: Form, _ weight: Weight) throws(GraphError) -> Bool {
    if spec(input.id).quantization != nil, let quantization = weight.quantization, quantization.zeroPoint == 0,
      quantization.axis ?? 0 == 0, chain.quantization != nil
    {
      return true
    }
    chain.quantization = nil
    return false
  }

  private func unquantizedReason(_ chain: OutputChain, _ input: Form, _ weight: Weight) -> String {
    guard spec(input.id).quantization != nil, let quantization = weight.quantization else {
      return "its weight is quantized, but its input is not"
    }
    if quantization.zeroPoint != 0 { return "its weight has zero point \(quantization.zeroPoint), not 0" }
    if quantization.axis ?? 0 != 0 { return "its weight is quantized along axis \(quantization.axis!), not 0" }
    return "its output is not quantized"
  }

  mutating func addWeight(_ name: String, _ weight: Weight, _ tensor: Tensor) -> ValueID {
    var spec = tensor.spec
    spec.quantization = weight.quantization
    return addConstant(name, tensor.reinterpreted(as: spec))
  }

  private enum Bias {
    /// Nil: the layer has none.
    case constant(ValueID?)
    case computed
  }

  /// The bias as a constant: float, or int32 at scale input · weight.
  private mutating func addBias(
    _ node: Node, _ weight: Weight, _ input: QuantizationParameters?
  ) throws(GraphError) -> Bias {
    guard let id = node.value("bias") else { return .constant(nil) }
    let products = accumulatorScales(input, weight)
    if let integers = try integerBias(id, products) {
      return .constant(addConstant(source.graph[id].name, integers))
    }
    guard let bias = try constantReals(id), bias.dataType == .float32 else { return .computed }
    var tensor = bias
    if let products {
      let quantized = tensor.elements(as: Float.self).enumerated().map { channel, value in
        // Double, since Int32.max is no Float; a dead channel's tiny scale saturates.
        let rounded = (Double(value) / products[products.count == 1 ? 0 : channel]).rounded(.toNearestOrEven)
        return Int32(max(Double(Int32.min), min(Double(Int32.max), rounded.isNaN ? 0 : rounded)))
      }
      tensor = Tensor(quantized, shape: tensor.shape)
    }
    return .constant(addConstant(source.graph[id].name, tensor))
  }

  /// The scale of each channel's accumulator, or the one of all; nil for a layer on reals.
  private func accumulatorScales(_ input: QuantizationParameters?, _ weight: Weight) -> [Double]? {
    guard let input, let scales = weight.quantization?.scales else { return nil }
    return scales.map { Double(input.scale) * Double($0) }
  }

  /// An int32 bias behind a dequantize node, when its scales are the accumulator's: the integers as they stand.
  private func integerBias(_ id: ValueID, _ products: [Double]?) throws(GraphError) -> Tensor? {
    guard let products, let index = producers[id] else { return nil }
    let node = source.graph.nodes[index]
    guard node.op.has(.dequantizes), let input = node.value("input"),
      let tensor = constant(input), tensor.dataType == .int32
    else { return nil }
    let call = try call(node)
    let (scales, isSymmetric) = try reading { () throws(OperatorError) -> ([Float], Bool) in
      if call.schema.parameter(named: "scales") == nil {
        return ([Float(try call.float("scale"))], try call.int("zero_point") == 0)
      }
      let zeroPoints = try call.constant("zero_points")
      let isSymmetric = zeroPoints?.withUnsafeBytes { bytes in bytes.allSatisfy { $0 == 0 } } ?? true
      let scales = try call.constant("scales")
      return (scales?.dataType == .float32 ? scales!.elements(as: Float.self) : [], isSymmetric)
    }
    guard isSymmetric, scales.count == products.count || scales.count == 1 || products.count == 1 else { return nil }
    for index in 0..<max(scales.count, products.count) {
      let product = products[products.count == 1 ? 0 : index]
      guard abs(Double(scales[scales.count == 1 ? 0 : index]) - product) <= 1e-6 * product else { return nil }
    }
    return tensor
  }
}
