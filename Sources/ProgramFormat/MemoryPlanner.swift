/// Places buffers with known lifetimes into one arena.
///
/// Greedy in several orders, each buffer at the lowest offset that is free during its whole lifetime (Pisarchyk and Lee,
/// "Efficient memory management for deep neural net inference", 2020, compare orders by size and by breadth), or at the
/// end of the arena that is nearer; the smallest arena is kept. Where none is as small as `lowerBound`, a local search
/// follows (`ArenaSearch`). The same buffers always give the same plan.
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
    offsets = []
    guard !buffers.isEmpty else { return }
    var search = ArenaSearch(buffers, sizes, lowerBound: lowerBound)
    let keys = MemoryPlanner.keys(buffers, sizes, live)
    let orders = keys.lazy.map { key in
      let values = buffers.indices.map(key)
      return buffers.indices.sorted { (values[$0], sizes[$0], $1) > (values[$1], sizes[$1], $0) }
    }
    let low = [Bool](repeating: false, count: buffers.count)
    for order in orders where !search.isDone { search.attempt(order, high: low) }
    for order in orders where !search.isDone { search.attempt(order, high: nil) }
    for order in orders where !search.isDone { search.improve(order) }
    offsets = search.best.offsets
    arenaByteCount = search.best.bytes
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
