import TensorCore

/// The byte window of a strided view, as PyTorch describes one: sizes, strides and an offset, all in elements.
struct StridedView {
  let spec: TensorSpec
  /// One per dimension, not negative; 0 for a dimension of size 1, whose stride means nothing.
  let strides: [Int]
  let offset: Int

  /// Nil when the view reaches outside `byteCount` bytes, or its description is no view at all.
  init?(_ spec: TensorSpec, strides: [Int], offset: Int, byteCount: Int) {
    guard strides.count == spec.shape.rank, offset >= 0, strides.allSatisfy({ $0 >= 0 }) else { return nil }
    var end = offset
    if spec.shape.elementCount > 0 {
      for (size, stride) in zip(spec.shape.dimensions, strides) {
        let (span, overflow) = (size - 1).multipliedReportingOverflow(by: stride)
        let (sum, carry) = end.addingReportingOverflow(span)
        guard !overflow, !carry else { return nil }
        end = sum
      }
      guard end < Int.max else { return nil }
      end += 1
    }
    guard end <= byteCount / spec.dataType.size else { return nil }
    self.spec = spec
    self.strides = zip(spec.shape.dimensions, strides).map { $0 == 1 ? 0 : $1 }
    self.offset = offset
  }

  /// Whether the elements lie row-major without gaps.
  var isContiguous: Bool {
    if spec.shape.elementCount == 0 { return true }
    return zip(spec.shape.dimensions, zip(strides, spec.shape.strides)).allSatisfy { size, pair in
      size == 1 || pair.0 == pair.1
    }
  }

  /// A contiguous copy. `base` is the first byte of the storage that `init` was given the size of.
  func copy(from base: UnsafeRawPointer) -> Tensor {
    let source = base + offset * spec.dataType.size
    return Tensor(unsafeUninitialized: spec) { target in
      guard let start = target.baseAddress, !target.isEmpty else { return }
      switch spec.dataType.size {
      case 1: copyElements(UInt8.self, source, start)
      case 2: copyElements(UInt16.self, source, start)
      case 4: copyElements(UInt32.self, source, start)
      default: copyElements(UInt64.self, source, start)
      }
    }
  }

  /// An odometer over all dimensions but the last.
  private func copyElements<Element: BitwiseCopyable>(
    _ type: Element.Type, _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer
  ) {
    let sizes = spec.shape.dimensions
    let outer = max(sizes.count - 1, 0)
    let (inner, step) = sizes.isEmpty ? (1, 0) : (sizes[outer], strides[outer] &* MemoryLayout<Element>.stride)
    var index = [Int](repeating: 0, count: outer)
    var row = source
    var target = target
    while true {
      var element = row
      for _ in 0..<inner {
        target.storeBytes(of: element.loadUnaligned(as: Element.self), as: Element.self)
        element += step
        target += MemoryLayout<Element>.stride
      }
      var dimension = outer - 1
      while dimension >= 0 {
        let stride = strides[dimension] * MemoryLayout<Element>.stride
        index[dimension] += 1
        row += stride
        if index[dimension] < sizes[dimension] { break }
        row -= stride * sizes[dimension]
        index[dimension] = 0
        dimension -= 1
      }
      if dimension < 0 { return }
    }
  }
}
