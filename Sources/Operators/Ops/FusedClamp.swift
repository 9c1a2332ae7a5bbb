import TensorCore

extension Operator {
  /// Elementwise clamp of f32 (reals; NaN stays) or int8 (quanta). The output has the input's quantization parameters.
  package static let fusedClamp = Operator(
    "fused.clamp(Tensor self, float output_min=-inf, float output_max=inf) -> Tensor", traits: [.inPlace, .fused],
    infer: { call throws(OperatorError) in
      let spec = try call.activation("self")
      _ = try call.outputBounds(spec.dataType)
      return [spec]
    },
    prepare: { call throws(OperatorError) in
      let spec = try call.checkedOutput([try call.activation("self")])
      let index = try call.position("self")
      let count = spec.shape.elementCount
      switch try call.outputBounds(spec.dataType) {
      case .int8(let lower, let upper):
        let (lower, upper) = (Int8(lower), Int8(upper))
        return PreparedKernel { buffers in
          let (source, target) = (buffers.input(index, as: Int8.self), buffers.output(as: Int8.self))
          for i in 0..<count { target[i] = min(max(source[i], lower), upper) }
        }
      case .float(let lower, let upper):
        return PreparedKernel { buffers in
          let (source, target) = (buffers.input(index, as: Float.self), buffers.output(as: Float.self))
          for i in 0..<count { target[i] = clamped(source[i], lower, upper) }
        }
      }
    })
}
