import SymbolicSizes
import TensorCore

/// A size of an input that may differ from the example's, as `torch.export.Dim`.
///
/// ```swift
/// let batch = Dim("batch", min: 1, max: 32)
/// try export(model, [spec], dynamicShapes: [[0: batch]])
/// ```
///
/// Two inputs that share a `Dim` have the same size. `2 * batch` and `batch + 1` are derived from it.
public struct Dim: Hashable, Sendable, CustomStringConvertible {
  enum Kind: Hashable {
    /// `factor · name + offset`
    case named(String, factor: Int, offset: Int)
    case automatic
  }

  let kind: Kind
  let range: RangeConstraint

  private init(_ kind: Kind, _ range: RangeConstraint) {
    self.kind = kind
    self.range = range
  }

  /// - Parameters:
  ///   - min: the smallest size, at least 1.
  ///   - max: the largest size; nil for no bound, and then memory grows as it is needed.
  public init(_ name: String, min: Int = 1, max: Int? = nil) {
    self.init(.named(name, factor: 1, offset: 0), RangeConstraint(minimum: Swift.max(1, min), maximum: max))
  }

  /// Dynamic if the model allows it; a size that the model fixes becomes the example's.
  public static let auto = Dim(.automatic, RangeConstraint(minimum: 1, maximum: nil))

  /// A size that is always `factor` times that of `dim`.
  public static func * (factor: Int, dim: Dim) -> Dim {
    guard case .named(let name, let old, let offset) = dim.kind else { return dim }
    return Dim(.named(name, factor: old * factor, offset: offset * factor), dim.range)
  }

  /// A size that is always `offset` above that of `dim`.
  public static func + (dim: Dim, offset: Int) -> Dim {
    guard case .named(let name, let factor, let old) = dim.kind else { return dim }
    return Dim(.named(name, factor: factor, offset: old + offset), dim.range)
  }

  /// A size that is always `offset` below that of `dim`.
  public static func - (dim: Dim, offset: Int) -> Dim { dim + -offset }

  public var description: String {
    switch kind {
    case .named(let name, let factor, let offset): SymbolicSize.symbol(name).times(factor).plus(offset).description
    case .automatic: "auto"
    }
  }
}
