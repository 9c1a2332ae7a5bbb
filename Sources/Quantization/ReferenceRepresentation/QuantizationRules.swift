import GraphIR
import Operators
import TensorCore

extension ReferenceRewriter {
  static let quantizationRules: [ReferenceRule] = [
    ReferenceRule([
      .quantizePerTensor, .quantizePerChannel,
    ]) { rewriter, node throws(GraphError) in try rewriter.quantize(node) },
    ReferenceRule([
      .dequantizePerTensor, .dequantizePerChannel,
    ]) { rewriter, node throws(GraphError) in try rewriter.dequantize(node) },
  ]

  private mutating func quantize(_ node: Node) throws(GraphError) -> String? {
    guard let input = node.value("input") else { return "it has no input" }
    let target: AffineParameters
    switch try AffineParameters.reading(node, source) {
    case .parameters(let parameters): target = parameters
    case .refused(let reason): return reason
    }
    if let current = quanta[input]?.parameters.activation, current == target.activation,
      target.range == -128...127, let known = quanta[input]
    {
      setIntegers(of: node, known.id)
    } else {
      setIntegers(of: node, emitQuantize(try value(input), target, node))
    }
    return nil
  }

  private mutating func dequantize(_ node: Node) throws(GraphError) -> String? {
    guard let input = node.value("input") else { return "it has no input" }
    switch try AffineParameters.reading(node, source) {
    case .parameters(let parameters):
      quanta[node.output] = Quanta(id: try value(input), parameters: parameters)
      return nil
    case .refused(let reason): return reason
    }
  }

  // MARK: Arithmetic

  /// clamp(RNE(x · inverse) + zero_point), as `quantized_decomposed.quantize_per_tensor` and `quantize_per_channel`.
  mutating func emitQuantize(
    _ value: ValueID, _ target: AffineParameters, _ node: Node, name: String? = nil
  ) -> ValueID {
    let inverse = operand(target.inverses, target.axis, rank: spec(value).shape.rank, name: node.name + "_inverse")
    let scaled = emit(.mul, value, [("other", inverse)], node)
    return emitRounding(scaled, target, bounds: target.range, node, name: name ?? node.name)
  }

  /// Multiples of the output scale to quanta: clamp, round half to even, add the zero point. Clamping to integers before
  /// rounding gives what rounding first would, and keeps the conversion to int32 in its range.
  mutating func emitRounding(
    _ scaled: ValueID, _ target: AffineParameters, bounds: ClosedRange<Int>, _ node: Node, name: String
  ) -> ValueID {
    let zeroPoints = target.zeroPoints
    let (least, most) = (zeroPoints.min() ?? 0, zeroPoints.max() ?? 0)
    let clamped = emit(
      .clamp, scaled,
      [
        ("min", .attribute(.float(Double(bounds.lowerBound - most)))),
        ("max", .attribute(.float(Double(bounds.upperBound - least)))),
      ], node)
    let rounded = emit(.round, clamped, [], node)
    if least == 0, most == 0 { return emitConversion(rounded, target.dataType, node, name: name) }
    var integers = emitConversion(rounded, .int32, node)
    let offset: Operand =
      target.axis.map { axis in
        let tensor = Tensor(
          zeroPoints.map { Int32($0) }, shape: channelShape(zeroPoints.count, axis, rank: spec(scaled).shape.rank))
        return .value(addConstant(node.name + "_zero_points", tensor))
      } ?? .attribute(.int(least))
    integers = emit(.add, integers, [("other", offset)], node)
    if least != most {
      integers = emit(
        .clamp, integers,
        [("min", .attribute(.int(bounds.lowerBound))), ("max", .attribute(.int(bounds.upperBound)))], node)
    }
    return emitConversion(integers, target.dataType, node, name: name)
  }

  /// (q − zero_point) · scale, as `quantized_decomposed.dequantize_per_tensor` and `dequantize_per_channel`.
  mutating func emitDequantize(_ integers: Quanta, name: String, metadata: [String: String]) -> ValueID {
    let parameters = integers.parameters
    let rank = spec(integers.id).shape.rank
    let origin = Node(name: name, op: .dequantizePerTensor, arguments: [], outputs: [], metadata: metadata)
    let difference: ValueID
    if let activation = parameters.activation {
      difference = centered(integers.id, activation, origin)
    } else {
      var wide = emitConversion(integers.id, .int32, origin)
      if parameters.zeroPoints.contains(where: { $0 != 0 }) {
        let offset: Operand =
          parameters.axis.map { axis in
            let shape = channelShape(parameters.zeroPoints.count, axis, rank: rank)
            let tensor = Tensor(parameters.zeroPoints.map { Int32($0) }, shape: shape)
            return .value(addConstant(name + "_zero_points", tensor))
          } ?? .attribute(.int(parameters.zeroPoints[0]))
        wide = emit(.sub, wide, [("other", offset)], origin)
      }
      difference = wide
    }
    let scale = operand(parameters.scales, parameters.axis, rank: rank, name: name + "_scales")
    return emit(.mul, emitConversion(difference, .float32, origin), [("other", scale)], origin)
  }

  /// int8 under other parameters: exactly dequantize and quantize.
  mutating func requantized(
    _ value: ValueID, from current: QuantizationParameters, to target: QuantizationParameters, _ node: Node
  ) -> ValueID {
    if current == target { return value }
    let real = emitDequantize(
      Quanta(id: value, parameters: AffineParameters(current)), name: node.name + "_requantize",
      metadata: node.inheritedMetadata)
    return emitQuantize(real, AffineParameters(target), node)
  }

  /// A number, or a buffer that runs along `axis`.
  mutating func operand(_ factors: [Float], _ axis: Int?, rank: Int, name: String) -> Operand {
    guard let axis else { return .attribute(.float(Double(factors[0]))) }
    return .value(addConstant(name, Tensor(factors, shape: channelShape(factors.count, axis, rank: rank))))
  }

  private func channelShape(_ count: Int, _ axis: Int, rank: Int) -> Shape {
    Shape([count] + [Int](repeating: 1, count: max(0, rank - 1 - axis)))
  }

  /// An int32 result in multiples of an output's scale to its quanta: `sum · factor` in float32, per tensor or per index
  /// of `axis`, then as `emitRounding`.
  mutating func emitRequantize(
    _ sum: ValueID, by factors: [Float], axis: Int?, _ chain: ReferenceChain
  ) -> ValueID {
    let node = chain.last
    let real = emitConversion(sum, .float32, node)
    let factor = operand(factors, axis, rank: spec(sum).shape.rank, name: node.name + "_requantization_scales")
    let scaled = emit(.mul, real, [("other", factor)], node)
    return emitRounding(
      scaled, AffineParameters(chain.quantization), bounds: chain.bounds, node, name: node.name)
  }
}
