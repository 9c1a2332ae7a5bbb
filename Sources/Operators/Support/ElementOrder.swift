import TensorCore

/// Where the elements of an operator go that computes each from one of its input's: to the same place, or, of a 4-D tensor,
/// into the other memory order.
struct ElementOrder: Sendable {
  private let matrices, rows, columns: Int

  /// Of a call whose output has the shape of its input 'self'.
  init(_ call: OperatorCall, _ output: TensorSpec) throws(OperatorError) {
    let shape = output.shape
    if try call.spec("self").dimOrder == output.dimOrder {
      (matrices, rows, columns) = (1, 1, shape.elementCount)
    } else {
      let pixels = shape[2] &* shape[3]
      (matrices, rows, columns) =
        output.dimOrder == .channelsLast ? (shape[0], shape[1], pixels) : (shape[0], pixels, shape[1])
    }
  }

  /// Calls `body` with each element's place in the input and in the output, in the order of the output.
  @inline(__always)
  func run(_ body: (Int, Int) -> Void) {
    if rows == 1 {
      for i in 0..<matrices &* columns { body(i, i) }
      return
    }
    var target = 0
    for matrix in 0..<matrices {
      let start = matrix &* rows &* columns
      for column in 0..<columns {
        for row in 0..<rows {
          body(start &+ row &* columns &+ column, target)
          target &+= 1
        }
      }
    }
  }
}

extension OperatorCall {
  /// The memory order that 'dim_order' asks for; the input's, where it is not given.
  func convertedOrder(_ input: TensorSpec) throws(OperatorError) -> DimOrder {
    if case .none = try attribute("dim_order") { return input.dimOrder }
    try check(input.shape.rank == 4, "'self' must be 4-D to have a 'dim_order', not \(input.shape)")
    switch try string("dim_order") {
    case "channels_last": return .channelsLast
    case "contiguous": return .contiguous
    case let other: throw error("'dim_order' must be \"channels_last\" or \"contiguous\", not \"\(other)\"")
    }
  }
}
