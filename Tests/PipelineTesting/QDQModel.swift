import Swiftlet
import TestSupport

/// Builds small Q/DQ programs by hand, with any parameters.
package struct QDQModel {
  package var model = TestModel()

  package init() {}

  package mutating func input(_ shape: Shape, _ name: String = "x") -> ValueID { model.input(name, shape) }

  package mutating func call(_ op: String, _ arguments: KeyValuePairs<String, Operand>, _ output: TensorSpec) -> ValueID
  {
    let parts = op.split(separator: ".")
    let node = model.program.graph.makeNode(
      OperatorSet.standard.resolve(op), name: String(parts[parts.count - 2]),
      arguments: arguments.map { Node.Argument($0.key, $0.value) },
      output: output)
    model.program.graph.nodes.append(node)
    return node.output
  }

  package mutating func real(_ op: String, _ arguments: KeyValuePairs<String, Operand>, _ shape: Shape) -> ValueID {
    call(op, arguments, TensorSpec(.float32, shape))
  }

  package mutating func quantize(_ x: ValueID, _ scale: Float, _ zeroPoint: Int) -> ValueID {
    perTensor("quantize_per_tensor", x, .int8, scale, zeroPoint)
  }

  package mutating func dequantize(_ x: ValueID, _ scale: Float, _ zeroPoint: Int) -> ValueID {
    perTensor("dequantize_per_tensor", x, .float32, scale, zeroPoint)
  }

  /// Quantize and dequantize.
  package mutating func pair(_ x: ValueID, _ scale: Float, _ zeroPoint: Int) -> ValueID {
    let integers = quantize(x, scale, zeroPoint)
    return dequantize(integers, scale, zeroPoint)
  }

  private mutating func perTensor(
    _ op: String, _ x: ValueID, _ dataType: DataType, _ scale: Float, _ zeroPoint: Int
  ) -> ValueID {
    call(
      "quantized_decomposed.\(op).default",
      [
        "input": .value(x), "scale": .attribute(.float(Double(scale))), "zero_point": .attribute(.int(zeroPoint)),
        "quant_min": .attribute(.int(-128)), "quant_max": .attribute(.int(127)), "dtype": .attribute(.dataType(.int8)),
      ], TensorSpec(dataType, model.program.graph.spec(x).shape))
  }

  /// A constant int8 weight of random values, and its dequantize node: per channel along axis 0, or per tensor.
  package mutating func weight(_ shape: Shape, isPerChannel: Bool = true, seed: UInt64 = 3) -> ValueID {
    let weight = model.parameter("weight", Tensor.randomQuanta(shape, -127...127, seed: seed))
    guard isPerChannel else {
      return call(
        "quantized_decomposed.dequantize_per_tensor.default",
        [
          "input": .value(weight), "scale": .attribute(.float(Double(Float(0.0071)))),
          "zero_point": .attribute(.int(0)), "quant_min": .attribute(.int(-127)), "quant_max": .attribute(.int(127)),
          "dtype": .attribute(.dataType(.int8)),
        ], TensorSpec(.float32, shape))
    }
    let values = (0..<shape[0]).map { 0.003 + 0.0013 * Float($0) }
    let scales = model.parameter("scales", Tensor(values, shape: [shape[0]]))
    let zeroPoints = model.parameter("zero_points", Tensor([Int64](repeating: 0, count: shape[0]), shape: [shape[0]]))
    return perChannel("dequantize_per_channel", weight, scales, zeroPoints, TensorSpec(.float32, shape))
  }

  package mutating func perChannel(
    _ op: String, _ x: ValueID, _ scales: ValueID, _ zeroPoints: ValueID, axis: Int = 0, _ output: TensorSpec
  ) -> ValueID {
    call(
      "quantized_decomposed.\(op).default",
      [
        "input": .value(x), "scales": .value(scales), "zero_points": .value(zeroPoints),
        "axis": .attribute(.int(axis)), "quant_min": .attribute(.int(-127)), "quant_max": .attribute(.int(127)),
        "dtype": .attribute(.dataType(.int8)),
      ], output)
  }

  package mutating func finish(_ outputs: ValueID...) -> ExportedProgram {
    model.program.graph.outputs = outputs
    return model.program
  }
}

extension Tensor {
  package static func randomQuanta(_ shape: Shape, _ range: ClosedRange<Int8>, seed: UInt64) -> Tensor {
    var generator = SeededGenerator(seed: seed)
    return Tensor((0..<shape.elementCount).map { _ in Int8.random(in: range, using: &generator) }, shape: shape)
  }

  package static func random(_ shape: Shape, _ range: ClosedRange<Float>, seed: UInt64 = 1) -> Tensor {
    var generator = SeededGenerator(seed: seed)
    return Tensor((0..<shape.elementCount).map { _ in Float.random(in: range, using: &generator) }, shape: shape)
  }
}
