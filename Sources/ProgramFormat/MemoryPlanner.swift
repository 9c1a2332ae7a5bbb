/// Places buffers with known lifetimes into one arena.
///
/// Greedy by size: the largest buffer first, each at the lowest offset that is free during its whole lifetime (the
/// method that TensorFlow Lite's planner describes; Pisarchyk and Lee, "Efficient memory management for deep neural net
/// inference", 2020).
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

  package init(_ buffers: [Buffer], padding: Int) {
    offsets = [Int](repeating: 0, count: buffers.count)
    var placed: [(range: Range<Int>, lifetime: ClosedRange<Int>)] = []
    let bySize = buffers.indices.sorted { (buffers[$0].byteCount, $1) > (buffers[$1].byteCount, $0) }
    for index in bySize {
      let size = MemoryPlanner.aligned(buffers[index].byteCount + padding)
      var offset = 0
      // `placed` is sorted by offset, so the first gap that is wide enough is the lowest.
      for other in placed where other.lifetime.overlaps(buffers[index].lifetime) {
        if other.range.lowerBound >= offset + size { break }
        offset = max(offset, other.range.upperBound)
      }
      offsets[index] = offset
      arenaByteCount = max(arenaByteCount, offset + size)
      let position = placed.firstIndex { $0.range.lowerBound > offset } ?? placed.count
      placed.insert((offset..<offset + size, buffers[index].lifetime), at: position)
    }
  }

  private static func aligned(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }
}
