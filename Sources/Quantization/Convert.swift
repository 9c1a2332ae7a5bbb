import GraphIR
import Operators
import TensorCore

/// Turns a calibrated program into a Q/DQ graph (PT2E's `convert_pt2e`).
///
/// Every observe node becomes a quantize and a dequantize node with the observer's parameters as literals; per-channel
/// parameters and quantized weights become buffers (`_scale_0`, `_zero_point_0`, `_frozen_param0`). A dynamic one becomes
/// a node that chooses parameters from the data, and the pair that uses them. Each quantized reader of a value has a
/// dequantize node of its own (not of a dynamic one); readers in float share one. Unused float weights are dropped. The
/// observed program is not changed and may be calibrated further and converted again.
///
/// - Parameters:
///   - foldQuantize: whether weights become integers; otherwise the graph keeps the float weights, each with a quantize
///     node.
///   - useReferenceRepresentation: whether the Q/DQ patterns become integer ATen operators (`referenceRepresentation`).
/// - Throws: `observer` with `notCalibrated` when no calibration data was run, or with the reason why there are no
///   parameters; `invalidGraph` if the result does not verify.
public func convert(
  _ observed: ObservedProgram, foldQuantize: Bool = true, useReferenceRepresentation: Bool = false
) throws(QuantizationError) -> ExportedProgram {
  guard foldQuantize || !useReferenceRepresentation else {
    throw .invalidConfiguration(reason: "the reference representation needs integer weights; foldQuantize must be true")
  }
  var conversion = Conversion(observed, foldQuantize: foldQuantize)
  try conversion.run()
  try verify(conversion.result, as: .quantizeDequantize)
  guard useReferenceRepresentation else { return conversion.result }
  do { return try referenceRepresentation(of: conversion.result).program } catch { throw .invalidGraph(error) }
}

private struct Conversion {
  private(set) var result: ExportedProgram
  private let observed: ObservedProgram
  private let foldQuantize: Bool
  private let source: ExportedProgram
  private let constants: [ValueID: Tensor]
  private let producers: [ValueID: Int]
  /// Values of the observed program → values of the result.
  private var values: [ValueID: ValueID] = [:]
  /// What each reader, by its first output, reads instead of an observed value.
  private var privateValues: [ValueID: [ValueID: ValueID]] = [:]
  /// Observe nodes that repeat the one before: the same observer, nothing in between.
  private var repeats: [ValueID: ValueID] = [:]
  private var parameters: [Int: QParams] = [:]
  private var channelBuffers: [ValueID: (scales: ValueID, zeroPoints: ValueID)] = [:]
  private var integers: [ValueID: ValueID] = [:]
  private var readers: [ValueID: [Node]] = [:]
  /// Nodes so far that choose parameters at run time.
  private var choiceCount = 0

  init(_ observed: ObservedProgram, foldQuantize: Bool) {
    self.observed = observed
    self.foldQuantize = foldQuantize
    self.source = observed.program
    self.constants = source.constants()
    self.producers = source.graph.producers()
    self.result = ExportedProgram(
      name: source.name, stateDict: source.stateDict, extraFiles: source.extraFiles,
      dynamicShapes: source.dynamicShapes, callSignature: source.callSignature)
  }

  mutating func run() throws(QuantizationError) {
    for (id, kind) in zip(source.graph.inputs, source.inputKinds) {
      let value = source.graph[id]
      let input = result.graph.addValue(value.name, value.spec)
      values[id] = input
      result.graph.inputs.append(input)
      result.inputKinds.append(kind)
    }
    try computeParameters()
    findReaders()
    let observeNodes = source.graph.nodes.filter { $0.isObserver && repeats[$0.output] == nil }
    for node in observeNodes { addChannelBuffers(node) }
    for node in observeNodes where foldQuantize { try addIntegers(node) }
    for node in source.graph.nodes { if node.isObserver { try emitPair(node) } else { emitCopy(node) } }
    result.graph.outputs = source.graph.outputs.map { values[repeats[$0] ?? $0] ?? $0 }
    result.graph.removeDeadNodes()
    result.removeUnusedConstants()
  }

  private mutating func computeParameters() throws(QuantizationError) {
    for (index, observer) in observed.observers.enumerated()
    where !observed.observedNames[index].isEmpty && !observed.specs[index].isDynamic {
      do { parameters[index] = try observer.calculateQParams() } catch {
        throw .observer(program: source.name, value: observed.observedNames[index], error)
      }
    }
  }

