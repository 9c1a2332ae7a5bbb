/// Ways to place buffers one after the other, of which the one that takes the fewest bytes is kept.
struct ArenaSearch {
  struct Placement {
    var bytes: Int
    var offsets: [Int]
  }

  private struct Placed {
    let start, end, first, last: Int
  }

  private let buffers: [MemoryPlanner.Buffer]
  private let sizes: [Int]
  private let lowerBound: Int
  /// Ways that may still be tried. One costs up to n² comparisons: thousands of buffers make do with fewer.
  private var tries: Int
  private(set) var best = Placement(bytes: .max, offsets: [])
  /// By offset; of the present attempt.
  private var placed: [Placed] = []

  init(_ buffers: [MemoryPlanner.Buffer], _ sizes: [Int], lowerBound: Int) {
    self.buffers = buffers
    self.sizes = sizes
    self.lowerBound = lowerBound
    tries = max(1, min(300, (1 << 27) / buffers.count / buffers.count))
    placed.reserveCapacity(buffers.count)
  }

  /// Whether nothing better can be found, or not in the time that there is.
  var isDone: Bool { best.bytes <= lowerBound || tries == 0 }

  /// - Parameter high: which buffers take the highest gap below the lower bound, the others the lowest; nil for each to
  ///   take the one of the two that is nearer to its end of the arena.
  @discardableResult
  mutating func attempt(_ order: [Int], high: [Bool]?) -> Placement {
    placed.removeAll(keepingCapacity: true)
    var result = Placement(bytes: 0, offsets: [Int](repeating: 0, count: buffers.count))
    for index in order {
      let (size, lifetime) = (sizes[index], buffers[index].lifetime)
      let (lowest, highest) = gaps(for: index)
      var offset = lowest
      if let highest, high?[index] ?? (lowerBound - highest - size < lowest) { offset = highest }
      result.offsets[index] = offset
      result.bytes = max(result.bytes, offset + size)
      var (low, end) = (0, placed.count)
      while low < end {
        let middle = (low + end) / 2
        if placed[middle].start <= offset { low = middle + 1 } else { end = middle }
      }
      placed.insert(
        Placed(start: offset, end: offset + size, first: lifetime.lowerBound, last: lifetime.upperBound), at: low)
    }
    tries -= 1
    if result.bytes < best.bytes { best = result }
    return result
  }

  /// Where the buffer fits: as low as possible, and as high as possible below the lower bound.
  private func gaps(for index: Int) -> (lowest: Int, highest: Int?) {
    let (size, first, last) = (sizes[index], buffers[index].lifetime.lowerBound, buffers[index].lifetime.upperBound)
    var (lowest, highest): (Int?, Int?)
    var free = 0
    // `placed` is sorted by offset, so gaps come from the lowest to the highest.
    for other in placed where other.first <= last && first <= other.last {
      if other.start - free >= size {
        lowest = lowest ?? free
        if other.start <= lowerBound { highest = other.start - size }
      }
      free = max(free, other.end)
    }
    if free + size <= lowerBound { highest = lowerBound - size }
    return (lowest ?? free, highest)
  }

  /// Descends from an order: of the buffer that ends last, a neighbour changes its end of the arena, or has to wait until
  /// that buffer is placed.
  mutating func improve(_ start: [Int]) {
    var (order, high) = (start, [Bool](repeating: false, count: buffers.count))
    var present = attempt(order, high: high)
    while !isDone {
      let top = order.first { present.offsets[$0] + sizes[$0] == present.bytes }!
      let lifetime = buffers[top].lifetime
      let neighbours = order.filter { $0 != top && buffers[$0].lifetime.overlaps(lifetime) }
      let before = present.bytes
      for neighbour in neighbours where present.bytes == before && !isDone {
        var changed = high
        changed[neighbour].toggle()
        let next = attempt(order, high: changed)
        if next.bytes < before { (present, high) = (next, changed) }
      }
      for neighbour in neighbours where present.bytes == before && !isDone {
        var changed = order.filter { $0 != top }
        changed.insert(top, at: changed.firstIndex(of: neighbour)!)
        let next = attempt(changed, high: high)
        if next.bytes < before { (present, order) = (next, changed) }
      }
      if present.bytes == before { return }
    }
  }
}
