import TensorCore

extension Operator {
  /// The rows of `weight` [rows, width] at the given indices: [...] to [..., width], f32. An index that is no row gives
  /// zeros, where PyTorch fails: indices are known only when the model runs.
  public static let embedding = Operator(
    "aten.embedding.default(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, "
      + "bool sparse=False) -> Tensor",
    reasonForFloat: "embeddings are quantized by EmbeddingQuantizer; compose it with this one"
  ) { call throws(OperatorError) in
    let weight = try call.floatTensor("weight")
    let indices = try call.tensor("indices")
    try call.check(weight.shape.rank == 2, "'weight' must be [rows, width], not \(weight.shape)")
    try call.check(
      indices.dataType == .int64 || indices.dataType == .int32,
      "'indices' must be int64 or int32, not \(indices.dataType)")
    let (rows, width) = (weight.shape[0], weight.shape[1])
    let shape = try call.checkedShape(indices.shape.dimensions + [width])
    return KernelPlan(TensorSpec(.float32, shape)) {
      let count = indices.shape.elementCount
      let isWide = indices.dataType == .int64
      return PreparedKernel { buffers in
        let (table, target) = (buffers.input(weight, as: Float.self), buffers.output(as: Float.self))
        for i in 0..<count {
          let index =
            isWide ? Int(buffers.input(indices, as: Int64.self)[i]) : Int(buffers.input(indices, as: Int32.self)[i])
          if index >= 0 && index < rows {
            (target + i &* width).update(from: table + index &* width, count: width)
          } else {
            (target + i &* width).update(repeating: 0, count: width)
          }
        }
      }
    }
  }
}
