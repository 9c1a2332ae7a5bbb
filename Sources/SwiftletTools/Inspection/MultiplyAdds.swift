import Operators
import Swiftlet

/// Multiplications with addition that an operator does: those of convolutions, linear layers and matrix products, ATen's
/// and fused ones; 0 for other operators.
enum MultiplyAdds {
  /// Saturates, as the counts of a hostile file may.
  ///
  /// - Parameters:
  ///   - result: elements of the operator's first result.
  ///   - shape: of an argument, by its name in the schema.
  static func count(_ op: Operator, result: Int?, shape: (String) -> [Int]?) -> Int {
    guard let result else { return 0 }
    switch (op.layer, op) {
    case (.convolution, _):
      guard let weight = shape("weight") else { return 0 }
      return times(result, weight.dropFirst().reduce(1, times))
    case (.transposedConvolution, _):
      guard let weight = shape("weight"), let input = shape("input") else { return 0 }
      return times(input.reduce(1, times), weight.dropFirst().reduce(1, times))
    case (.linear, _): return times(result, shape("weight")?.last ?? 0)
    case (_, .matmul), (_, .mm), (_, .bmm), (_, .fusedMatmul): return times(result, shape("self")?.last ?? 0)
    case (_, .addmm): return times(result, shape("mat1")?.last ?? 0)
    default: return 0
    }
  }

  private static func times(_ a: Int, _ b: Int) -> Int {
    let (product, overflow) = a.multipliedReportingOverflow(by: b)
    return overflow ? .max : product
  }
}
