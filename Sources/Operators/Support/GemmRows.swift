/// The rows of a matrix product, where they lie: of a matrix, or the windows of a convolution in an image.
///
/// Rows come in lines: row i starts at base + (i / perLine) · lineStep + (i % perLine) · step. Each is `runs` pieces of
/// consecutive elements, `runStep` apart. All in elements.
struct GemmRows<Element> {
  let base: UnsafePointer<Element>
  let count: Int
  let perLine, step, lineStep: Int
  let runs, runLength, runStep: Int
}

extension GemmRows {
  /// The rows of a matrix, `stride` elements apart.
  @inline(__always)
  init(_ base: UnsafePointer<Element>, count: Int, length: Int, stride: Int) {
    self.init(
      base: base, count: count, perLine: max(count, 1), step: stride, lineStep: 0, runs: 1, runLength: length,
      runStep: 0)
  }

  /// Walks the starts of the rows.
  struct Cursor {
    private var line: UnsafePointer<Element>
    private var next: UnsafePointer<Element>
    private var left: Int
    private let perLine, step, lineStep: Int

    @inline(__always)
    init(_ rows: GemmRows) {
      (line, next, left) = (rows.base, rows.base, rows.perLine)
      (perLine, step, lineStep) = (rows.perLine, rows.step, rows.lineStep)
    }

    /// - Precondition: called at most `count` times.
    @inline(__always)
    mutating func advance() -> UnsafePointer<Element> {
      let current = next
      left &-= 1
      next += step
      if left == 0 {
        line += lineStep
        (next, left) = (line, perLine)
      }
      return current
    }
  }
}
