/// Places buffers with known lifetimes into one arena.
///
/// Greedy in several orders, each buffer at the lowest offset that is free during its whole lifetime (Pisarchyk and Lee,
/// "Efficient memory management for deep neural net inference", 2020, compare orders by size and by breadth), or at the
/// end of the arena that is nearer; the smallest arena is kept. Where none is as small as `lowerBound`, orders that put
/// first what ended up on top are tried too. The same buffers always give the same plan.
package struct MemoryPlanner {
  package struct Buffer {
    let byteCount: Int
    /// First and last step during which the bytes matter, inclusive.
    var lifetime: ClosedRange<Int>

    package init(byteCount: Int, lifetime: ClosedRange<Int>) {
      self.byteCount = byteCount
      self.lifetime = lifetime
    }
  }

  /// Offsets are multiples of this.
  static let alignment = 64

  package private(set) var offsets: [Int]
  package private(set) var arenaByteCount = 0
  /// The most bytes alive at one step, with what padding and alignment add: no plan is smaller.
  package let lowerBound: Int

  /// - Parameter padding: bytes that follow each buffer and are its own too.
  package init(_ buffers: [Buffer], padding: Int) {
    let sizes = buffers.map { MemoryPlanner.aligned($0.byteCount + padding) }
    let live = LiveBytes(buffers, sizes)
    lowerBound = live.most
    offsets = [Int](repeating: 0, count: buffers.count)
    guard !buffers.isEmpty else { return }
    var arena = Arena(buffers, sizes)
    var best: (order: [Int], bytes: Int) = ([], .max)
    // An order costs up to n² comparisons: a program of thousands of buffers makes do with fewer orders.
    var tries = max(1, min(40, (1 << 27) / buffers.count / buffers.count))
    func attempt(_ order: [Int], from end: Arena.End = .low) {
      let bytes = arena.place(order, from: end, bound: lowerBound)
      if bytes < best.bytes {
        best = (order, bytes)
        offsets = arena.offsets
      }
      tries -= 1
    }
    for end in [Arena.End.low, .nearer] {
      for key in MemoryPlanner.keys(buffers, sizes, live) where tries > 0 && best.bytes > lowerBound {
        let keys = buffers.indices.map(key)
        attempt(buffers.indices.sorted { (keys[$0], sizes[$0], $1) > (keys[$1], sizes[$1], $0) }, from: end)
      }
    }
    var (order, placed) = (best.order, offsets)
    while tries > 0, best.bytes > lowerBound {
      // What reaches beyond the bound comes first, and is so placed below.
      let high = order.filter { placed[$0] + sizes[$0] > lowerBound }
      let next = high + order.filter { placed[$0] + sizes[$0] <= lowerBound }
      guard next != order else { break }
      attempt(next)
      (order, placed) = (next, arena.offsets)
    }
    arenaByteCount = best.bytes
  }

  /// What to order by, the largest first, and the largest buffer where it is equal: size, the most that is alive beside a
  /// buffer, size times lifetime, lifetime, first use, last use.
  private static func keys(_ buffers: [Buffer], _ sizes: [Int], _ live: LiveBytes) -> [(Int) -> Double] {
    func length(_ index: Int) -> Double {
      Double(buffers[index].lifetime.upperBound) - Double(buffers[index].lifetime.lowerBound) + 1
    }
    return [
      { Double(sizes[$0]) }, { Double(live.most(during: buffers[$0].lifetime)) },
      { Double(sizes[$0]) * length($0) }, length, { -Double(buffers[$0].lifetime.lowerBound) },
      { Double(buffers[$0].lifetime.upperBound) },
    ]
  }

  private static func aligned(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }
}

/// How many bytes are alive at each step at which a buffer begins to be: the most are at one of those.
private struct LiveBytes {
  /// Ascending.
  private let steps: [Int]
  private let bytes: [Int]

  init(_ buffers: [MemoryPlanner.Buffer], _ sizes: [Int]) {
    let byStart = buffers.indices.sorted { buffers[$0].lifetime.lowerBound < buffers[$1].lifetime.lowerBound }
    let byEnd = buffers.indices.sorted { buffers[$0].lifetime.upperBound < buffers[$1].lifetime.upperBound }
    var steps: [Int] = []
    var bytes: [Int] = []
    var (sum, ended) = (0, 0)
    for index in byStart {
      let step = buffers[index].lifetime.lowerBound
      while buffers[byEnd[ended]].lifetime.upperBound < step {
        sum -= sizes[byEnd[ended]]
        ended += 1
      }
      sum += sizes[index]
      if steps.last == step {
        bytes[bytes.count - 1] = sum
      } else {
        steps.append(step)
        bytes.append(sum)
      }
    }
    (self.steps, self.bytes) = (steps, bytes)
  }

  var most: Int { bytes.max() ?? 0 }

  func most(during lifetime: ClosedRange<Int>) -> Int {
    var (low, high) = (0, steps.count)
    while low < high {
      let middle = (low + high) / 2
      if steps[middle] < lifetime.lowerBound { low = middle + 1 } else { high = middle }
    }
    var result = 0
    while low < steps.count, steps[low] <= lifetime.upperBound {
      result = max(result, bytes[low])
      low += 1
    }
    return result
  }
}

/// One way to place the buffers.
private struct Arena {
  private struct Placed {
    let start, end, first, last: Int
  }

  private let buffers: [MemoryPlanner.Buffer]
  private let sizes: [Int]
  /// By offset.
  private var placed: [Placed] = []
  private(set) var offsets: [Int]

  init(_ buffers: [MemoryPlanner.Buffer], _ sizes: [Int]) {
    self.buffers = buffers
    self.sizes = sizes
    offsets = [Int](repeating: 0, count: buffers.count)
    placed.reserveCapacity(buffers.count)
  }

  /// Which gap a buffer takes: the lowest, or, of the lowest and the highest, the one nearer to its end of the arena.
  enum End { case low, nearer }

  /// The bytes that the order takes.
  ///
  /// - Parameter bound: where the arena is to end.
  mutating func place(_ order: [Int], from end: End, bound: Int) -> Int {
    placed.removeAll(keepingCapacity: true)
    var bytes = 0
    for index in order {
      let offset = gap(for: index, from: end, bound: bound)
      let (size, lifetime) = (sizes[index], buffers[index].lifetime)
      offsets[index] = offset
      bytes = max(bytes, offset + size)
      var (low, high) = (0, placed.count)
      while low < high {
        let middle = (low + high) / 2
        if placed[middle].start <= offset { low = middle + 1 } else { high = middle }
      }
      placed.insert(
        Placed(start: offset, end: offset + size, first: lifetime.lowerBound, last: lifetime.upperBound), at: low)
    }
    return bytes
  }

  private func gap(for index: Int, from end: End, bound: Int) -> Int {
    let (size, first, last) = (sizes[index], buffers[index].lifetime.lowerBound, buffers[index].lifetime.upperBound)
    var (lowest, highest): (Int?, Int?)
    var free = 0
    // `placed` is sorted by offset, so gaps come from the lowest to the highest.
    for other in placed where other.first <= last && first <= other.last {
      if other.start - free >= size {
        if end == .low { return free }
        lowest = lowest ?? free
        if other.start <= bound { highest = other.start - size }
      }
      free = max(free, other.end)
    }
    if free + size <= bound { highest = bound - size }
    let low = lowest ?? free
    guard end == .nearer, let highest, bound - highest - size < low else { return low }
    return highest
  }
}
