import GraphIR
import Operators
import TensorCore

/// What LSTM and GRU share: weights of every layer and direction, and how they are called.
///
/// Input (L, N, inputSize), or (N, L, inputSize) with `batchFirst`; output the same with hiddenSize, twice that when
/// bidirectional. States are (layers · directions, N, hiddenSize) and begin with zeros unless they are given.
open class Recurrent: Module {
  private let weights: [(key: String, parameter: Parameter)]
  private let hiddenSize: Int
  private let numLayers: Int
  private let hasBias: Bool
  private let batchFirst: Bool
  private let dropout: Double
  private let isBidirectional: Bool

  /// Gates of a cell, whose weights lie below each other.
  package class var gates: Int { 1 }

  /// - Parameter dropout: between layers; used in training only.
  public init(
    _ inputSize: Int, _ hiddenSize: Int, numLayers: Int = 1, bias: Bool = true, batchFirst: Bool = false,
    dropout: Double = 0, bidirectional: Bool = false
  ) {
    let rows = Self.gates * hiddenSize
    self.hiddenSize = hiddenSize
    self.numLayers = numLayers
    self.hasBias = bias
    self.batchFirst = batchFirst
    self.dropout = dropout
    self.isBidirectional = bidirectional
    let draw = Initialization.kaimingUniform(fanIn: hiddenSize)
    weights = (0..<numLayers).flatMap { layer in
      ["", "_reverse"].prefix(bidirectional ? 2 : 1).flatMap { direction in
        let inputs = layer == 0 ? inputSize : hiddenSize * (bidirectional ? 2 : 1)
        let shapes: [(String, Shape)] = [
          ("weight_ih", [rows, inputs]), ("weight_hh", [rows, hiddenSize]),
          ("bias_ih", [rows]), ("bias_hh", [rows]),
        ]
        return shapes.prefix(bias ? 4 : 2).map { ("\($0.0)_l\(layer)\(direction)", Parameter($0.1, draw)) }
      }
    }
  }

  open override func ownTensors() -> [(key: String, tensor: ModuleTensor)] {
    super.ownTensors() + weights.map { ($0.key, .parameter($0.parameter)) }
  }

  /// The output alone.
  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try forward([input])[0]
  }

  final func run(
    _ op: Operator, _ inputs: [SymbolicTensor], stateCount: Int
  ) throws(ExportError) -> [SymbolicTensor] {
    let input = inputs[0]
    guard input.rank == 3, inputs.count == 1 || inputs.count == 1 + stateCount else {
      throw input.tracer.error(
        "takes (L, N, inputSize) or, with batchFirst, (N, L, inputSize), and no or \(stateCount) states, "
          + "not \(inputs.map(\.spec))")
    }
    var states = Array(inputs.dropFirst())
    let directions = isBidirectional ? 2 : 1
    while states.count < stateCount {
      let sizes: [SymInt] = [SymInt(numLayers * directions), input.size(batchFirst ? 0 : 1), SymInt(hiddenSize)]
      states.append(
        try input.tracer.call(.zeros, [("size", .sizes(sizes)), ("dtype", .dataType(.float32))])[0])
    }
    var parameters: [SymbolicTensor] = []
    for (_, parameter) in weights { parameters.append(try input.parameter(parameter)) }
    return try input.tracer.call(
      op,
      [
        ("input", .tensor(input)), ("hx", stateCount == 1 ? .tensor(states[0]) : .tensors(states)),
        ("params", .tensors(parameters)), ("has_biases", .bool(hasBias)), ("num_layers", .int(numLayers)),
        ("dropout", .float(dropout)), ("train", .bool(isTraining)), ("bidirectional", .bool(isBidirectional)),
        ("batch_first", .bool(batchFirst)),
      ])
  }
}

/// Long short-term memory (Hochreiter and Schmidhuber 1997), gates in PyTorch's order: input, forget, cell, output.
open class LSTM: Recurrent {
  package override class var gates: Int { 4 }

  /// Input, or input, h₀ and c₀ → output, hₙ, cₙ
  open override func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] {
    try run(.lstm, inputs, stateCount: 2)
  }
}

/// Gated recurrent unit (Cho et al. 2014), gates in PyTorch's order: reset, update, new.
open class GRU: Recurrent {
  package override class var gates: Int { 3 }

  /// Input, or input and h₀ → output, hₙ
  open override func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] {
    try run(.gru, inputs, stateCount: 1)
  }
}
