import TensorCore

extension Program {
  /// The program with every activation's place in the arena chosen for its size and the instructions that use it.
  ///
  /// Inputs stay to the end, so that a method can run again on the input it was given. The output of an instruction that
  /// allows it (`Instruction.isInPlace`) takes the place of an input that no other instruction reads later.
  ///
  /// - Parameter inPlace: false to give every output a place of its own.
  package func planned(inPlace: Bool = true) -> Program {
    var lifetimes = self.lifetimes()
    let places = inPlace ? shareInPlace(&lifetimes) : [:]
    let owners = lifetimes.keys.sorted()
    let planner = MemoryPlanner(
      owners.map { .init(byteCount: values[$0].spec.byteCount, lifetime: lifetimes[$0]!) }, padding: Storage.padding)
    var placed = values
    for (owner, offset) in zip(owners, planner.offsets) { placed[owner].location = .arena(offset) }
    for (value, owner) in places { placed[value].location = placed[owner].location }
    for index in placed.indices {
      guard let owner = placed[index].owner, case .arena(let offset) = placed[owner].location else { continue }
      placed[index].location = .arena(offset)
    }
    var result = self
    result.values = placed
    result.arenaByteCount = planner.arenaByteCount
    result.arenaLowerBound = planner.lowerBound
    return result
  }

  /// First and last instruction that uses each activation or a view of it, by the index of the one that is no view.
  private func lifetimes() -> [Int: ClosedRange<Int>] {
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
    return lifetimes
  }

  /// Merges the lifetimes of values that take each other's place. Returns where the values that have none any more lie.
  private func shareInPlace(_ lifetimes: inout [Int: ClosedRange<Int>]) -> [Int: Int] {
    var places: [Int: Int] = [:]
    func place(_ index: Int) -> Int {
      let owner = values[index].owner ?? index
      return places[owner] ?? owner
    }
    for (position, instruction) in instructions.enumerated() where instruction.isInPlace {
      guard let input = instruction.inputs.first, let output = instruction.outputs.first else { continue }
      let (source, target) = (place(input), place(output))
      guard let old = lifetimes[source], let new = lifetimes[target], source != target,
        old.upperBound == position, new.lowerBound == position,
        values[source].spec.byteCount == values[target].spec.byteCount,
        !instruction.inputs.dropFirst().contains(where: { place($0) == source })
      else { continue }
      lifetimes[source] = old.lowerBound...new.upperBound
      lifetimes[target] = nil
      places[target] = source
    }
    return places
  }

  /// The program with the places of another plan of it, in which no value is smaller. Nil where one is, or where an
  /// output takes an input's place that is of another size here.
  package func placed(as plan: Program) -> Program? {
    guard values.count == plan.values.count else { return nil }
    var result = self
    for index in values.indices {
      guard case .arena = values[index].location else { continue }
      guard values[index].spec.byteCount <= plan.values[index].spec.byteCount else { return nil }
      result.values[index].location = plan.values[index].location
    }
    result.arenaByteCount = plan.arenaByteCount
    for instruction in result.instructions where instruction.isInPlace {
      guard let input = instruction.inputs.first, let output = instruction.outputs.first,
        case .arena(let source) = result.values[input].location,
        case .arena(let target) = result.values[output].location, source == target
      else { continue }
      guard values[input].spec.byteCount == values[output].spec.byteCount else { return nil }
    }
    return result
  }
}