  /// Readers of each observe node's output, those of its repeats included.
  private mutating func findReaders() {
    for node in source.graph.nodes {
      if node.isObserver, let input = node.value("input"), let producer = producers[input],
        source.graph.nodes[producer].observerIndex == node.observerIndex
      {
        repeats[node.output] = repeats[input] ?? input
        continue
      }
      var seen: Set<ValueID> = []
      for id in node.inputs {
        let id = repeats[id] ?? id
        if seen.insert(id).inserted { readers[id, default: []].append(node) }
      }
    }
  }

  // MARK: Constants

  private mutating func addChannelBuffers(_ node: Node) {
    guard let parameters = node.observerIndex.flatMap({ parameters[$0] }), parameters.isPerChannel else { return }
    let (scaleName, zeroPointName) = (unusedTarget("_scale_"), unusedTarget("_zero_point_"))
    let shape = Shape([parameters.scales.count])
    let zeroPoints =
      switch parameters.zeroPoints {
      case .integers(let values): Tensor(values.map(Int64.init), shape: shape)
      case .floats(let values): Tensor(values, shape: shape)
      }
    channelBuffers[node.output] = (
      scales: result.addBuffer(scaleName, Tensor(parameters.scales, shape: shape)),
      zeroPoints: result.addBuffer(zeroPointName, zeroPoints)
    )
  }

  private mutating func addIntegers(_ node: Node) throws(QuantizationError) {
    guard let index = node.observerIndex, let parameters = parameters[index], let input = node.value("input"),
      let tensor = constants[input]
    else { return }
    let spec = observed.specs[index]
    let quantized: Tensor
    switch spec.dataType {
    case .int8: quantized = tensor.quantized(parameters, low: spec.quantMin, high: spec.quantMax, as: Int8.self)
    case .uint8: quantized = tensor.quantized(parameters, low: spec.quantMin, high: spec.quantMax, as: UInt8.self)
    case .int16: quantized = tensor.quantized(parameters, low: spec.quantMin, high: spec.quantMax, as: Int16.self)
    case .int32: quantized = tensor.quantized(parameters, low: spec.quantMin, high: spec.quantMax, as: Int32.self)
    case let other:
      throw .invalidConfiguration(reason: "weights can be quantized to int8, uint8, int16 or int32, not to \(other)")
    }
    integers[node.output] = result.addBuffer(unusedTarget("_frozen_param"), quantized)
  }

  private func unusedTarget(_ prefix: String) -> String {
    var number = 0
    while result.stateDict["\(prefix)\(number)"] != nil { number += 1 }
    return "\(prefix)\(number)"
  }

  // MARK: Nodes

  private mutating func emitCopy(_ node: Node) {
    var copy = node
    let own = privateValues[node.output] ?? [:]
    copy.mapInputs { id in
      let id = repeats[id] ?? id
      return own[id] ?? values[id] ?? id
    }
    copy.outputs = node.outputs.map { id in
      let value = result.graph.addValue(source.graph[id].name, source.graph.spec(id))
      values[id] = value
      return value
    }
    result.graph.nodes.append(copy)
  }

  private mutating func emitPair(_ node: Node) throws(QuantizationError) {
    guard repeats[node.output] == nil, let index = node.observerIndex, let input = node.value("input") else { return }
    let all = readers[node.output] ?? []
    let producer = producers[input].map { source.graph.nodes[$0] }
    if observed.specs[index].isDynamic {
      values[node.output] = try emitDynamic(node, observed.specs[index], values[input] ?? input, all.first ?? producer)
    } else if let parameters = parameters[index] {
      try emitStatic(node, index, parameters, all, producer)
    }
  }

  /// Quantize, where the value is not a folded constant, and a dequantize node per quantized reader. The last reader's
  /// comes first, after the one that readers in float share: torchao inserts each copy right behind the shared one.
  private mutating func emitStatic(
    _ node: Node, _ index: Int, _ parameters: QParams, _ all: [Node], _ producer: Node?
  ) throws(QuantizationError) {
    let spec = observed.specs[index]
    guard let input = node.value("input") else { return }
    var literals = literals(spec, parameters)
    if let buffers = channelBuffers[node.output] {
      literals[0] = .init("scales", .value(buffers.scales))
      literals[1] = .init("zero_points", .value(buffers.zeroPoints))
    }
    let form = parameters.isPerChannel ? "per_channel" : "per_tensor"
    func emitted(_ verb: String, _ value: ValueID, _ origin: Node?) throws(QuantizationError) -> ValueID {
      try emit("\(verb)_\(form).default", [.init("input", .value(value))] + literals, origin)[0]
    }
    let isWeight = constants[input] != nil
    let quantized: ValueID
    if let folded = integers[node.output] {
      quantized = folded
    } else {
      quantized = try emitted("quantize", values[input] ?? input, isWeight ? all.first : producer)
    }
    let quantizedReaders = all.filter { !$0.isObserver && observed.annotations.isQuantized($0.output) }
    let isOutput = source.graph.outputs.contains { (repeats[$0] ?? $0) == node.output }
    if quantizedReaders.count < all.count || isOutput || all.isEmpty {
      let reader = all.first { reader in !quantizedReaders.contains { $0.name == reader.name } }
      values[node.output] = try emitted("dequantize", quantized, reader ?? producer)
    }
    for reader in quantizedReaders.reversed() {
      privateValues[reader.output, default: [:]][node.output] = try emitted("dequantize", quantized, reader)
    }
  }

