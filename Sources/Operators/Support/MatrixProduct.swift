import TensorCore

/// The shapes of a matrix product with broadcast batches, validated: [..., rows, depth] times [..., depth, columns].
struct MatrixProduct: Sendable {
  let first: TensorArgument
  let second: TensorArgument
  let output: Shape
  let rows, depth, columns: Int
  private let loops: StridedLoops

  /// Reads two contiguous operands of any element type.
  init(
    _ call: OperatorCall, _ firstName: String, _ secondName: String, ranks: ClosedRange<Int>
  ) throws(OperatorError) {
    (first, second) = (try call.tensor(firstName), try call.tensor(secondName))
    let (a, b) = (first.shape, second.shape)
    try call.check(
      ranks.contains(a.rank) && ranks.contains(b.rank),
      "\(a) and \(b) must have \(ranks.lowerBound == ranks.upperBound ? "\(ranks.lowerBound)" : "at least 1") dimensions"
    )
    let left = a.rank == 1 ? Shape([1] + a.dimensions) : a
    let right = b.rank == 1 ? Shape(b.dimensions + [1]) : b
    let (rows, depth, columns) = (left[left.rank - 2], left[left.rank - 1], right[right.rank - 1])
    (self.rows, self.depth, self.columns) = (rows, depth, columns)
    try call.check(
      right[right.rank - 2] == depth, "the inner sizes of \(a) and \(b) differ: \(depth) and \(right[right.rank - 2])")
    let (leftBatch, rightBatch) = (
      Shape(Array(left.dimensions.dropLast(2))), Shape(Array(right.dimensions.dropLast(2)))
    )
    let batch = try call.broadcast(leftBatch, rightBatch)
    output = try call.checkedShape(
      batch.dimensions + (a.rank == 1 ? [] : [rows]) + (b.rank == 1 ? [] : [columns]))
    // Wrapping: where a batch is empty nothing bounds the other sizes, and nothing is read either.
    let areas = (leftBatch.strides.map { $0 &* rows &* depth }, rightBatch.strides.map { $0 &* depth &* columns })
    let target = batch.strides.map { $0 &* rows &* columns }
    loops = StridedLoops(
      batch.dimensions.indices.map { i in
        func step(_ shape: Shape, _ strides: [Int]) -> Int {
          let index = i - (batch.rank - shape.rank)
          return index < 0 || shape[index] == 1 ? 0 : strides[index]
        }
        return StridedLoops.Axis(
          size: batch[i], first: target[i], second: step(leftBatch, areas.0), third: step(rightBatch, areas.1))
      })
  }

  /// Calls `body` with the offsets of each pair of matrices and of their product.
  @inline(__always)
  func forEachMatrix(_ body: (_ first: Int, _ second: Int, _ output: Int) -> Void) {
    let row = loops.row
    loops.forEachRow { target, first, second in
      for i in 0..<row.size { body(first &+ i &* row.second, second &+ i &* row.third, target &+ i &* row.first) }
    }
  }
}
