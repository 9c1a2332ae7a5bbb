import GraphIR
import Operators
import TensorCore
import TorchFormats

extension DelegateRow {
  static let linear: [DelegateRow] = [
    DelegateRow([.fullyConnected], [.fusedLinear, .fusedDynamicLinear]) { call throws(OperatorError) in
      if call.op.has(.dynamic) {
        let input = call.inputs[0].shape
        guard try call.string("rule") == "token" || input.elementCount == input.dimensions.last else {
          return "the delegate chooses parameters for each row"
        }
        guard try call.spec("weight").quantization?.isPerChannel ?? false else {
          return "the delegate takes weights with a scale per channel only"
        }
      }
      return try constantLayer(call)
    } write: { writer, node, call throws(OperatorError) in
      guard let weight = node.value("weight") else { throw call.error("has no weight") }
      let input = try writer.layerInput(node, call, call.inputs[0].shape.dimensions, nonBatch: 1)
      let (filter, bias, output) = (writer.id(weight), try writer.bias(node, call), writer.id(node.output))
      writer.addNode(
        .fullyConnected, [.int(0, input), .int(1, filter), .int(2, bias), .int(3, output)],
        bounds: try call.realBounds())
    } read: { reader, node throws(FormatError) in
      let t = node.table
      let flags = try reader.refuseFlags(node, 4, allowed: XNNFlag.transposeWeights)
      let (input, output) = (try t.uint(0), try t.uint(3))
      let filter = try reader.value(try t.uint(1))
      guard filter.dimensions.count == 2 else { throw reader.error("a filter is \(filter.dimensions), not 2-D") }
      let weight: ValueID
      if filter.constant > 0 {
        var tensor = try reader.data(filter, Shape(filter.dimensions))
        if flags & XNNFlag.transposeWeights != 0 {
          try reader.charge(tensor)
          tensor = tensor.transposed()
        }
        weight = try reader.parameter(filter, tensor, name: "weight")
      } else {
        guard flags & XNNFlag.transposeWeights == 0 else { throw reader.error("a computed filter is transposed") }
        weight = try reader.real(try t.uint(1), asImage: false)
      }
      let channels = reader.builder.spec(weight).shape[0]
      let result = try reader.emit(
        .linear,
        [("input", .value(try reader.real(input, asImage: false))), ("weight", .value(weight))]
          + reader.bias(try t.uint(2), channels: channels))
      try reader.finish(node, output, result, isImage: false)
    }
  ]

  /// Why a layer's weights are not the delegate's to pack.
  static func constantLayer(_ call: OperatorCall) throws(OperatorError) -> String? {
    guard try call.constant("weight") != nil else { return "its weight is not a constant" }
    if try call.optionalSpec("bias") != nil, try call.constant("bias") == nil { return "its bias is not a constant" }
    return nil
  }
}

extension KernelRow {
  static let linear: [KernelRow] = [
    .init("aten::linear.out", .linear, "input weight bias"),
    .init("aten::embedding.out", .embedding, "weight indices padding_idx scale_grad_by_freq sparse"),
  ]
}

extension RewriteRow {
  static let linear: [RewriteRow] = [
    // The delegate takes weights with a scale per channel only, which may all be equal.
    RewriteRow([.fusedDynamicLinear, .fusedDynamicConv2d]) { rewriter, call throws(GraphError) in
      let id = try call.value("weight")
      guard let tensor = rewriter.constants[id], let quantization = tensor.spec.quantization,
        !quantization.isPerChannel
      else { return nil }
      var spec = tensor.spec
      let scales = [Float](repeating: quantization.scale, count: spec.shape[0])
      spec.quantization = QuantizationParameters(perChannel: scales, axis: 0)
      let weight = rewriter.addConstant(rewriter.result.graph[id].name, tensor.reinterpreted(as: spec))
      var call = call
      call.set("weight", .value(weight))
      return try rewriter.emit(call)
    }
  ]
}

extension XNNGraphWriter {
  /// A layer's input; of a dynamic one, quantized by a node of its own with parameters for each index before the last
  /// `nonBatch` dimensions.
  mutating func layerInput(
    _ node: Node, _ call: OperatorCall, _ sizes: [Int], nonBatch: Int
  ) throws(OperatorError) -> UInt32 {
    guard let input = node.value("input") else { throw call.error("has no input") }
    let source = id(input)
    guard call.op.has(.dynamic) else { return source }
    let quantized = addDynamicValue(sizes, nonBatch: nonBatch)
    addNode(.convert, [.int(0, source), .int(1, quantized)])
    return quantized
  }

  /// A layer's bias; an int32 one with the scales of its accumulator.
  mutating func bias(_ node: Node, _ call: OperatorCall) throws(OperatorError) -> UInt32 {
    guard let tensor = try call.constant("bias"), let bias = node.value("bias") else { return UInt32.max }
    guard tensor.dataType == .int32, let input = try call.spec("input").quantization,
      let weight = try call.spec("weight").quantization
    else { return id(bias) }
    let scales = weight.scales.map { input.scale * $0 }
    var spec = tensor.spec
    spec.quantization =
      weight.isPerChannel
      ? QuantizationParameters(perChannel: scales, axis: 0) : QuantizationParameters(scale: scales[0], zeroPoint: 0)
    return addConstant(tensor.reinterpreted(as: spec), sizes: spec.shape.dimensions, axis: 0)
  }
}

extension XNNGraphReader {
  /// The bias of a layer, if it has one.
  mutating func bias(_ id: Int, channels: Int) throws(FormatError) -> [(String, Operand)] {
    guard id != XNNGraph.noValue else { return [] }
    let value = try value(id)
    guard value.constant > 0 else { throw error("a bias is computed, which cannot be read") }
    let tensor = try data(value, Shape([channels]))
    return [("bias", .value(try parameter(value, tensor, name: "bias")))]
  }
}

extension Tensor {
  /// (in, out) to (out, in).
  fileprivate func transposed() -> Tensor {
    let (rows, columns) = (shape[0], shape[1])
    let image = TensorSpec(dataType, [1, columns, rows, 1], dimOrder: .channelsLast)
    return reinterpreted(as: image).rowMajor().reinterpreted(as: TensorSpec(dataType, [columns, rows]))
  }
}
