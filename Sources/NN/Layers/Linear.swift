import Operators
import TensorCore

/// (…, inFeatures) → (…, outFeatures); weight (outFeatures, inFeatures).
open class Linear: Module {
  /// (outFeatures, inFeatures)
  public let weight: Parameter
  /// (outFeatures); nil without `bias`.
  public let bias: Parameter?

  /// Weights are drawn uniformly in ±1/√inFeatures unless they are loaded.
  public init(_ inFeatures: Int, _ outFeatures: Int, bias: Bool = true) {
    weight = Parameter([outFeatures, inFeatures], .kaimingUniform(fanIn: inFeatures))
    self.bias = bias ? Parameter([outFeatures], .kaimingUniform(fanIn: inFeatures)) : nil
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try linear(input, weight, bias)
  }
}

func linear(_ input: SymbolicTensor, _ weight: Parameter, _ bias: Parameter?) throws(ExportError) -> SymbolicTensor {
  var arguments: [(String, CaptureArgument)] = [
    ("input", .tensor(input)), ("weight", .tensor(try input.parameter(weight))),
  ]
  if let bias { arguments.append(("bias", .tensor(try input.parameter(bias)))) }
  return try input.tracer.call(.linear, arguments)[0]
}

/// Indices of any shape, int64 or int32 → (…, embeddingDim); weight (numEmbeddings, embeddingDim).
open class Embedding: Module {
  /// The table, (numEmbeddings, embeddingDim).
  public let weight: Parameter

  /// The table is drawn from a normal distribution unless it is loaded.
  public init(_ numEmbeddings: Int, _ embeddingDim: Int) {
    weight = Parameter([numEmbeddings, embeddingDim], .normal(standardDeviation: 1))
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try SymbolicTensor.call(
      .embedding, ["weight": .tensor(input.parameter(weight)), "indices": .tensor(input)])[0]
  }
}

/// Passes its input on.
open class Identity: Module {
  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor { input }
}

/// (N, …) → (N, product of the others).
open class Flatten: Module {
  private let startDim: Int
  private let endDim: Int

  /// The dimensions from `startDim` to `endDim` become one; negative ones count from the end.
  public init(startDim: Int = 1, endDim: Int = -1) {
    self.startDim = startDim
    self.endDim = endDim
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.flatten(startDim: startDim, endDim: endDim)
  }
}

/// Passes its input on: nothing is trained. The graph has the operator, as PyTorch's has.
open class Dropout: Module {
  private let p: Double

  /// - Parameter inplace: no difference here; graphs are functional.
  public init(_ p: Double = 0.5, inplace: Bool = false) { self.p = p }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.call(.dropout, "input", ["p": .float(p), "train": .bool(isTraining)])
  }
}
