import Dispatch
import GraphIR
import Operators
import Synchronization
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
  var conversion = try Conversion(observed, foldQuantize: foldQuantize)
  try conversion.run()
  try verify(conversion.result, as: .quantizeDequantize)
  guard useReferenceRepresentation else { return conversion.result }
  do { return try referenceRepresentation(of: conversion.result).program } catch { throw .invalidGraph(error) }
}

private struct Conversion {
  private(set) var result: ExportedProgram
  private let observed: ObservedProgram
  private let foldQuantize: Bool
  /// The observed program without observe nodes that repeat the one before.
  private let source: ExportedProgram
  private let constants: [ValueID: Tensor]
  private let producers: [ValueID: Int]
  /// Values of the source → values of the result.
  private var values: [ValueID: ValueID] = [:]
  /// What each reader, by its first output, reads instead of an observed value.
  private var privateValues: [ValueID: [ValueID: ValueID]] = [:]
  private var parameters: [Int: QParams] = [:]
  private var channelBuffers: [ValueID: (scales: ValueID, zeroPoints: ValueID)] = [:]
  private var integers: [ValueID: ValueID] = [:]
  private var readers: [ValueID: [Node]] = [:]
  /// Numbers used so far of the buffers that are called after a prefix.
  private var targetCounts: [String: Int] = [:]
  private let outputs: Set<ValueID>
  /// Nodes so far that choose parameters at run time.
  private var choiceCount = 0

  init(_ observed: ObservedProgram, foldQuantize: Bool) throws(QuantizationError) {
    self.observed = observed
    self.foldQuantize = foldQuantize
    var source = observed.program
    do { try source.removeNodes(forwarding: source.graph.repeatedObservers()) } catch { throw .invalidGraph(error) }
    self.source = source
    self.constants = source.constants()
    self.outputs = Set(source.graph.outputs)
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
    let observeNodes = source.graph.nodes.filter(\.isObserver)
    for node in observeNodes { addChannelBuffers(node) }
    for node in observeNodes where foldQuantize { try addIntegers(node) }
    for node in source.graph.nodes { if node.isObserver { try emitPair(node) } else { try emitCopy(node) } }
    for id in source.graph.outputs { result.graph.outputs.append(try converted(id)) }
    result.graph.removeDeadNodes()
    result.removeUnusedConstants()
  }

  /// The search for a range is most of a conversion's work. Observers are independent, but for derived ones, whose sources
  /// are asked a second time.
  private mutating func computeParameters() throws(QuantizationError) {
    let indices = observed.observers.indices.filter {
      !self.observed.observedNames[$0].isEmpty && !self.observed.specs[$0].isDynamic
    }
    let observed = observed
    let results = Mutex<[Int: Result<QParams, ObserverError>]>([:])
    @Sendable func calculate(_ index: Int) {
      let result = Result { () throws(ObserverError) in try observed.observers[index].calculateQParams() }
      results.withLock { $0[index] = result }
    }
    let independent = indices.filter { observed.specs[$0].derived == nil }
    DispatchQueue.concurrentPerform(iterations: independent.count) { calculate(independent[$0]) }
    for index in indices where observed.specs[index].derived != nil { calculate(index) }
    let found = results.withLock { $0 }
    for index in indices {
      do { parameters[index] = try found[index]?.get() } catch {
        throw .observer(program: source.name, value: observed.observedNames[index], error)
      }
    }
  }

  private mutating func findReaders() {
    for node in source.graph.nodes {
      var seen: Set<ValueID> = []
      for id in node.inputs where seen.insert(id).inserted { readers[id, default: []].append(node) }
    }
  }

