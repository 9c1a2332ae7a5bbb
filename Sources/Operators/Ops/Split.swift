import TensorCore

// Operators that cut a tensor along a dimension: a list of outputs, any element type.

extension Operator {
  /// Up to `chunks` pieces of equal size, the last of what is left.
  public static let chunk = Operator(
    "aten.chunk.default(Tensor self, int chunks, int dim=0) -> Tensor[]",
    traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) {
    call throws(OperatorError) in
    let (dim, size) = try call.cutDimension()
    let chunks = try call.int("chunks")
    try call.check(chunks >= 1, "'chunks' must be at least 1, not \(chunks)")
    if size == 0 { return try call.pieces(along: dim, count: chunks) { _ in 0..<0 } }
    return try call.pieces(along: dim, of: (size - 1) / chunks + 1)
  }

  /// Pieces of `split_size`, the last of what is left.
  public static let split = Operator(
    "aten.split.Tensor(Tensor self, SymInt split_size, int dim=0) -> Tensor[]",
    traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) {
    call throws(OperatorError) in
    let (dim, size) = try call.cutDimension()
    let length = try call.int("split_size")
    try call.check(
      length > 0 || (length == 0 && size == 0),
      "'split_size' must be positive for a dimension of \(size), not \(length)")
    return try call.pieces(along: dim, of: length)
  }

  /// Pieces of the given sizes, which add up to the dimension's.
  public static let splitWithSizes = Operator(
    "aten.split_with_sizes.default(Tensor self, SymInt[] split_sizes, int dim=0) -> Tensor[]",
    traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) { call throws(OperatorError) in
    let (dim, size) = try call.cutDimension()
    let lengths = try call.ints("split_sizes")
    var starts = [0]
    for length in lengths {
      let (end, overflow) = starts[starts.count - 1].addingReportingOverflow(length)
      try call.check(length >= 0 && !overflow, "'split_sizes' must not be negative: \(lengths)")
      starts.append(end)
    }
    try call.check(
      !lengths.isEmpty && starts[lengths.count] == size, "'split_sizes' \(lengths) must add up to \(size)")
    return try call.pieces(along: dim, count: lengths.count) { starts[$0]..<starts[$0 + 1] }
  }

  /// One piece for each index of a dimension, which goes.
  public static let unbind = Operator(
    "aten.unbind.int(Tensor self, int dim=0) -> Tensor[]", traits: [.movesElements, .mayAlias, .sharesQuantization]
  ) { call throws(OperatorError) in
    let (dim, size) = try call.cutDimension()
    try call.check(size > 0, "dimension \(dim) is empty, which leaves nothing")
    return try call.pieces(along: dim, count: size, dropsDimension: true) { $0..<$0 + 1 }
  }
}

/// More outputs than any model has; lists are made for each.
private let pieceLimit = 1 << 14

extension OperatorCall {
  /// The dimension to cut, and its size.
  fileprivate func cutDimension() throws(OperatorError) -> (dim: Int, size: Int) {
    let input = try tensor("self")
    try check(input.shape.rank > 0, "a scalar cannot be cut")
    let dim = try dimension(int("dim"), of: input.shape)
    return (dim, input.shape[dim])
  }

  /// Pieces of one length, the last of what is left; one piece at least.
  fileprivate func pieces(along dim: Int, of length: Int) throws(OperatorError) -> KernelPlan {
    let size = try tensor("self").shape[dim]
    let count = size == 0 ? 1 : (size - 1) / length + 1
    // The start of a piece is less than the size.
    return try pieces(along: dim, count: count) { index in
      let start = index * length
      return start..<start + min(length, size - start)
    }
  }

  /// The pieces of `self` that `range` gives along a dimension.
  fileprivate func pieces(
    along dim: Int, count: Int, dropsDimension: Bool = false, _ range: (Int) -> Range<Int>
  ) throws(OperatorError) -> KernelPlan {
    let input = try tensor("self")
    try check(count <= pieceLimit, "\(count) outputs are too many; at most \(pieceLimit) are supported")
    var ranges: [Range<Int>] = []
    var outputs: [TensorSpec] = []
    for index in 0..<count {
      var sizes = input.shape.dimensions
      let piece = range(index)
      if dropsDimension { sizes.remove(at: dim) } else { sizes[dim] = piece.count }
      ranges.append(piece)
      outputs.append(TensorSpec(input.dataType, try checkedShape(sizes)))
    }
    return KernelPlan(outputs: outputs) { [ranges] in
      let (outer, size, inner) = input.shape.split(at: dim)
      let byteCount = inner * input.dataType.size
      return PreparedKernel { buffers in
        // Of no elements, nothing bounds the sizes.
        if size == 0 || byteCount == 0 { return }
        let source = buffers.inputs[input.index]
        for (index, range) in ranges.enumerated() {
          let (target, length) = (buffers.outputs[index], range.count &* byteCount)
          for i in 0..<outer {
            (target + i &* length).copyMemory(
              from: source + (i &* size &+ range.lowerBound) &* byteCount, byteCount: length)
          }
        }
      }
    }
  }
}
