// Activations: elementwise, the shape stays. `inplace` makes no difference here: graphs are functional.

/// max(x, 0)
open class ReLU: Module {
  /// - Parameter inplace: no difference here; graphs are functional.
  public init(inplace: Bool = false) {}

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.relu() }
}

/// x · clamp(x + 3, 0, 6) / 6
open class Hardswish: Module {
  /// - Parameter inplace: no difference here; graphs are functional.
  public init(inplace: Bool = false) {}

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.hardswish() }
}

/// clamp(x + 3, 0, 6) / 6
open class Hardsigmoid: Module {
  /// - Parameter inplace: no difference here; graphs are functional.
  public init(inplace: Bool = false) {}

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.hardsigmoid()
  }
}

/// x · sigmoid(x)
open class SiLU: Module {
  /// - Parameter inplace: no difference here; graphs are functional.
  public init(inplace: Bool = false) {}

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.silu() }
}

/// 1 / (1 + exp(−x))
open class Sigmoid: Module {
  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.sigmoid() }
}

/// tanh(x)
open class Tanh: Module {
  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.tanh() }
}

/// clamp(x, 0, 6), which PyTorch records as `aten.hardtanh`.
open class ReLU6: Module {
  /// - Parameter inplace: no difference here; graphs are functional.
  public init(inplace: Bool = false) {}

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.hardtanh(min: 0, max: 6)
  }
}

/// x · Φ(x), Φ by erf or by the tanh approximation.
open class GELU: Module {
  private let approximate: String

  /// - Parameter approximate: `none` or `tanh`.
  public init(approximate: String = "none") { self.approximate = approximate }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.gelu(approximate: approximate)
  }
}

/// exp(x) / Σ exp(x) along one dimension.
open class Softmax: Module {
  private let dim: Int

  /// - Parameter dim: the dimension that sums to 1; negative ones count from the end.
  public init(dim: Int) { self.dim = dim }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.softmax(dim: dim)
  }
}
