/// An immutable dense tensor: a spec and a window on shared storage. Copying it copies no data.
///
/// The elements lie in the spec's dim order without gaps, little-endian.
public struct Tensor: Sendable {
  /// Type, shape, memory order and quantization parameters.
  public let spec: TensorSpec
  package let storage: Storage
  /// Where the first element lies in `storage`. Not necessarily aligned to the element size when the storage is a file.
  package let byteOffset: Int

  /// The sizes, in the logical order.
  public var shape: Shape { spec.shape }
  /// The element type.
  public var dataType: DataType { spec.dataType }

  /// A window on existing storage.
  /// - Precondition: it lies inside the storage; readers of files check before.
  package init(_ spec: TensorSpec, storage: Storage, byteOffset: Int) {
    precondition(byteOffset >= 0 && byteOffset <= storage.byteCount - spec.byteCount)
    self.spec = spec
    self.storage = storage
    self.byteOffset = byteOffset
  }

  /// Allocates a tensor and lets `body` write all of its bytes.
  public init<E: Error>(
    unsafeUninitialized spec: TensorSpec, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Void
  ) throws(E) {
    let storage = Storage(byteCount: spec.byteCount)
    try body(UnsafeMutableRawBufferPointer(start: storage.base, count: spec.byteCount))
    self.init(spec, storage: storage, byteOffset: 0)
  }

  /// - Precondition: `elements.count` is the shape's element count.
  public init<Element: TensorElement>(_ elements: [Element], shape: Shape, dimOrder: DimOrder = .contiguous) {
    precondition(elements.count == shape.elementCount)
    self.init(unsafeUninitialized: TensorSpec(Element.dataType, shape, dimOrder: dimOrder)) { bytes in
      elements.withUnsafeBytes { bytes.copyMemory(from: $0) }
    }
  }

  /// A tensor of zeros.
  public init(zeros spec: TensorSpec) {
    self.init(unsafeUninitialized: spec) { _ = $0.initializeMemory(as: UInt8.self, repeating: 0) }
  }

  /// The same data under another spec of equal size (a view, or a spec that adds quantization parameters).
  public func reinterpreted(as spec: TensorSpec) -> Tensor {
    precondition(spec.byteCount == self.spec.byteCount)
    return Tensor(spec, storage: storage, byteOffset: byteOffset)
  }

  /// The tensor's bytes; the storage stays alive during `body`.
  public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    let result = try body(UnsafeRawBufferPointer(start: storage.base + byteOffset, count: spec.byteCount))
    withExtendedLifetime(storage) {}
    return result
  }

  /// The elements, copied out in memory order.
  /// - Precondition: `Element` is the tensor's element type.
  public func elements<Element: TensorElement>(as type: Element.Type = Element.self) -> [Element] {
    precondition(Element.dataType == dataType, "tensor of \(dataType) read as \(Element.dataType)")
    return [Element](unsafeUninitializedCapacity: shape.elementCount) { buffer, count in
      withUnsafeBytes { UnsafeMutableRawBufferPointer(buffer).copyMemory(from: $0) }
      count = shape.elementCount
    }
  }

  /// The same tensor at an address aligned to 64 bytes: itself, or a copy.
  package func aligned() -> Tensor {
    if (UInt(bitPattern: storage.base) + UInt(byteOffset)) % 64 == 0 { return self }
    return Tensor(unsafeUninitialized: spec) { target in withUnsafeBytes { target.copyMemory(from: $0) } }
  }
}
