import DelegateSchema
import ProgramFormat
import TensorCore

extension Method {
  /// Gives the method the sizes that follow from its inputs' shapes, in the inputs' order: memory is planned again, the
  /// delegates' operators are set up again on the weights they have packed, portable kernels are prepared again.
  ///
  /// Memory is allocated only where the arena or a kernel's scratch space is too small. Inputs of unchanged shape keep
  /// their elements, the others are filled with zeros. Nothing happens when the shapes are the present ones. After a
  /// `ProgramError` the method is as it was.
  public func resize(inputShapes: [Shape]) throws(ProgramError) {
    guard inputShapes.count == program.inputs.count else {
      throw ProgramError(
        program: program.name, reason: "takes \(program.inputs.count) inputs, not \(inputShapes.count)")
    }
    guard inputShapes != program.inputs.map({ program.values[$0].spec.shape }) else { return }
    try resize(Dictionary(uniqueKeysWithValues: inputShapes.enumerated().map { ($0, $1) }))
  }

  /// For an input that is not what it is at the present sizes.
  func resize(input index: Int, to spec: TensorSpec) throws(ProgramError) {
    let value = program.inputs[index]
    var expected = program.values[value].spec
    expected.shape = spec.shape
    guard program.dynamicSizes?.sizes[value] != nil, expected == spec else {
      throw ProgramError(
        program: program.name, place: "input '\(program.values[value].name)'",
        reason: "must be \(program.describe(value)), not \(spec)")
    }
    try resize([index: spec.shape])
  }

  private func resize(_ shapes: [Int: Shape]) throws(ProgramError) {
    let symbols = try program.symbols(forInputs: shapes)
    guard symbols != program.dynamicSizes?.symbols else { return }
    var next = try program.resized(symbols)
    // A plan of smaller sizes may by chance need more room; that of the largest sizes has room for all.
    if next.arenaByteCount > arenaCapacity, let bound { next = next.placed(as: bound) ?? next }
    let before = (program, operations, steps, memory, constants, walk)
    do throws(ProgramError) {
      var loading = try MethodLoader(next, options, threads, operators: steps.map(\.delegated), constants: constants)
      try loading.load()
      try MethodMemory.check(next, loading.scratchByteCount)
      memory = MethodMemory(loading, of: next, arenaCapacity: next.arenaByteCount, reusing: memory)
      (program, operations, steps, constants) = (next, loading.operations, loading.steps, loading.constants)
      walk = MethodWalk(steps, memory)
      try setUpDelegates()
    } catch {
      (program, operations, steps, memory, constants, walk) = before
      restoreDelegates()
      throw error
    }
    carryInputs(from: before.0, before.3)
  }

  /// Gives the operators the sizes of the present program back, which they have had.
  private func restoreDelegates() {
    let loader = DelegateLoader(program, threads)
    defer { loader.deallocate() }
    guard let nodes = try? program.delegates.map({ try loader.nodes(of: $0) }) else { return }
    for (step, instruction) in zip(steps, program.instructions) {
      guard let delegated = step.delegated, let call = instruction.delegateCall else { continue }
      _ = loader.resize(delegated, nodes[call.delegate][call.node])
    }
    // An operator that has no memory any more refuses to run.
    try? setUpDelegates()
  }

  private func carryInputs(from old: Program, _ oldMemory: MethodMemory) {
    let kept = program.inputs.map { index -> [UInt8]? in
      guard case .arena(let offset) = old.values[index].location,
        old.values[index].spec == program.values[index].spec
      else { return nil }
      return Array(oldMemory.arena[offset, program.values[index].spec.byteCount])
    }
    for (index, bytes) in zip(program.inputs, kept) {
      guard case .arena(let offset) = program.values[index].location else { continue }
      let target = memory.arena[offset, program.values[index].spec.byteCount]
      if let bytes { target.copyBytes(from: bytes) } else { target.initializeMemory(as: UInt8.self, repeating: 0) }
    }
  }
}
