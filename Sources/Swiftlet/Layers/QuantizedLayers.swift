import GraphIR
import Quantization
import TensorCore

/// A layer of a quantized program: the operators between two quantizations, named by the value they give.
package struct QuantizedLayer {
  /// The result, before its quantize node.
  package let value: ValueID
  /// The quantize node of the result; nil when it stays in float.
  package let quantize: Node?
  /// The operators that compute it from the results of other layers, in execution order; none for a model's input.
  package let nodes: [Node]

  /// The first operator with a weight.
  package var weighted: Node? { nodes.first { $0.value("weight") != nil } }
}

extension ExportedProgram {
  /// The layers of a float or Q/DQ program, in execution order: every value that is quantized, every result of the
  /// model, and every convolution or linear layer that stays in float, with the activation behind it.
  func quantizedLayers() -> [QuantizedLayer] {
    let (producers, users) = (graph.producers(), graph.users())
    let constants = Set(zip(graph.inputs, inputKinds).filter { $1 != .userInput }.map(\.0))
    func node(_ id: ValueID) -> Node? { producers[id].map { graph.nodes[$0] } }
    /// The value before the quantize and dequantize nodes that give `id`.
    func source(_ id: ValueID) -> ValueID {
      var id = id
      while let producer = node(id), producer.isQuantizeOrDequantize, let input = producer.value("input") { id = input }
      return id
    }
    var quantizers: [ValueID: Node] = [:]
    for node in graph.nodes where node.isQuantize {
      guard let input = node.value("input"), source(input) == input, !constants.contains(input) else { continue }
      quantizers[input] = quantizers[input] ?? node
    }
    var found = Set(quantizers.keys)
    found.formUnion(graph.outputs.map(source).filter { !constants.contains($0) })
    for node in graph.nodes where node.value("weight") != nil {
      var end = node.output
      if quantizers[end] == nil, let readers = users[end], readers.count == 1, graph.nodes[readers[0]].isClamp {
        end = graph.nodes[readers[0]].output
      }
      found.insert(end)
    }
    let order = zip(graph.inputs, inputKinds).filter { $1 == .userInput }.map(\.0) + graph.nodes.flatMap(\.outputs)
    return order.filter { found.contains($0) && graph.spec($0).dataType == .float32 }.map { value in
      var members: Set<Int> = []
      var pending = [value]
      while let next = pending.popLast() {
        guard next == value || !found.contains(next), let index = producers[next],
          !graph.nodes[index].isQuantizeOrDequantize, members.insert(index).inserted
        else { continue }
        pending += graph.nodes[index].inputs
      }
      return QuantizedLayer(
        value: value, quantize: quantizers[value], nodes: members.sorted().map { graph.nodes[$0] })
    }
  }

  /// The tensors of the state dict that a node reads, those behind dequantize nodes included.
  package func stateTensors(readBy nodes: [Node]) -> [Tensor] {
    let (constants, producers) = (constants(), graph.producers())
    var seen: Set<ValueID> = []
    var result: [Tensor] = []
    func visit(_ id: ValueID) {
      guard seen.insert(id).inserted else { return }
      if let tensor = constants[id] { return result.append(tensor) }
      guard let index = producers[id], graph.nodes[index].isDequantize,
        let integers = graph.nodes[index].value("input"), constants[integers] != nil
      else { return }
      graph.nodes[index].inputs.forEach(visit)
    }
    for node in nodes { node.inputs.forEach(visit) }
    return result
  }

  /// The float tensor that an argument stands for when it is constant: itself, or the integers behind a dequantize
  /// node made real.
  package func constantReals(_ id: ValueID) -> Tensor? {
    let constants = constants()
    if let tensor = constants[id] { return tensor.dataType == .float32 ? tensor : nil }
    guard let node = graph.nodes.first(where: { $0.outputs.contains(id) }), node.isDequantize,
      let parameters = dequantization(node), let integers = node.value("input").flatMap({ constants[$0] })
    else { return nil }
    let quanta: [Int32]
    switch integers.dataType {
    case .int8: quanta = integers.elements(as: Int8.self).map(Int32.init)
    case .uint8: quanta = integers.elements(as: UInt8.self).map(Int32.init)
    default: return nil
    }
    let inner = integers.shape.dimensions[((parameters.axis ?? integers.shape.rank - 1) + 1)...].reduce(1, *)
    let channels = parameters.scales.count
    let reals = quanta.indices.map { index in
      let channel = parameters.isPerChannel ? index / max(inner, 1) % channels : 0
      return Float(quanta[index] - parameters.zeroPoint) * parameters.scales[channel]
    }
    return Tensor(reals, shape: integers.shape)
  }

  /// The parameters of a quantize or dequantize node; nil when they are computed, or differ in zero point by channel.
  package func dequantization(_ node: Node) -> QuantizationParameters? {
    if case .attribute(.float(let scale))? = node.operand("scale"),
      case .attribute(.int(let zeroPoint))? = node.operand("zero_point")
    {
      return QuantizationParameters(scale: Float(scale), zeroPoint: Int32(clamping: zeroPoint))
    }
    let constants = constants()
    guard let scales = node.value("scales").flatMap({ constants[$0] }),
      case .attribute(.int(let axis))? = node.operand("axis"),
      let input = node.value("input"), let dimension = graph.spec(input).shape.normalizedDimension(axis)
    else { return nil }
    if let zeroPoints = node.value("zero_points").flatMap({ constants[$0] }) {
      let isSymmetric = zeroPoints.withUnsafeBytes { bytes in bytes.allSatisfy { $0 == 0 } }
      guard isSymmetric else { return nil }
    }
    switch scales.dataType {
    case .float32: return QuantizationParameters(perChannel: scales.elements(), axis: dimension)
    case .float64:
      return QuantizationParameters(perChannel: scales.elements(as: Double.self).map(Float.init), axis: dimension)
    default: return nil
    }
  }
}
