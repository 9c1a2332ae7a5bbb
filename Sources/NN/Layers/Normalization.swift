import GraphIR
import Operators
import TensorCore

/// What BatchNorm1d and BatchNorm2d share: (N, C, …) → the same, by the running statistics of each channel.
open class BatchNorm: Module {
  /// What each channel is multiplied by, (C); nil unless `affine`.
  public let weight: Parameter?
  /// What is added to each channel, (C); nil unless `affine`.
  public let bias: Parameter?
  /// The mean of each channel, (C).
  public let runningMean: Buffer
  /// The variance of each channel, (C).
  public let runningVar: Buffer
  /// int64, used in training only.
  public let numBatchesTracked: Buffer
  private let eps: Double
  private let momentum: Double

  /// - Parameters:
  ///   - eps: added to the variance.
  ///   - momentum: of the running statistics; used in training only.
  ///   - affine: whether there are weights and biases.
  public init(_ numFeatures: Int, eps: Double = 1e-5, momentum: Double = 0.1, affine: Bool = true) {
    weight = affine ? Parameter([numFeatures], .ones) : nil
    bias = affine ? Parameter([numFeatures], .zeros) : nil
    runningMean = Buffer(Tensor([Float](repeating: 0, count: numFeatures), shape: [numFeatures]))
    runningVar = Buffer(Tensor([Float](repeating: 1, count: numFeatures), shape: [numFeatures]))
    numBatchesTracked = Buffer(Tensor([Int64(0)], shape: []))
    self.eps = eps
    self.momentum = momentum
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    func operand(_ parameter: Parameter?) throws(ExportError) -> CaptureArgument {
      guard let parameter else { return .none }
      return .tensor(try input.parameter(parameter))
    }
    let arguments: [(String, CaptureArgument)] = [
      ("input", .tensor(input)), ("weight", try operand(weight)), ("bias", try operand(bias)),
      ("running_mean", .tensor(try input.buffer(runningMean))), ("running_var", .tensor(try input.buffer(runningVar))),
      ("training", .bool(isTraining)), ("momentum", .float(momentum)), ("eps", .float(eps)),
      ("cudnn_enabled", .bool(false)),
    ]
    return try input.tracer.call(.batchNorm, arguments)[0]
  }
}

/// (N, C) or (N, C, L)
open class BatchNorm1d: BatchNorm {
  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    guard (2...3).contains(input.rank) else { throw input.tracer.error("takes (N, C) or (N, C, L), not \(input.spec)") }
    return try super.forward(input)
  }
}

/// (N, C, H, W)
open class BatchNorm2d: BatchNorm {
  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    guard input.rank == 4 else { throw input.tracer.error("takes (N, C, H, W), not \(input.spec)") }
    return try super.forward(input)
  }
}

/// Normalizes over the last dimensions, those of `normalizedShape`.
open class LayerNorm: Module {
  /// What each element is multiplied by, of `normalizedShape`; nil unless `elementwiseAffine`.
  public let weight: Parameter?
  /// What is added to each element, of `normalizedShape`; nil unless `elementwiseAffine`.
  public let bias: Parameter?
  private let normalizedShape: [Int]
  private let eps: Double

  /// - Parameter eps: added to the variance.
  public init(_ normalizedShape: [Int], eps: Double = 1e-5, elementwiseAffine: Bool = true) {
    self.normalizedShape = normalizedShape
    self.eps = eps
    weight = elementwiseAffine ? Parameter(Shape(normalizedShape), .ones) : nil
    bias = elementwiseAffine ? Parameter(Shape(normalizedShape), .zeros) : nil
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try layerNorm(input, normalizedShape, weight, bias, eps)
  }
}

func layerNorm(
  _ input: SymbolicTensor, _ normalizedShape: [Int], _ weight: Parameter?, _ bias: Parameter?, _ eps: Double
) throws(ExportError) -> SymbolicTensor {
  var arguments: [(String, CaptureArgument)] = [
    ("input", .tensor(input)), ("normalized_shape", .ints(normalizedShape)),
  ]
  if let weight { arguments.append(("weight", .tensor(try input.parameter(weight)))) }
  if let bias { arguments.append(("bias", .tensor(try input.parameter(bias)))) }
  return try input.tracer.call(
    .layerNorm, arguments + [("eps", .float(eps)), ("cudnn_enable", .bool(false))])[0]
}

/// (N, C, …): normalizes over each group of channels and all that follows.
open class GroupNorm: Module {
  /// What each channel is multiplied by, (C).
  public let weight: Parameter
  /// What is added to each channel, (C).
  public let bias: Parameter
  private let numGroups: Int
  private let eps: Double

  /// - Parameter eps: added to the variance.
  public init(_ numGroups: Int, _ numChannels: Int, eps: Double = 1e-5) {
    self.numGroups = numGroups
    self.eps = eps
    weight = Parameter([numChannels], .ones)
    bias = Parameter([numChannels], .zeros)
  }

  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try input.call(
      .groupNorm, "input",
      [
        "num_groups": .int(numGroups), "weight": .tensor(input.parameter(weight)),
        "bias": .tensor(input.parameter(bias)), "eps": .float(eps), "cudnn_enabled": .bool(false),
      ])
  }
}
