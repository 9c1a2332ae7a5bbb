import Foundation
import Swiftlet

extension Operator {
  /// x + sin²(alpha · x) / alpha of each element. A function of one element needs nothing more to be int8: it is a table.
  static let snake = Operator(
    pointwise: "my.snake.default(Tensor self, float alpha=1.0) -> Tensor", traits: .ownQuantization
  ) { call throws(OperatorError) in
    let alpha = Float(try call.float("alpha"))
    try call.check(alpha > 0, "alpha must be greater than 0, not \(alpha)")
    return { x in
      let wave = Foundation.sin(alpha * x)
      return x + wave * wave / alpha
    }
  }

  /// Each vector along the last dimension divided by the root of the mean of its squares; times weight, [width].
  static let rmsNorm = Operator(
    "my.rms_norm.default(Tensor input, Tensor weight, float eps=1e-6) -> Tensor",
    infer: { call throws(OperatorError) in
      let (input, weight) = (try call.spec("input"), try call.spec("weight"))
      try call.check(input.dataType == .float32 && weight.dataType == .float32, "both tensors must be float32")
      try call.check(
        input.shape.rank > 0 && weight.shape.dimensions == input.shape.dimensions.suffix(1),
        "'weight' must have the size of the last dimension")
      return [TensorSpec(.float32, input.shape)]
    },
    prepare: { call throws(OperatorError) in
      let shape = try call.spec("input").shape
      let (width, eps) = (shape[shape.rank - 1], Float(try call.float("eps")))
      return PreparedKernel { buffers in
        let (input, weight) = (buffers.input(0, as: Float.self), buffers.input(1, as: Float.self))
        let output = buffers.output(as: Float.self)
        for start in stride(from: 0, to: shape.elementCount, by: max(width, 1)) {
          var squares: Float = 0
          for i in 0..<width { squares += input[start + i] * input[start + i] }
          let factor = 1 / (squares / Float(width) + eps).squareRoot()
          for i in 0..<width { output[start + i] = input[start + i] * factor * weight[i] }
        }
      }
    })

  /// Its int8 form: quantized input and result, the same arithmetic in between.
  static let int8RMSNorm = Operator(
    int8Form: "my.int8_rms_norm.default(Tensor input, Tensor weight, float eps=1e-6) -> Tensor", of: .rmsNorm)
}

/// Gives the input and the result of every `my.rms_norm` parameters of their own.
struct RMSNormQuantizer: Quantizer {
  func annotate(_ program: ExportedProgram, _ annotations: inout Annotations) {
    let spec = QuantizationSpec(scheme: .perTensorAffine, observer: .histogram)
    for node in program.graph.nodes where node.op == .rmsNorm {
      guard let input = node.value("input") else { continue }
      annotations[node.output] = QuantizationAnnotation(inputs: [(input, .own(spec))], output: .own(spec))
    }
  }
}

/// A linear layer with both behind it.
final class SnakeNet: Module {
  let linear = Linear(8, 16)
  let norm = Parameter([16], .ones)

  override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let x = try SymbolicTensor.call(.snake, ["self": .tensor(linear(input)), "alpha": .float(0.5)])[0]
    return try SymbolicTensor.call(.rmsNorm, ["input": .tensor(x), "weight": .tensor(x.parameter(norm))])[0]
  }
}

let ownOperators = OperatorSet.standard.adding([.snake, .rmsNorm])
let ownQuantizer = ComposableQuantizer([RMSNormQuantizer(), XNNPACKQuantizer()])
let ownRules = [FusionRule.int8Form(of: .rmsNorm, .int8RMSNorm, operands: ["input"])]
