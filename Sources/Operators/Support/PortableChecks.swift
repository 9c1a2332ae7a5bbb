import TensorCore

// How the portable operators read their arguments. Shapes and integers come from files: sizes are bounded before anything
// is computed from them, so that no product of two of them overflows.

/// What an integer attribute may be at most; −`sizeLimit` at least.
let sizeLimit = Int(Int32.max)

/// A tensor argument that has been checked, and where it lies among the inputs.
struct TensorArgument: Sendable {
  let index: Int
  let spec: TensorSpec

  var shape: Shape { spec.shape }
  var dataType: DataType { spec.dataType }
}

extension KernelBuffers {
  @inline(__always)
  func input<T>(_ argument: TensorArgument, as type: T.Type = T.self) -> UnsafePointer<T> { input(argument.index) }
}

extension OperatorCall {
  // MARK: Tensors

  /// A contiguous tensor argument of any element type.
  func tensor(_ name: String) throws(OperatorError) -> TensorArgument {
    let spec = try spec(name)
    guard let index = try index(of: name) else { throw error("the tensor '\(name)' is missing") }
    try checkContiguous(spec, name)
    return TensorArgument(index: index, spec: spec)
  }

  /// A contiguous float32 tensor argument.
  func floatTensor(_ name: String) throws(OperatorError) -> TensorArgument {
    let tensor = try tensor(name)
    try check(tensor.dataType == .float32, "'\(name)' must be float32, not \(tensor.dataType)")
    return tensor
  }

  /// A contiguous tensor with `count` elements in its one dimension, or nil when it is absent.
  func optionalVector(
    _ name: String, count: Int, _ dataType: DataType = .float32
  ) throws(OperatorError) -> TensorArgument? {
    guard try index(of: name) != nil else { return nil }
    let vector = try tensor(name)
    try check(vector.dataType == dataType, "'\(name)' must be \(dataType), not \(vector.dataType)")
    try check(vector.shape.dimensions == [count], "'\(name)' must be [\(count)], not \(vector.shape)")
    return vector
  }

  func checkContiguous(_ spec: TensorSpec, _ name: String) throws(OperatorError) {
    try check(spec.dimOrder == .contiguous, "'\(name)' must be contiguous, not channels last")
    // ATen's own limit; what walks over dimensions relies on it.
    try check(
      spec.shape.rank <= StridedLoops.maximumRank,
      "'\(name)' has \(spec.shape.rank) dimensions; at most 64 are supported")
  }

  /// A computed shape, or an error when it has a negative size or more than 2³¹ elements.
  func checkedShape(_ dimensions: [Int]) throws(OperatorError) -> Shape {
    guard let shape = Shape(validating: dimensions), shape.elementCount <= sizeLimit + 1 else {
      throw error("the output \(dimensions) has a negative size or is too large")
    }
    try check(
      shape.rank <= StridedLoops.maximumRank, "the output would have \(shape.rank) dimensions; at most 64 are supported"
    )
    return shape
  }

  // MARK: Attributes

  /// A dimension as ATen takes it, −rank ..< rank; a scalar has the dimensions −1 and 0.
  func dimension(_ dim: Int, of shape: Shape, _ name: String = "dim") throws(OperatorError) -> Int {
    let rank = max(shape.rank, 1)
    try check((-rank..<rank).contains(dim), "'\(name)' must be in -\(rank)..<\(rank) for \(shape), not \(dim)")
    return dim < 0 ? dim + rank : dim
  }

  /// Height and width of a window attribute, each in `range`; the height is the least where the schema has a width alone.
  func boundedPair(_ name: String, in range: ClosedRange<Int>) throws(OperatorError) -> (height: Int, width: Int) {
    var pair = try pair(name)
    if schema.parameter(named: name)?.kind == .ints(count: 1) { pair.height = range.lowerBound }
    try check(
      range.contains(pair.height) && range.contains(pair.width),
      "'\(name)' must be in \(range.lowerBound)...\(range.upperBound), not [\(pair.height), \(pair.width)]")
    return pair
  }

  /// Checks that an optional `dtype` asks for nothing but float32.
  func checkFloatResult(_ name: String) throws(OperatorError) {
    let value = try attribute(name)
    try check(value == .none || value == .dataType(.float32), "'\(name)' must be None or torch.float32, not \(value)")
  }
}
