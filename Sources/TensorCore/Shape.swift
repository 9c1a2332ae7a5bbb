/// The sizes of a tensor's dimensions, outermost first, always in the model's logical order (NCHW for images).
public struct Shape: Hashable, Sendable, ExpressibleByArrayLiteral, CustomStringConvertible {
  /// The sizes.
  public let dimensions: [Int]

  /// - Precondition: no dimension is negative and the element count fits in `Int`; sizes that come from a file go
  ///   through `init(validating:)`.
  public init(_ dimensions: [Int]) {
    self = Shape(validating: dimensions)!
  }

  public init(arrayLiteral elements: Int...) {
    self.init(elements)
  }

  /// Sizes from an untrusted source: nil if one is negative or their product, ×8 bytes, overflows `Int`.
  public init?(validating dimensions: [Int]) {
    var count = 8
    for dimension in dimensions {
      let (product, overflow) = count.multipliedReportingOverflow(by: max(dimension, 1))
      guard dimension >= 0, !overflow else { return nil }
      count = product
    }
    self.dimensions = dimensions
  }

  /// The number of dimensions.
  public var rank: Int { dimensions.count }
  /// The product of the sizes; 1 for a scalar.
  public var elementCount: Int { dimensions.reduce(1, *) }
  /// The size of a dimension, counted from the front.
  public subscript(index: Int) -> Int { dimensions[index] }

  /// Row-major strides in elements, one per dimension.
  public var strides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for i in stride(from: rank - 2, through: 0, by: -1) { strides[i] = strides[i + 1] * dimensions[i + 1] }
    return strides
  }

  /// A dimension index as ATen takes it: negative counts from the end. Nil when out of range.
  public func normalizedDimension(_ dim: Int) -> Int? {
    let index = dim < 0 ? dim + rank : dim
    return (0..<max(rank, 1)).contains(index) ? index : nil
  }

  public var description: String { "[" + dimensions.map(String.init).joined(separator: ", ") + "]" }
}

/// The order in which a tensor's logical dimensions lie in memory (ExecuTorch's `dim_order`).
public enum DimOrder: String, Hashable, Sendable, Codable {
  /// Row-major in the logical order: NCHW for an image.
  case contiguous
  /// A 4-D tensor whose channels are innermost: logical NCHW, memory NHWC.
  case channelsLast
}
