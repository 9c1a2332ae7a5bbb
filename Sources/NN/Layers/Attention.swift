import GraphIR
import Operators
import TensorCore

/// Attention in several heads (Vaswani et al. 2017), with PyTorch's packed input projection.
///
/// Tensors are (L, N, E), or (N, L, E) with `batchFirst`. The graph is the one that PyTorch exports: with weights it
/// multiplies and normalizes itself, without them it calls `aten.scaled_dot_product_attention`.
open class MultiheadAttention: Module {
  /// The projections of query, key and value below each other, (3 · E, E).
  public let inProjWeight: Parameter
  /// Their biases, (3 · E); nil without `bias`.
  public let inProjBias: Parameter?
  /// What the heads' results go through, (E, E).
  public let outProj: Linear
  private let embedDim: Int
  private let numHeads: Int
  private let batchFirst: Bool

  /// - Precondition: `numHeads` divides `embedDim`.
  public init(_ embedDim: Int, _ numHeads: Int, bias: Bool = true, batchFirst: Bool = false) {
    precondition(numHeads > 0 && embedDim % numHeads == 0, "\(numHeads) heads do not divide \(embedDim) channels")
    self.embedDim = embedDim
    self.numHeads = numHeads
    self.batchFirst = batchFirst
    inProjWeight = Parameter([3 * embedDim, embedDim], .uniform(bound: (6 / Float(4 * embedDim)).squareRoot()))
    inProjBias = bias ? Parameter([3 * embedDim], .zeros) : nil
    outProj = Linear(embedDim, embedDim, bias: bias)
  }

  /// The result, of the query's shape, and with `needWeights` the attention (N, L, S), averaged over the heads.
  public func callAsFunction(
    _ query: SymbolicTensor, _ key: SymbolicTensor, _ value: SymbolicTensor, needWeights: Bool = true,
    fileID: StaticString = #fileID, line: UInt = #line
  ) throws(ExportError) -> (output: SymbolicTensor, weights: SymbolicTensor?) {
    try query.tracer.within(self, at: "\(fileID):\(line)") { () throws(ExportError) in
      try self.attend(query, key, value, needWeights: needWeights)
    }
  }

  /// Refuses: attention has three inputs.
  open override func forward(_ input: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    throw input.tracer.error("takes query, key and value: attention(x, x, x).output for self-attention")
  }

  /// Query, key, value → result, weights
  open override func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] {
    guard inputs.count == 3 else {
      throw inputs[0].tracer.error("takes query, key and value, not \(inputs.count) tensors")
    }
    let (output, weights) = try attend(inputs[0], inputs[1], inputs[2], needWeights: true)
    return [output] + (weights.map { [$0] } ?? [])
  }

  private func attend(
    _ query: SymbolicTensor, _ key: SymbolicTensor, _ value: SymbolicTensor, needWeights: Bool
  ) throws(ExportError) -> (output: SymbolicTensor, weights: SymbolicTensor?) {
    guard [query, key, value].allSatisfy({ $0.rank == 3 }) else {
      throw query.tracer.error("takes three dimensions, not \(query.spec), \(key.spec), \(value.spec)")
    }
    let (q, k, v) = try sequenceFirst(query, key, value)
    let (length, batch, source) = (q.size(0), q.size(1), k.size(0))
    let headDim = embedDim / numHeads
    var heads: [SymbolicTensor] = []
    for (tensor, size) in zip(try project(q, k, v), [length, source, source]) {
      heads.append(try tensor.view([size, batch * SymInt(numHeads), SymInt(headDim)]).transpose(0, 1))
    }
    var attended: SymbolicTensor
    var weights: SymbolicTensor?
    if needWeights {
      let scores = try (heads[0] * (1 / Double(headDim)).squareRoot()).bmm(heads[1].transpose(-2, -1))
      let attention = try scores.softmax(dim: -1)
      attended = try attention.bmm(heads[2]).transpose(0, 1)
      weights = attention
    } else {
      var four: [SymbolicTensor] = []
      for (head, size) in zip(heads, [length, source, source]) {
        four.append(try head.view([batch, SymInt(numHeads), size, SymInt(headDim)]))
      }
      attended = try four[0].scaledDotProductAttention(key: four[1], value: four[2]).permute([2, 0, 1, 3])
    }
    let flat = try attended.reshape([length * batch, SymInt(embedDim)])
    var output = try linear(flat, outProj.weight, outProj.bias).view([length, batch, SymInt(embedDim)])
    if let attention = weights {
      weights = try attention.view([batch, SymInt(numHeads), length, source]).mean(dim: [1])
    }
    if batchFirst { output = try output.transpose(1, 0) }
    return (output, weights)
  }

  /// Each tensor (L, N, E); what is the same tensor stays the same.
  private func sequenceFirst(
    _ query: SymbolicTensor, _ key: SymbolicTensor, _ value: SymbolicTensor
  ) throws(ExportError) -> (SymbolicTensor, SymbolicTensor, SymbolicTensor) {
    guard batchFirst else { return (query, key, value) }
    let q = try query.transpose(1, 0)
    let k = key.id == query.id && key.id == value.id ? q : try key.transpose(1, 0)
    return (q, k, value.id == key.id ? k : try value.transpose(1, 0))
  }

  /// The projections of query, key and value: one product where the tensors are the same.
  private func project(
    _ q: SymbolicTensor, _ k: SymbolicTensor, _ v: SymbolicTensor
  ) throws(ExportError) -> [SymbolicTensor] {
    if q.id == k.id, k.id == v.id {
      return try unpack(linear(q, inProjWeight, inProjBias), 3)
    }
    let weight = try q.parameter(inProjWeight)
    let bias = inProjBias == nil ? nil : try q.parameter(inProjBias!)
    func part(
      _ input: SymbolicTensor, _ weight: SymbolicTensor, _ bias: SymbolicTensor?
    ) throws(ExportError) -> SymbolicTensor {
      try input.call(
        .linear, "input",
        ["weight": .tensor(weight), "bias": bias.map { .tensor($0) } ?? .none])
    }
    if k.id == v.id {
      let weights = try weight.split([embedDim, 2 * embedDim])
      let biases = try bias?.split([embedDim, 2 * embedDim])
      return [try part(q, weights[0], biases?[0])] + (try unpack(part(k, weights[1], biases?[1]), 2))
    }
    let weights = try weight.chunk(3)
    let biases = try bias?.chunk(3)
    var result: [SymbolicTensor] = []
    for (index, input) in [q, k, v].enumerated() {
      result.append(try part(input, weights[index], biases?[index]))
    }
    return result
  }

  /// (L, N, count · E) → `count` tensors (L, N, E)
  private func unpack(_ packed: SymbolicTensor, _ count: Int) throws(ExportError) -> [SymbolicTensor] {
    let parts = try packed.unflatten(dim: -1, [SymInt(count), SymInt(embedDim)]).unsqueeze(dim: 0)
      .transpose(0, -2).squeeze(dim: -2).contiguous()
    var result: [SymbolicTensor] = []
    for index in 0..<count { result.append(try parts.select(dim: 0, index)) }
    return result
  }
}
