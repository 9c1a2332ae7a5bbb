/// What an observer has seen, to be saved and taken up again, by another process too.
///
/// As JSON, floats are decimal numbers that read back to the same float.
public struct ObserverState: Hashable, Sendable, Codable {
  /// The observer's class, by torchao's name.
  public var observer: String
  /// One per channel, or one; empty before anything was seen.
  public var minimums: [Float]
  /// Parallel to `minimums`.
  public var maximums: [Float]
  /// Of a histogram: the counts of its 2048 bins.
  public var counts: [Float]?
  /// Of a histogram: infinities that were left out.
  public var ignoredCount: Int?
  /// Of a per-channel observer: the dimension of the channels.
  public var axis: Int?

  init(
    kind: String, minimums: [Float] = [], maximums: [Float] = [], counts: [Float]? = nil, ignoredCount: Int? = nil,
    axis: Int? = nil
  ) {
    observer = kind
    (self.minimums, self.maximums) = (minimums, maximums)
    (self.counts, self.ignoredCount, self.axis) = (counts, ignoredCount, axis)
  }

  init(kind: String, ranges: [ValueRange], axis: Int? = nil) {
    self.init(kind: kind, minimums: ranges.map(\.min), maximums: ranges.map(\.max), axis: axis)
  }

  var isEmpty: Bool { minimums.isEmpty && maximums.isEmpty }

  func renamed(_ kind: String) -> ObserverState {
    var copy = self
    copy.observer = kind
    return copy
  }

  /// The ranges, checked: states come from files. `channels` is how many there must be unless there are none.
  func ranges(of kind: String, channels: Int?) throws(ObserverError) -> [ValueRange] {
    guard observer == kind else { throw .invalidState("it was saved by a \(observer), not a \(kind)") }
    guard minimums.count == maximums.count, isEmpty || channels == nil || minimums.count == channels else {
      throw .invalidState("it has \(minimums.count) minimums and \(maximums.count) maximums")
    }
    return try zip(minimums, maximums).map { low, high throws(ObserverError) in
      guard low.isFinite, high.isFinite, low <= high else {
        throw .invalidState("[\(low), \(high)] is not a valid range")
      }
      var range = ValueRange()
      (range.min, range.max) = (low, high)
      return range
    }
  }
}
