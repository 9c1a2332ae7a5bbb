import TensorCore

/// Walks up to three strided arrays of equal sizes together, row by row.
///
/// Dimensions of size 1 are dropped and neighbours that all arrays cross in one stride are merged, so that rows are as
/// long as they can be. Steps are in elements; 0 repeats an element.
struct StridedLoops: Sendable {
  struct Axis: Sendable {
    var size: Int
    var first: Int
    var second: Int
    var third = 0
  }

  static let maximumRank = 64

  /// The dimensions around a row, outermost first.
  private let outer: [Axis]
  /// The dimension that the caller's loop runs over.
  let row: Axis
  let isEmpty: Bool

  /// - Precondition: at most `maximumRank` axes; every position they reach lies in the arrays.
  init(_ axes: [Axis]) {
    precondition(axes.count <= StridedLoops.maximumRank)
    var merged: [Axis] = []
    for axis in axes where axis.size != 1 {
      if let last = merged.last, last.first == axis.size &* axis.first, last.second == axis.size &* axis.second,
        last.third == axis.size &* axis.third
      {
        merged[merged.count - 1] = Axis(
          size: last.size &* axis.size, first: axis.first, second: axis.second, third: axis.third)
      } else {
        merged.append(axis)
      }
    }
    isEmpty = axes.contains { $0.size == 0 }
    row = merged.popLast() ?? Axis(size: 1, first: 1, second: 1, third: 1)
    outer = merged
  }

  /// Calls `body` for each row, the outermost dimension slowest, with the offsets of its first elements.
  @inline(__always)
  func forEachRow(_ body: (_ first: Int, _ second: Int, _ third: Int) -> Void) {
    if isEmpty { return }
    outer.withUnsafeBufferPointer { axes in
      withUnsafeTemporaryAllocation(of: Int.self, capacity: StridedLoops.maximumRank) { counters in
        counters.initialize(repeating: 0)
        var (first, second, third) = (0, 0, 0)
        while true {
          body(first, second, third)
          var level = axes.count &- 1
          while level >= 0 {
            let axis = axes[level]
            first &+= axis.first
            second &+= axis.second
            third &+= axis.third
            counters[level] &+= 1
            if counters[level] < axis.size { break }
            counters[level] = 0
            first &-= axis.size &* axis.first
            second &-= axis.size &* axis.second
            third &-= axis.size &* axis.third
            level &-= 1
          }
          if level < 0 { return }
        }
      }
    }
  }
}

extension StridedLoops {
  /// Copies elements of `elementSize` bytes (1, 2, 4 or 8): the target's steps are the axes' `first`, the source's `second`.
  func copy(elementSize: Int, from source: UnsafeRawPointer, to target: UnsafeMutableRawPointer) {
    switch elementSize {
    case 1: copy(UInt8.self, source, target)
    case 2: copy(UInt16.self, source, target)
    case 4: copy(UInt32.self, source, target)
    default: copy(UInt64.self, source, target)
    }
  }

  @inline(__always)
  private func copy<T: BitwiseCopyable>(
    _ type: T.Type, _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer
  ) {
    let (source, target) = (source.assumingMemoryBound(to: T.self), target.assumingMemoryBound(to: T.self))
    let (count, targetStep, sourceStep) = (row.size, row.first, row.second)
    forEachRow { targetOffset, sourceOffset, _ in
      let (to, from) = (target + targetOffset, source + sourceOffset)
      if targetStep == 1 && sourceStep == 1 {
        to.update(from: from, count: count)
      } else {
        for i in 0..<count { to[i &* targetStep] = from[i &* sourceStep] }
      }
    }
  }
}
