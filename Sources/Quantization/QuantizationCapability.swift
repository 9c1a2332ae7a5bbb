/// What a quantizer can do with one kind of unit.
public struct QuantizationCapability: Hashable, Sendable, Codable {
  /// The unit's name: `conv_relu`.
  public let pattern: String
  /// The operators that such a unit starts with, sorted.
  public let operators: [String]
  /// The activations that become part of it, sorted.
  public let activations: [String]
  /// The configurations that apply: `static`, `dynamic`, `weight only`.
  public let configurations: [String]
  /// Whether PyTorch's quantizer of that name has it too.
  public let isTorchao: Bool
  /// What the unit must meet besides, in words.
  public let constraints: [String]

  /// A capability; lists are given sorted.
  public init(
    pattern: String, operators: [String], activations: [String] = [], configurations: [String], isTorchao: Bool = false,
    constraints: [String] = []
  ) {
    self.pattern = pattern
    self.operators = operators
    self.activations = activations
    self.configurations = configurations
    self.isTorchao = isTorchao
    self.constraints = constraints
  }
}