  /// The arguments after `input`.
  private func literals(_ spec: QuantizationSpec, _ parameters: QParams) -> [Node.Argument] {
    var arguments: [Node.Argument] = [
      .init("scale", .attribute(.float(Double(parameters.scales.first ?? 1)))),
      .init("zero_point", .attribute(.int(Int(parameters.zeroPoint(0))))),
    ]
    if let axis = parameters.axis { arguments.append(.init("axis", .attribute(.int(axis)))) }
    return arguments + range(spec)
  }

  private func range(_ spec: QuantizationSpec) -> [Node.Argument] {
    [
      .init("quant_min", .attribute(.int(spec.quantMin))), .init("quant_max", .attribute(.int(spec.quantMax))),
      .init("dtype", .attribute(.dataType(spec.dataType))),
    ]
  }

  /// Parameters chosen from the data, per token or for the whole tensor, and the pair that uses them.
  private mutating func emitDynamic(
    _ node: Node, _ spec: QuantizationSpec, _ input: ValueID, _ origin: Node?
  ) throws(QuantizationError) -> ValueID {
    let range = range(spec)
    let value = Node.Argument("input", .value(input))
    if spec.scheme == .perTokenAffine {
      let chosen = try emit("choose_qparams_per_token_asymmetric.default", [value, range[2]], origin)
      let parameters: [Node.Argument] = [.init("scales", .value(chosen[0])), .init("zero_points", .value(chosen[1]))]
      let quantized = try emit("quantize_per_token.default", [value] + parameters + range, origin)[0]
      return try emit(
        "dequantize_per_token.default",
        [.init("input", .value(quantized))] + parameters + range
          + [.init("output_dtype", .attribute(.dataType(.float32)))], origin)[0]
    }
    let form = spec.scheme.isSymmetric ? "choose_qparams_symmetric.tensor" : "choose_qparams.tensor"
    let chosen = try emit(
      form, [value, range[0], range[1], .init("eps", .attribute(.float(Double(spec.eps)))), range[2]], origin)
    let parameters: [Node.Argument] = [.init("scale", .value(chosen[0])), .init("zero_point", .value(chosen[1]))]
    let quantized = try emit("quantize_per_tensor.tensor", [value] + parameters + range, origin)[0]
    return try emit(
      "dequantize_per_tensor.tensor", [.init("input", .value(quantized))] + parameters + range, origin)[0]
  }

  /// Appends a node whose outputs are as its operator infers them.
  private mutating func emit(
    _ name: String, _ arguments: [Node.Argument], _ origin: Node?
  ) throws(QuantizationError) -> [ValueID] {
    let base = String(name.prefix { $0 != "." })
    var node = Node(
      name: base, operatorName: "quantized_decomposed.\(name)", arguments: arguments, outputs: [],
      metadata: origin?.inheritedMetadata ?? [:])
    let specs: [TensorSpec]
    do throws(GraphError) { specs = try result.inferOutputs(of: node) } catch { throw .invalidGraph(error) }
    if specs.count > 1 {
      // PyTorch names the results of such a node by the `getitem` nodes that take them apart.
      node.outputs = specs.map { result.graph.addValue("getitem", $0) }
      node.name = choiceCount == 0 ? base : "\(base)_\(choiceCount)"
      choiceCount += 1
    } else {
      node.outputs = specs.map { result.graph.addValue(base, $0) }
      node.name = result.graph[node.output].name
    }
    result.graph.nodes.append(node)
    return node.outputs
  }
}

extension ExportedProgram {
  /// The specs that a node's operator gives its outputs. Throws when it refuses the call.
  fileprivate func inferOutputs(of node: Node) throws(GraphError) -> [TensorSpec] {
    let (op, call) = try call(of: node, constants: constants())
    do { return try op.infer(call) } catch { throw GraphError(error, program: name) }
  }
}
