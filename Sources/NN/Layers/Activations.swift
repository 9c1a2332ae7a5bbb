// Activations: elementwise, the shape stays. `inplace` makes no difference here: graphs are functional.

/// max(x, 0)
public final class ReLU: Module {
  public override class var typeName: String { "torch.nn.modules.activation.ReLU" }

  public init(inplace: Bool = false) {}

  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.relu() }
}

/// x · clamp(x + 3, 0, 6) / 6
public final class Hardswish: Module {
  public override class var typeName: String { "torch.nn.modules.activation.Hardswish" }

  public init(inplace: Bool = false) {}

  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.hardswish() }
}

/// clamp(x + 3, 0, 6) / 6
public final class Hardsigmoid: Module {
  public override class var typeName: String { "torch.nn.modules.activation.Hardsigmoid" }

  public init(inplace: Bool = false) {}

  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.hardsigmoid()
  }
}

/// x · sigmoid(x)
public final class SiLU: Module {
  public override class var typeName: String { "torch.nn.modules.activation.SiLU" }

  public init(inplace: Bool = false) {}

  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.silu() }
}

/// 1 / (1 + exp(−x))
public final class Sigmoid: Module {
  public override class var typeName: String { "torch.nn.modules.activation.Sigmoid" }

  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.sigmoid() }
}

/// tanh(x)
public final class Tanh: Module {
  public override class var typeName: String { "torch.nn.modules.activation.Tanh" }

  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { try input.tanh() }
}

/// clamp(x, 0, 6), which PyTorch records as `aten.hardtanh`.
public final class ReLU6: Module {
  public override class var typeName: String { "torch.nn.modules.activation.ReLU6" }

  public init(inplace: Bool = false) {}

  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.hardtanh(min: 0, max: 6)
  }
}

/// x · Φ(x), Φ by erf or by the tanh approximation.
public final class GELU: Module {
  public override class var typeName: String { "torch.nn.modules.activation.GELU" }
  private let approximate: String

  /// - Parameter approximate: `none` or `tanh`.
  public init(approximate: String = "none") { self.approximate = approximate }

  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.gelu(approximate: approximate)
  }
}

/// exp(x) / Σ exp(x) along one dimension.
public final class Softmax: Module {
  public override class var typeName: String { "torch.nn.modules.activation.Softmax" }
  private let dim: Int

  public init(dim: Int) { self.dim = dim }

  public override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.softmax(dim: dim)
  }
}
