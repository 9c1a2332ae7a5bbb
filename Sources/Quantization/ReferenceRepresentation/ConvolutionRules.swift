import GraphIR
import Operators
import TensorCore

extension ReferenceRewriter {
  static let convolutionRules: [ReferenceRule] = [
    ReferenceRule([.conv2d, .conv2dPadding]) { rewriter, node throws(GraphError) in
      try rewriter.rewriteWeighted(node, channelAxisFromEnd: 3)
    },
    ReferenceRule([.conv1d, .conv1dPadding]) { rewriter, node throws(GraphError) in
      try rewriter.rewriteWeighted(node, channelAxisFromEnd: 2)
    },
    ReferenceRule([.linear]) { rewriter, node throws(GraphError) in
      try rewriter.rewriteWeighted(node, channelAxisFromEnd: 1)
    },
  ]

  /// A layer with weights on int32: (x − zero_point) with the widened weights and an int32 bias, all other arguments as
  /// they are. Padding is 0, which is what the zero point stands for.
  private mutating func rewriteWeighted(_ node: Node, channelAxisFromEnd: Int) throws(GraphError) -> String? {
    guard let x = activation(node.value("input")) else { return Self.inputReason }
    guard let weightID = node.value("weight"), let weight = quanta[weightID] else {
      return "its weight is not quantized"
    }
    guard weight.parameters.isSymmetricWeight else {
      return "its weight is not int8 with zero point 0, per tensor or along axis 0"
    }
    guard let chain = try chain(of: node) else { return "its output is not quantized" }
    let outputs = spec(weight.id).shape[0]
    let scales = weight.parameters.scales
    let factors = scales.map { x.parameters.scale * $0 / chain.quantization.scale }
    guard factors.allSatisfy({ $0.isFinite && $0 > 0 }) else {
      return "input scale · weight scale / output scale is not a positive finite number"
    }
    var arguments = node.arguments.filter { !["input", "weight", "bias"].contains($0.name) }.map {
      ($0.name, $0.operand)
    }
    if let biasID = node.value("bias") {
      let quantized: ValueID
      if let derived = quanta[biasID], derived.parameters.isBias(scales: scales.map { x.parameters.scale * $0 }) {
        quantized = derived.id
      } else if let bias = source.constants[biasID], bias.dataType == .float32, bias.shape.dimensions == [outputs] {
        let integers = quantizedBias(bias, inputScale: x.parameters.scale, weightScales: scales)
        quantized = addConstant(node.name + "_bias", integers)
      } else {
        return "its bias is neither a float32 constant nor int32 of scale input scale · weight scale"
      }
      arguments.insert(("bias", .value(quantized)), at: 0)
    }
    let input = centered(x.id, x.parameters, node)
    let wide = emitConversion(weight.id, .int32, node, name: node.name + "_weight")
    let sum = emit(
      node.op, name: node.name + "_sum", [("input", .value(input)), ("weight", .value(wide))] + arguments,
      output: TensorSpec(.int32, source.spec(node.output).shape), metadata: node.metadata)
    let axis = spec(sum).shape.rank - channelAxisFromEnd
    finish(chain, emitRequantize(sum, by: factors, axis: factors.count == 1 ? nil : axis, chain))
    return nil
  }

  /// RNE(bias / (input scale · weight scale)), divided in double precision; saturated, since a dead channel's scale is
  /// tiny. NaN becomes 0.
  private func quantizedBias(_ bias: Tensor, inputScale: Float, weightScales: [Float]) -> Tensor {
    let integers = bias.elements(as: Float.self).enumerated().map { channel, value in
      let scale = Double(inputScale) * Double(weightScales[weightScales.count == 1 ? 0 : channel])
      let rounded = (Double(value) / scale).rounded(.toNearestOrEven)
      return Int32(max(Double(Int32.min), min(Double(Int32.max), rounded.isNaN ? 0 : rounded)))
    }
    return Tensor(integers, shape: bias.shape)
  }
}
