import TensorCore

// Operators that give a contiguous tensor another shape: any element type, the bytes stay as they are.

extension Operator {
  /// The same elements in another shape; one size may be −1.
  public static let view = Operator(
    "aten.view.default(Tensor self, SymInt[] size) -> Tensor", traits: [.inPlace, .reshapes]
  ) {
    call throws(OperatorError) in
    try call.reshaped("self", to: requestedShape(call, "size", of: call.tensor("self").shape.elementCount))
  }

  /// As `view`, of which it differs in PyTorch for tensors that are not contiguous.
  public static let reshape = Operator(
    "aten.reshape.default(Tensor self, SymInt[] shape) -> Tensor", traits: [.inPlace, .reshapes]
  ) {
    call throws(OperatorError) in
    try call.reshaped("self", to: requestedShape(call, "shape", of: call.tensor("self").shape.elementCount))
  }

  /// The dimensions from `start_dim` to `end_dim`, inclusive, as one.
  public static let flatten = Operator(
    "aten.flatten.using_ints(Tensor self, int start_dim=0, int end_dim=-1) -> Tensor", traits: [.inPlace, .reshapes]
  ) { call throws(OperatorError) in
    let shape = try call.tensor("self").shape
    let first = try call.dimension(call.int("start_dim"), of: shape, "start_dim")
    let last = try call.dimension(call.int("end_dim"), of: shape, "end_dim")
    try call.check(first <= last, "start_dim \(first) is behind end_dim \(last)")
    if shape.rank == 0 { return try call.reshaped("self", to: [1]) }
    let sizes = shape.dimensions
    return try call.reshaped("self", to: sizes[..<first] + [sizes[first...last].reduce(1, *)] + sizes[(last + 1)...])
  }

  /// The same elements in the shape of `other`.
  public static let reshapeAs = Operator(
    "aten.reshape_as.default(Tensor self, Tensor other) -> Tensor", traits: [.inPlace, .reshapes]
  ) {
    call throws(OperatorError) in try call.reshaped("self", to: call.spec("other").shape.dimensions)
  }

  /// As `reshapeAs`, of which it differs in PyTorch for tensors that are not contiguous.
  public static let viewAs = Operator(
    "aten.view_as.default(Tensor self, Tensor other) -> Tensor", traits: [.inPlace, .reshapes]
  ) {
    call throws(OperatorError) in try call.reshaped("self", to: call.spec("other").shape.dimensions)
  }

  /// Without the dimension `dim` if its size is 1; as it is otherwise.
  public static let squeeze = Operator(
    "aten.squeeze.dim(Tensor self, int dim) -> Tensor", traits: [.inPlace, .reshapes]
  ) {
    call throws(OperatorError) in
    let shape = try call.tensor("self").shape
    let dim = try call.dimension(call.int("dim"), of: shape)
    var sizes = shape.dimensions
    if shape.rank > 0, sizes[dim] == 1 { sizes.remove(at: dim) }
    return try call.reshaped("self", to: sizes)
  }

  /// With a new dimension of size 1 at `dim`, −(rank + 1)...rank.
  public static let unsqueeze = Operator(
    "aten.unsqueeze.default(Tensor self, int dim) -> Tensor", traits: [.inPlace, .reshapes]
  ) {
    call throws(OperatorError) in
    let shape = try call.tensor("self").shape
    var sizes = shape.dimensions
    sizes.insert(1, at: try call.newDimension(of: shape))
    return try call.reshaped("self", to: sizes)
  }

  /// The dimension `dim` as several, of `sizes`; one of these may be −1.
  public static let unflatten = Operator(
    "aten.unflatten.int(Tensor self, int dim, SymInt[] sizes) -> Tensor", traits: [.inPlace, .reshapes]
  ) { call throws(OperatorError) in
    let shape = try call.tensor("self").shape
    try call.check(shape.rank > 0, "a scalar has no dimension to unflatten")
    let dim = try call.dimension(call.int("dim"), of: shape)
    let parts = try requestedShape(call, "sizes", of: shape[dim])
    try call.check(
      !parts.isEmpty && Shape(validating: parts)?.elementCount == shape[dim],
      "'sizes' \(parts) do not make up dimension \(dim) of \(shape)")
    return try call.reshaped("self", to: shape.dimensions[..<dim] + parts + shape.dimensions[(dim + 1)...])
  }
}

extension OperatorCall {
  /// The position of a new dimension `dim`, −(rank + 1)...rank.
  func newDimension(of shape: Shape) throws(OperatorError) -> Int {
    let (dim, rank) = (try int("dim"), shape.rank)
    try check((-rank - 1...rank).contains(dim), "'dim' must be in -\(rank + 1)...\(rank) for \(shape), not \(dim)")
    return dim < 0 ? dim + rank + 1 : dim
  }
}

/// The sizes of an argument with −1 replaced by what is left for it of `count` elements.
private func requestedShape(_ call: OperatorCall, _ name: String, of count: Int) throws(OperatorError) -> [Int] {
  let requested = try call.ints(name)
  var sizes = requested
  guard let open = sizes.firstIndex(of: -1) else { return sizes }
  sizes[open] = 1
  try call.check(!sizes.contains(-1), "only one size may be -1: \(requested)")
  let rest = try call.checkedShape(sizes).elementCount
  try call.check(
    rest > 0 && count % max(rest, 1) == 0, "-1 cannot be inferred: \(requested) does not divide \(count) elements")
  sizes[open] = count / rest
  return sizes
}
