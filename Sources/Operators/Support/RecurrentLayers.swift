import TensorCore

/// The layers of an LSTM or GRU, validated: `layers` times `directions` cells, each with its weights for the input and
/// for the state. Sequences are [T, B, features], or [B, T, features] where the batch comes first.
///
/// All inputs of a cell are multiplied at once, then its state step by step; a sum starts from its bias, and the two
/// sums are added.
struct RecurrentLayers: Sendable {
  /// The rows of `gateCount` times the hidden size that the weights of one cell give.
  let gateCount: Int
  let hidden: Int
  let layers: Int
  let directions: Int
  let input: TensorArgument
  let output: Shape
  /// Of each state: [layers · directions, B, hidden].
  let state: Shape
  private let batch, steps: Int
  private let isBatchFirst: Bool
  private let cells: [Cell]

  /// The weights of one layer in one direction, as positions among the call's inputs.
  private struct Cell: Sendable {
    let features: Int
    let weightOfInput, weightOfState: Int
    let biases: (input: Int, state: Int)?
  }

  /// Reads everything but the states. `gateCount` is 4 of an LSTM, 3 of a GRU.
  init(_ call: OperatorCall, gateCount: Int) throws(OperatorError) {
    self.gateCount = gateCount
    input = try call.floatTensor("input")
    try call.check(input.shape.rank == 3, "'input' must be [T, B, features], not \(input.shape)")
    isBatchFirst = try call.bool("batch_first")
    (steps, batch) = isBatchFirst ? (input.shape[1], input.shape[0]) : (input.shape[0], input.shape[1])
    try call.check(steps > 0, "'input' \(input.shape) has no time steps")
    directions = try call.bool("bidirectional") ? 2 : 1
    layers = try call.int("num_layers")
    try call.check((1...1024).contains(layers), "'num_layers' must be in 1...1024, not \(layers)")
    let dropout = try call.float("dropout")
    try call.check(
      try !call.bool("train") || dropout == 0 || layers == 1, "it drops out; export the model after eval()")
    let hasBiases = try call.bool("has_biases")
    guard case .tensors(let indices) = call.arguments["params"] else {
      throw call.error("'params' must be a list of tensors")
    }
    let params = try call.specs("params")
    let perCell = hasBiases ? 4 : 2
    try call.check(
      params.count != layers * directions * (perCell + 1),
      "a projection of the hidden state (proj_size) is not supported")
    try call.check(
      params.count == layers * directions * perCell,
      "'params' must be \(layers * directions) times \(perCell) tensors, not \(params.count)")
    hidden = params[1].shape.dimensions.last ?? 0
    try call.check((1...sizeLimit).contains(hidden), "'params': weights of the state are \(params[1].shape)")
    var cells: [Cell] = []
    for cell in 0..<layers * directions {
      let features = cell < directions ? input.shape[2] : hidden * directions
      try call.check((1...sizeLimit).contains(features), "'input' \(input.shape) is empty or too large")
      let at = cell * perCell
      let rows = gateCount * hidden
      var expected: [Shape?] = [Shape(validating: [rows, features]), Shape(validating: [rows, hidden])]
      if hasBiases { expected += [[rows], [rows]] }
      for (offset, shape) in expected.enumerated() {
        let own = params[at + offset]
        try call.check(
          shape == own.shape && own.dataType == .float32 && own.dimOrder == .contiguous,
          "'params' \(at + offset) must be float32[\(offset < 2 ? "\(rows), \(offset == 0 ? features : hidden)" : "\(rows)")], not \(own)"
        )
      }
      cells.append(
        Cell(
          features: features, weightOfInput: indices[at], weightOfState: indices[at + 1],
          biases: hasBiases ? (indices[at + 2], indices[at + 3]) : nil))
    }
    self.cells = cells
    let outer = isBatchFirst ? [batch, steps] : [steps, batch]
    output = try call.checkedShape(outer + [hidden * directions])
    state = try call.checkedShape([layers * directions, batch, hidden])
    // What the gates of all steps take.
    _ = try call.checkedShape(outer + [hidden * gateCount])
  }

  /// Checks an initial state.
  func checkState(_ spec: TensorSpec, _ call: OperatorCall) throws(OperatorError) {
    try call.check(
      spec == TensorSpec(.float32, state), "'hx' must be \(TensorSpec(.float32, state)), not \(spec)")
  }

  // MARK: Running

  private func gemm(_ depth: Int) -> FloatGemm {
    FloatGemm(
      groups: 1, outputsPerGroup: gateCount * hidden, depth: depth, lower: -.infinity, upper: .infinity)
  }

  /// The parts of the scratch memory, in bytes from its start.
  struct Layout: Sendable {
    fileprivate let packed: [(input: Int, state: Int)]
    fileprivate let constants: Storage?
    fileprivate let gatesOfInput, gatesOfState: Int
    /// Sequences between layers, by turns.
    fileprivate let sequences: (Int, Int)
    fileprivate(set) var byteCount: Int
  }

