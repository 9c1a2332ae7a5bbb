import TensorCore

// Operators that leave their input as it is: any element type.

extension Operator {
  /// Dropout at inference, which does nothing; `train=True` is refused.
  public static let dropout = Operator(
    "aten.dropout.default(Tensor input, float p, bool train) -> Tensor", traits: [.inPlace, .passesThrough, .mayAlias]
  ) {
    call throws(OperatorError) in
    try call.check(!call.bool("train"), "train=True: the program was exported for training; export it after eval()")
    return try call.reshaped("input", to: call.tensor("input").shape.dimensions)
  }

  /// All tensors here are contiguous. A memory format is a matter of strides, so it changes nothing that can be seen.
  public static let contiguous = Operator(
    "aten.contiguous.default(Tensor self, *, MemoryFormat memory_format=0) -> Tensor",
    traits: [.inPlace, .passesThrough, .mayAlias]
  ) { call throws(OperatorError) in try call.reshaped("self", to: call.tensor("self").shape.dimensions) }

  /// A copy; of the memory format see `contiguous`.
  public static let clone = Operator(
    "aten.clone.default(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor",
    traits: [.inPlace, .passesThrough]
  ) { call throws(OperatorError) in try call.reshaped("self", to: call.tensor("self").shape.dimensions) }

  /// Another name for a tensor.
  public static let alias = Operator(
    "aten.alias.default(Tensor self) -> Tensor", traits: [.inPlace, .passesThrough, .mayAlias]
  ) {
    call throws(OperatorError) in try call.reshaped("self", to: call.tensor("self").shape.dimensions)
  }

  /// Where calibration looks at a value: `observer` is the observer's number in the program. The identity.
  public static let observe = Operator(
    "quantization.observe(Tensor input, int observer) -> Tensor", traits: [.inPlace, .observes]
  ) {
    call throws(OperatorError) in
    _ = try call.int("observer")
    return try call.reshaped("input", to: call.tensor("input").shape.dimensions)
  }
}
