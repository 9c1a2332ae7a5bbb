import TensorCore

/// A validated call of a portable operator: what it gives, and how to make its kernel.
struct KernelPlan {
  let output: TensorSpec
  let makeKernel: () throws(OperatorError) -> PreparedKernel

  init(_ output: TensorSpec, makeKernel: @escaping () throws(OperatorError) -> PreparedKernel) {
    self.output = output
    self.makeKernel = makeKernel
  }
}

extension Operator {
  /// An operator on contiguous tensors with one output. `plan` checks the whole call; `infer` and `prepare` share it.
  ///
  /// Outputs are inferred without quantization parameters: these operators see integers as they lie in memory. Parameters
  /// that the output's spec has all the same are of no concern to the kernel.
  init(
    _ schema: String, isInPlace: Bool = false,
    plan: @escaping @Sendable (OperatorCall) throws(OperatorError) -> KernelPlan
  ) {
    self.init(
      schema, isInPlace: isInPlace,
      infer: { call throws(OperatorError) in [try plan(call).output] },
      prepare: { call throws(OperatorError) in
        let plan = try plan(call)
        var output = try call.output()
        output.quantization = nil
        try call.check(output == plan.output, "the output must be \(plan.output), not \(output)")
        return try plan.makeKernel()
      })
  }
}
