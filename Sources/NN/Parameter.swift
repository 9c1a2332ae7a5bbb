import GraphIR
import TensorCore

/// How a parameter without weights is drawn.
public enum Initialization: Hashable, Sendable {
  /// All 0.
  case zeros
  /// All 1.
  case ones
  /// All of one value.
  case constant(Float)
  /// Uniform in ±bound.
  case uniform(bound: Float)
  /// Around 0.
  case normal(standardDeviation: Float)

  /// What PyTorch's linear layers and convolutions begin with: uniform in ±1/√fanIn, where fanIn is the number of products
  /// in one sum (He et al. 2015, with a = √5).
  static func kaimingUniform(fanIn: Int) -> Initialization { .uniform(bound: 1 / Float(max(1, fanIn)).squareRoot()) }

  func tensor(_ shape: Shape, using generator: inout SeededGenerator) -> Tensor {
    let count = shape.elementCount
    var values: [Float]
    switch self {
    case .zeros: values = [Float](repeating: 0, count: count)
    case .ones: values = [Float](repeating: 1, count: count)
    case .constant(let value): values = [Float](repeating: value, count: count)
    case .uniform(let bound): values = (0..<count).map { _ in Float.random(in: -bound...bound, using: &generator) }
    case .normal(let deviation):
      // The sum of twelve uniform numbers has variance 1; weights that nobody trained need no better normal.
      values = (0..<count).map { _ in
        deviation * ((0..<12).reduce(Float(0)) { sum, _ in sum + Float.random(in: 0...1, using: &generator) } - 6)
      }
    }
    return Tensor(values, shape: shape)
  }
}

/// A tensor of a module that its state dict holds: float32, row-major.
///
/// It has no data until a state dict is loaded, or `Module.resetParameters` draws it; so a large model that is going to be
/// loaded costs no memory.
public final class Parameter {
  /// The sizes.
  public let shape: Shape
  /// How it is drawn unless it is loaded or was given.
  public let initialization: Initialization
  /// The data; nil before it is loaded or drawn.
  public internal(set) var tensor: Tensor?
  /// Whether it was made with data, which is not drawn.
  let isGiven: Bool

  /// A parameter that has no data yet.
  public init(_ shape: Shape, _ initialization: Initialization) {
    self.shape = shape
    self.initialization = initialization
    isGiven = false
  }

  /// A parameter with data; 16-bit and 64-bit floats become float32.
  public init(_ tensor: Tensor) {
    self.shape = tensor.shape
    self.initialization = .zeros
    isGiven = true
    self.tensor = tensor.widened().rowMajor()
  }

  var spec: TensorSpec { tensor?.spec ?? TensorSpec(.float32, shape) }
}

/// A tensor of a module that training does not change by gradients: running statistics, tables.
public final class Buffer {
  /// The data, row-major.
  public internal(set) var tensor: Tensor
  /// Whether the state dict holds it.
  public let isPersistent: Bool

  /// A buffer with its data.
  public init(_ tensor: Tensor, isPersistent: Bool = true) {
    self.tensor = tensor.rowMajor()
    self.isPersistent = isPersistent
  }
}
