import TensorCore

/// A copy between two strided arrays of equal sizes, as few and as long runs as the strides allow. In bytes.
struct StridedCopy: Sendable {
  private struct Level: Sendable {
    let count: Int
    let sourceStride: Int
    let targetStride: Int
  }

  private let levels: [Level]
  private let runByteCount: Int
  private let sourceOffset: Int
  private let targetOffset: Int

  /// - Parameters:
  ///   - sizes: The elements to copy per dimension, outermost first.
  ///   - sourceStrides: Elements from one index to the next, likewise `targetStrides`.
  ///   - sourceOffset: The first element's position, likewise `targetOffset`.
  /// - Precondition: all positions lie in the arrays; callers check shapes.
  init(
    sizes: [Int], sourceStrides: [Int], targetStrides: [Int], sourceOffset: Int, targetOffset: Int, elementSize: Int
  ) {
    var levels: [Level] = []
    var run = elementSize
    // From the innermost dimension: as long as both sides go on where the run ends, the run grows.
    for index in sizes.indices.reversed() where sizes[index] != 1 {
      let level = Level(
        count: sizes[index], sourceStride: sourceStrides[index] &* elementSize,
        targetStride: targetStrides[index] &* elementSize)
      if levels.isEmpty, level.sourceStride == run, level.targetStride == run {
        run = run &* level.count
      } else {
        levels.append(level)
      }
    }
    self.levels = levels.reversed()
    runByteCount = run
    self.sourceOffset = sourceOffset &* elementSize
    self.targetOffset = targetOffset &* elementSize
  }

  func run(from source: UnsafeRawPointer, to target: UnsafeMutableRawPointer) {
    if runByteCount == 0 || levels.contains(where: { $0.count == 0 }) { return }
    levels.withUnsafeBufferPointer { levels in
      copy(levels[...], source + sourceOffset, target + targetOffset)
    }
  }

  private func copy(
    _ levels: Slice<UnsafeBufferPointer<Level>>, _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer
  ) {
    guard let level = levels.first else { return target.copyMemory(from: source, byteCount: runByteCount) }
    let inner = levels.dropFirst()
    if !inner.isEmpty {
      for i in 0..<level.count { copy(inner, source + i &* level.sourceStride, target + i &* level.targetStride) }
    } else if runByteCount == 1 {
      for i in 0..<level.count {
        target.storeBytes(
          of: source.load(fromByteOffset: i &* level.sourceStride, as: UInt8.self),
          toByteOffset: i &* level.targetStride, as: UInt8.self)
      }
    } else {
      let byteCount = runByteCount
      for i in 0..<level.count {
        (target + i &* level.targetStride).copyMemory(from: source + i &* level.sourceStride, byteCount: byteCount)
      }
    }
  }
}

extension TensorSpec {
  /// The logical dimensions in the order in which they lie in memory, outermost first.
  /// - Precondition: 4-D when channels last.
  var memoryOrder: [Int] { dimOrder == .channelsLast ? [0, 2, 3, 1] : Array(0..<shape.rank) }

  /// The strides of dimensions in memory order, in elements, parallel to `memoryOrder`.
  var memoryStrides: [Int] {
    let order = memoryOrder
    var strides = [Int](repeating: 1, count: order.count)
    for i in stride(from: order.count - 2, through: 0, by: -1) { strides[i] = strides[i + 1] &* shape[order[i + 1]] }
    return strides
  }
}

extension OperatorCall {
  /// The position of a tensor that must be given among the inputs.
  func position(_ name: String) throws(OperatorError) -> Int {
    guard let index = try index(of: name) else { throw error("the tensor '\(name)' is missing") }
    return index
  }
}
