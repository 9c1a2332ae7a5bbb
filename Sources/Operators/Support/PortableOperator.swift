import TensorCore

/// A validated call of a portable operator: what it gives, and how to make its kernel.
struct KernelPlan {
  let outputs: [TensorSpec]
  let makeKernel: () throws(OperatorError) -> PreparedKernel

  init(_ output: TensorSpec, makeKernel: @escaping () throws(OperatorError) -> PreparedKernel) {
    self.init(outputs: [output], makeKernel: makeKernel)
  }

  init(outputs: [TensorSpec], makeKernel: @escaping () throws(OperatorError) -> PreparedKernel) {
    self.outputs = outputs
    self.makeKernel = makeKernel
  }
}

extension Operator {
  /// An operator on contiguous tensors. `plan` checks the whole call; `infer` and `prepare` share it.
  ///
  /// Outputs are inferred without quantization parameters: these operators see integers as they lie in memory. Parameters
  /// that the output's spec has all the same are of no concern to the kernel.
  convenience init(
    _ schema: String, traits: Traits = [], layer: Layer? = nil, resultRange: ClosedRange<Float>? = nil,
    bounds: (@Sendable (OperatorCall) throws(OperatorError) -> (low: Double, high: Double))? = nil,
    reasonForFloat: String? = nil,
    plan: @escaping @Sendable (OperatorCall) throws(OperatorError) -> KernelPlan
  ) {
    self.init(
      schema, traits: traits, layer: layer, resultRange: resultRange, bounds: bounds, reasonForFloat: reasonForFloat,
      infer: { call throws(OperatorError) in try plan(call).outputs },
      prepare: { call throws(OperatorError) in
        let plan = try plan(call)
        try call.check(
          call.outputs.count == plan.outputs.count, "expected \(plan.outputs.count) outputs, not \(call.outputs.count)")
        for (var output, expected) in zip(call.outputs, plan.outputs) {
          output.quantization = nil
          try call.check(output == expected, "the output must be \(expected), not \(output)")
        }
        return try plan.makeKernel()
      })
  }
}
