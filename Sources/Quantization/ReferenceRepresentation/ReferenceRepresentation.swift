import GraphIR

/// A Q/DQ program rewritten in integer ATen operators (PT2E's reference representation).
///
/// Activations between quantized units are int8. A unit (dequantize, operator, activation, quantize) becomes
///
///     x.to(int32) − zero_point → int32 operator → to(float32) · scale → clamp → round → to(int32) + zero_point → to(int8)
///
/// with scale = input scale · weight scale / output scale in float32, rounding half to even, and the int32 bias
/// RNE(bias / (input scale · weight scale)): the bytes of the portable kernels of lowered programs, in operators that the
/// `Interpreter`, and PyTorch, run one by one. Sums of two tensors are fixed point (`aten.bitwise_right_shift`), rounded
/// half up, as those kernels are.
///
/// It differs from torchao's `_rewrite` in that nothing is truncated, and in the operators: convolution and linear are
/// `aten.conv2d` and `aten.linear` of int32 tensors, where torchao has `out_dtype(aten.conv2d, int32, int16, int16)`.
/// The sums are the same; no higher-order operator is needed, and PyTorch's CPU kernels take int32 (dilated
/// convolutions excepted).
package struct ReferenceRepresentation: Sendable {
  package let program: ExportedProgram
  /// The nodes that still compute floats, in execution order.
  package let notRewritten: [NotRewritten]
  /// The integer value of each quantized value: the name of a quantize node's output in the Q/DQ program → the name of
  /// a value of this program that holds the same quanta.
  package let quantizedValues: [String: String]
}

/// A node of the Q/DQ program that has no integer form in the reference representation, such as a sigmoid. It stays the
/// float operator it is, between dequantization and quantization as arithmetic, which gives what a table of the 256
/// quanta would.
package struct NotRewritten: Hashable, Sendable, CustomStringConvertible {
  package let node: String
  package let operatorName: String
  package let reason: String

  package var description: String { "\(node) (\(operatorName)): \(reason)" }
}

/// Rewrites a Q/DQ program in integer operators.
///
/// Quantize and dequantize nodes that remain at the borders become multiplication, clamp, rounding and addition, equal
/// to the `quantized_decomposed` operators bit for bit; those with float64 scales, or computed ones, stay as they are.
///
/// - Throws: a `GraphError` when the program, or the result, is no well-formed Q/DQ graph.
package func referenceRepresentation(of program: ExportedProgram) throws(GraphError) -> ReferenceRepresentation {
  try Verifier.verify(program, as: .quantizeDequantize)
  var rewriter = ReferenceRewriter(QuantizedGraph(program))
  try rewriter.run()
  try Verifier.verify(rewriter.result, as: .quantizeDequantize)
  return ReferenceRepresentation(
    program: rewriter.result, notRewritten: rewriter.notRewritten, quantizedValues: rewriter.quantizedNames)
}