  /// The result's value for one of the source, as `reader` reads it.
  private func converted(_ id: ValueID, for reader: Node? = nil) throws(QuantizationError) -> ValueID {
    if let value = reader.flatMap({ privateValues[$0.output]?[id] }) ?? values[id] { return value }
    throw .invalidGraph(
      GraphError(
        program: source.name, node: reader?.name ?? "", operatorName: reader?.op.name ?? "",
        reason: "'\(source.graph[id].name)' is read before it is converted"))
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

  private mutating func unusedTarget(_ prefix: String) -> String {
    while true {
      let target = "\(prefix)\(targetCounts[prefix, default: 0])"
      targetCounts[prefix, default: 0] += 1
      if result.stateDict[target] == nil { return target }
    }
  }

  // MARK: Nodes

  private mutating func emitCopy(_ node: Node) throws(QuantizationError) {
    var copy = node
    try copy.mapInputs { id throws(QuantizationError) in try converted(id, for: node) }
    copy.outputs = node.outputs.map { id in
      let value = result.graph.addValue(source.graph[id].name, source.graph.spec(id))
      values[id] = value
      return value
    }
    result.graph.nodes.append(copy)
  }

  private mutating func emitPair(_ node: Node) throws(QuantizationError) {
    guard let index = node.observerIndex, let input = node.value("input") else { return }
    let all = readers[node.output] ?? []
    let producer = producers[input].map { source.graph.nodes[$0] }
    if observed.specs[index].isDynamic {
      values[node.output] = try emitDynamic(node, observed.specs[index], converted(input), all.first ?? producer)
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
    let quantize: Operator = parameters.isPerChannel ? .quantizePerChannel : .quantizePerTensor
    let dequantize: Operator = parameters.isPerChannel ? .dequantizePerChannel : .dequantizePerTensor
    func emitted(_ op: Operator, _ value: ValueID, _ origin: Node?) throws(QuantizationError) -> ValueID {
      try emit(op, [.init("input", .value(value))] + literals, origin)[0]
    }
    let isWeight = constants[input] != nil
    let quantized: ValueID
    if let folded = integers[node.output] {
      quantized = folded
    } else {
      quantized = try emitted(quantize, converted(input), isWeight ? all.first : producer)
    }
    let quantizedReaders = all.filter { !$0.isObserver && observed.annotations.isQuantized($0.output) }
    let isOutput = outputs.contains(node.output)
    if quantizedReaders.count < all.count || isOutput || all.isEmpty {
      let reader = all.first { $0.isObserver || !observed.annotations.isQuantized($0.output) }
      values[node.output] = try emitted(dequantize, quantized, reader ?? producer)
    }
    for reader in quantizedReaders.reversed() {
      privateValues[reader.output, default: [:]][node.output] = try emitted(dequantize, quantized, reader)
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
      let chosen = try emit(.chooseQParamsPerToken, [value, range[2]], origin)
      let parameters: [Node.Argument] = [.init("scales", .value(chosen[0])), .init("zero_points", .value(chosen[1]))]
      let quantized = try emit(.quantizePerToken, [value] + parameters + range, origin)[0]
      return try emit(
        .dequantizePerToken,
        [.init("input", .value(quantized))] + parameters + range
          + [.init("output_dtype", .attribute(.dataType(.float32)))], origin)[0]
    }
    let choose: Operator = spec.scheme.isSymmetric ? .chooseQParamsSymmetric : .chooseQParams
    let chosen = try emit(
      choose, [value, range[0], range[1], .init("eps", .attribute(.float(Double(spec.eps)))), range[2]], origin)
    let parameters: [Node.Argument] = [.init("scale", .value(chosen[0])), .init("zero_point", .value(chosen[1]))]
    let quantized = try emit(.quantizePerTensorTensor, [value] + parameters + range, origin)[0]
    return try emit(
      .dequantizePerTensorTensor, [.init("input", .value(quantized))] + parameters + range, origin)[0]
  }

  /// Appends a node whose outputs are as its operator infers them.
  private mutating func emit(
    _ op: Operator, _ arguments: [Node.Argument], _ origin: Node?
  ) throws(QuantizationError) -> [ValueID] {
    let base = op.functionName
    var node = Node(
      name: base, op: op, arguments: arguments, outputs: [],
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

extension Graph {
  /// Observe nodes that repeat the one before, the same observer and nothing in between, and what that gave.
  fileprivate func repeatedObservers() -> [ValueID: ValueID] {
    let producers = producers()
    var repeats: [ValueID: ValueID] = [:]
    for node in nodes where node.isObserver {
      guard let input = node.value("input"), let producer = producers[input],
        nodes[producer].observerIndex == node.observerIndex
      else { continue }
      repeats[node.output] = input
    }
    return repeats
  }
}