  /// Packs the weights if all are constant; else they are packed at every run, into the scratch memory.
  func layout(_ call: OperatorCall) throws(OperatorError) -> Layout {
    var end = 0
    func take(_ count: Int) throws(OperatorError) -> Int {
      let start = end
      let (next, overflow) = end.addingReportingOverflow(count)
      try call.check(!overflow && next < Int.max / 2, "the weights are too large")
      end = (next + 63) / 64 * 64
      return start
    }
    var packed: [(input: Int, state: Int)] = []
    for cell in cells {
      let input = try take(gemm(cell.features).packedByteCount(call))
      packed.append((input, try take(gemm(hidden).packedByteCount(call))))
    }
    var constants: Storage?
    let tensors = call.inputs.indices.map { call.constants[$0].map { $0.rowMajor().aligned() } }
    let read = cells.flatMap { [$0.weightOfInput, $0.weightOfState] + ($0.biases.map { [$0.input, $0.state] } ?? []) }
    if read.allSatisfy({ tensors[$0] != nil }) {
      let storage = Storage(byteCount: max(end, 1))
      let pointers = tensors.map { $0.map { UnsafeRawPointer($0.storage.base + $0.byteOffset) } }
      pack(packed, into: storage.base) { pointers[$0] }
      withExtendedLifetime(tensors) {}
      constants = storage
      end = 0
    }
    let rows = steps * batch
    let gatesOfInput = try take(rows * gateCount * hidden * 4)
    let gatesOfState = try take(batch * gateCount * hidden * 4)
    let sequence = layers > 1 ? output.elementCount * 4 : 0
    let sequences = (try take(sequence), try take(sequence))
    return Layout(
      packed: packed, constants: constants, gatesOfInput: gatesOfInput, gatesOfState: gatesOfState,
      sequences: sequences, byteCount: end)
  }

  private func pack(
    _ places: [(input: Int, state: Int)], into base: UnsafeMutableRawPointer, _ data: (Int) -> UnsafeRawPointer?
  ) {
    func floats(_ index: Int?) -> UnsafePointer<Float>? { index.flatMap(data)?.assumingMemoryBound(to: Float.self) }
    for (cell, place) in zip(cells, places) {
      guard let weightOfInput = floats(cell.weightOfInput), let weightOfState = floats(cell.weightOfState) else {
        continue
      }
      gemm(cell.features).pack(weightOfInput, bias: floats(cell.biases?.input), into: base + place.input)
      gemm(hidden).pack(weightOfState, bias: floats(cell.biases?.state), into: base + place.state)
    }
  }

  /// Runs all layers on the initial `state`, which becomes the final one. `step` computes the new state of one sequence of
  /// a batch, which lies at an offset, from the sums over its input and its state (`gateCount` times `hidden` of each).
  @inline(__always)
  func run(
    _ buffers: KernelBuffers, _ layout: Layout, state: UnsafeMutablePointer<Float>,
    step: (_ gatesOfInput: UnsafePointer<Float>, _ gatesOfState: UnsafePointer<Float>, _ offset: Int) -> Void
  ) {
    // Of no elements, nothing bounds the steps.
    if batch == 0 { return }
    let base = layout.constants.map { UnsafeMutableRawPointer($0.base) } ?? buffers.scratch
    if layout.constants == nil { pack(layout.packed, into: base) { buffers.inputs[$0] } }
    func scratch(_ offset: Int) -> UnsafeMutablePointer<Float> {
      (buffers.scratch + offset).assumingMemoryBound(to: Float.self)
    }
    let (gatesOfInput, gatesOfState) = (scratch(layout.gatesOfInput), scratch(layout.gatesOfState))
    let (rows, gates) = (steps &* batch, gateCount &* hidden)
    let (stepRow, batchRow) = isBatchFirst ? (1, steps) : (batch, 1)
    var source = buffers.input(input, as: Float.self)
    for layer in 0..<layers {
      let isLast = layer == layers - 1
      let target =
        isLast ? buffers.output(as: Float.self) : scratch(layer % 2 == 0 ? layout.sequences.0 : layout.sequences.1)
      for direction in 0..<directions {
        let index = layer &* directions &+ direction
        let (features, place) = (cells[index].features, layout.packed[index])
        gemm(features).multiply(
          GemmRows(source, count: rows, length: features, stride: features), packed: base + place.input, group: 0,
          output: gatesOfInput, outputStride: gates)
        let own = index &* batch &* hidden
        for count in 0..<steps {
          let time = direction == 0 ? count : steps &- 1 &- count
          gemm(hidden).multiply(
            GemmRows(state + own, count: batch, length: hidden, stride: hidden), packed: base + place.state, group: 0,
            output: gatesOfState, outputStride: gates)
          for b in 0..<batch {
            let row = time &* stepRow &+ b &* batchRow
            step(gatesOfInput + row &* gates, gatesOfState + b &* gates, own &+ b &* hidden)
            (target + (row &* directions &+ direction) &* hidden).update(
              from: state + own + b &* hidden, count: hidden)
          }
        }
      }
      source = UnsafePointer(target)
    }
  }
}
