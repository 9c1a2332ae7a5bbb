import Swiftlet

/// What is in a model, and what becomes of it when it is lowered and loaded.
public struct ModelInspection: Codable, Sendable {
  /// A tensor that flows through the model.
  public struct Value: Codable, Hashable, Sendable {
    /// The value's name in the graph.
    public var name: String
    /// Type, shape and, in a lowered program, memory order and quantization parameters.
    public var spec: String
    /// The sizes, at the example where they vary.
    public var shape: [Int]
    /// The quantization parameters of an input or output of the model, which a Q/DQ graph keeps in the node beside it.
    public var quantization: Quantization?
  }

  /// How integers stand for the reals of a tensor: per tensor, `real = (q − zeroPoint) · scale`.
  public struct Quantization: Codable, Hashable, Sendable {
    /// The step between two integers.
    public var scale: Float
    /// The integer that stands for 0.
    public var zeroPoint: Int32
  }

  /// The tensors that the model owns.
  public struct Parameters: Codable, Hashable, Sendable {
    /// How many there are.
    public var tensors: Int
    /// All their elements.
    public var elements: Int
    /// All their bytes.
    public var bytes: Int
  }

  /// Bytes of the file that are of one kind.
  public struct Size: Codable, Hashable, Sendable {
    /// "int8 weights", "biases", …
    public var kind: String
    /// Of all that is of the kind.
    public var bytes: Int
  }

  /// A module that has parameters or multiplies.
  public struct Layer: Codable, Hashable, Sendable {
    /// The path in the module tree, `layer1.0.conv1`; the node's name, where the file has none.
    public var name: String
    /// The module's class; the operator, where the file has none.
    public var type: String
    /// Weights, biases, scales and constants that the layer reads.
    public var bytes: Int
    /// Multiplications with addition in one inference.
    public var multiplyAdds: Int
  }

  /// An operation of the lowered program.
  public struct Operation: Codable, Hashable, Sendable {
    /// The node of the lowered graph.
    public var node: String
    /// The delegate's kind of node, `convolution_2d`; the operator, on a portable kernel.
    public var op: String
    /// What it computes in, as XNNPACK's kernels are named: `f32`, `qs8`, `qc8` (weights per channel), `qd8` (parameters
    /// chosen at run time).
    public var dataType: String
    /// Those that are computed.
    public var inputs: [Value]
    /// Weights, biases and other tensors that are known.
    public var constants: [Value]
    /// Its results.
    public var outputs: [Value]
    /// The exported graph's nodes that it stands for.
    public var sourceNodes: [String]
    /// Why it is not delegated; nil when it is.
    public var reason: String?
  }

  /// A delegated subgraph.
  public struct Delegate: Codable, Hashable, Sendable {
    /// The delegate's name.
    public var backend: String
    /// What it runs, in execution order.
    public var nodes: [Operation]
  }

  /// The file.
  public var model: String
  /// What kind of file it is.
  public var format: FileFormat
  /// Bytes of the file.
  public var fileBytes: Int
  /// "float" or "Q/DQ".
  public var dialect: String
  /// What the model takes, in order.
  public var inputs: [Value]
  /// What it gives, in order.
  public var outputs: [Value]
  /// Parameters, buffers and constants.
  public var parameters: Parameters
  /// By kind; they add up to `fileBytes`.
  public var sizes: [Size]
  /// The largest first.
  public var layers: [Layer]
  /// Of all layers together.
  public var multiplyAdds: Int
  /// Nodes of the exported graph by operator.
  public var operators: [String: Int]
  /// The delegated subgraphs in execution order.
  public var delegates: [Delegate]
  /// How much the delegates run.
  public var delegated: BenchmarkReport.Delegated
  /// What runs on portable kernels.
  public var fallback: [Operation]
  /// The portable operators that the program needs, with the number of calls.
  public var operatorsNeeded: [String: Int]
  /// Memory for all activations.
  public var arenaBytes: Int
  /// The most bytes of activations alive at one time: no arena is smaller.
  public var arenaLowerBound: Int
  /// The same at the largest sizes in range; nil where sizes are fixed, or have no bound that can be planned for.
  public var largestArenaBytes: Int?
  /// Weights as the delegates have packed them, beside those in the file.
  public var packedWeightBytes: Int
  /// The exported graph as text, one node a line, where it was asked for.
  public var graph: String?
}
