import TensorCore

extension Program {
  /// The program with every activation's place in the arena chosen for its size and the instructions that use it.
  ///
  /// Inputs stay to the end, so that a method can run again on the input it was given.
  public func planned() -> Program {
    var lifetimes: [Int: ClosedRange<Int>] = [:]
    func extend(_ index: Int, to step: Int) {
      let key = values[index].owner ?? index
      guard case .arena = values[key].location else { return }
      let known = lifetimes[key] ?? step...step
      lifetimes[key] = min(known.lowerBound, step)...max(known.upperBound, step)
    }
    let end = instructions.count
    for index in inputs {
      extend(index, to: -1)
      extend(index, to: end)
    }
    for (position, instruction) in instructions.enumerated() {
      for index in instruction.inputs + instruction.outputs { extend(index, to: position) }
    }
    for index in outputs { extend(index, to: end) }
    let owners = lifetimes.keys.sorted()
    let planner = MemoryPlanner(
      owners.map { .init(byteCount: values[$0].spec.byteCount, lifetime: lifetimes[$0]!) }, padding: Storage.padding)
    var placed = values
    for (owner, offset) in zip(owners, planner.offsets) { placed[owner].location = .arena(offset) }
    for index in placed.indices {
      guard let owner = placed[index].owner, case .arena(let offset) = placed[owner].location else { continue }
      placed[index].location = .arena(offset)
    }
    var result = self
    result.values = placed
    result.arenaByteCount = planner.arenaByteCount
    return result
  }

  /// The program with the places of another plan of it, in which no value is smaller. Nil where one is.
  package func placed(as plan: Program) -> Program? {
    guard values.count == plan.values.count else { return nil }
    var result = self
    for index in values.indices {
      guard case .arena = values[index].location else { continue }
      guard values[index].spec.byteCount <= plan.values[index].spec.byteCount else { return nil }
      result.values[index].location = plan.values[index].location
    }
    result.arenaByteCount = plan.arenaByteCount
    return result
  }
}
