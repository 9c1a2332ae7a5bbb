import DelegateSchema
import ProgramFormat
import TensorCore
import XNNExecutor

/// One delegated node made ready: the library's operator with its packed weights. Used by one method only.
final class DelegateOperator {
  let handle: OpaquePointer
  /// The packed weights that it uses, which other operators may use too; nil where XNNPACK holds them.
  let packedWeights: Tensor?

  /// - Parameters:
  ///   - packed: the weights that were given to it.
  ///   - memory: where it was told to put those that it packs.
  init(_ handle: OpaquePointer, packed: Tensor?, memory: PackedMemory) {
    self.handle = handle
    var size = 0
    let address = xnx_operator_packed(handle, &size)
    if let address, let own = memory.take(address, size) {
      packedWeights = own
    } else if let owned = address == nil ? nil : xnx_operator_take_packed(handle) {
      packedWeights = Tensor(
        TensorSpec(.uint8, Shape([size])), storage: Storage(adopting: owned, byteCount: size), byteOffset: 0)
    } else {
      packedWeights = size > 0 ? packed : nil
    }
  }

  deinit { xnx_operator_delete(handle) }
}

/// One piece of memory for the packed weights of a method, which is filled from its beginning.
final class PackedMemory {
  private let program: Program
  private lazy var storage = PackedMemory.reserve(program)
  private var used = 0

  init(_ program: Program) { self.program = program }

  /// Room for the program's constants, and as much for what rounding and Winograd's transformation add to them, which
  /// makes of 9 f32 weights 16. Nothing for a small program, whose weights are as well off each by itself.
  private static func reserve(_ program: Program) -> Storage? {
    let (byteCount, packed) = program.values.reduce((0, 0)) { sums, value in
      guard case .constant(let tensor) = value.location, [.int8, .float32].contains(tensor.dataType) else {
        return sums
      }
      let size = tensor.spec.byteCount
      return (sums.0 + size, sums.1 + (tensor.dataType == .float32 ? size / 9 * 16 : size))
    }
    return byteCount >= 1 << 20 ? Storage(reserving: 2 * byteCount, filledByteCount: packed) : nil
  }

  var next: (address: UnsafeMutableRawPointer, byteCount: Int)? {
    storage.map { ($0.base + used, $0.byteCount - used) }
  }

  /// The weights that were put at `next`; nil where they are elsewhere.
  func take(_ address: UnsafeRawPointer, _ byteCount: Int) -> Tensor? {
    guard let storage, let next, address == UnsafeRawPointer(next.address), byteCount > 0 else { return nil }
    let tensor = Tensor(TensorSpec(.uint8, Shape([byteCount])), storage: storage, byteOffset: used)
    used = min(storage.byteCount, (used + byteCount + 63) / 64 * 64)
    return tensor
  }
}

/// Creates the operators of a program's delegates.
struct DelegateLoader {
  private let program: Program
  private let values: [ds_value]
  /// Keeps the scale arrays that `values` point to.
  private let scales: UnsafeMutableBufferPointer<Float>
  private let memory: PackedMemory
  private let threads: ThreadPool

  /// Describes the program's values to the executor.
  init(_ program: Program, _ threads: ThreadPool) {
    self.program = program
    self.threads = threads
    memory = PackedMemory(program)
    let counts = program.values.map { $0.spec.quantization?.scales.count ?? 0 }
    scales = .allocate(capacity: max(1, counts.reduce(0, +)))
    var next = 0
    var values: [ds_value] = []
    for (value, count) in zip(program.values, counts) {
      let start = scales.baseAddress! + next
      for (offset, scale) in (value.spec.quantization?.scales ?? []).enumerated() { start[offset] = scale }
      next += count
      values.append(DelegateLoader.describe(value, count > 0 ? UnsafePointer(start) : nil))
    }
    self.values = values
  }

  func deallocate() { scales.deallocate() }

  private static func describe(_ value: Program.Value, _ scale: UnsafePointer<Float>?) -> ds_value {
    var result = ds_value()
    let spec = value.spec
    switch spec.dataType {
    case .int8: result.type = DS_INT8.rawValue
    case .int32: result.type = DS_INT32.rawValue
    default: result.type = DS_FLOAT32.rawValue
    }
    // Sizes in the order N, H, W, C also where memory is NCHW: only transpositions read such a tensor as 4-D.
    var sizes = spec.shape.dimensions
    if sizes.count == 4, spec.dimOrder == .channelsLast || value.isActivation {
      sizes = [0, 2, 3, 1].map { sizes[$0] }
    }
    if sizes.count > 4 { sizes = [sizes.dropLast(3).reduce(1, *)] + sizes.suffix(3) }
    result.rank = UInt32(sizes.count)
    withUnsafeMutableBytes(of: &result.sizes) { slots in
      for (index, size) in sizes.enumerated() {
        slots.storeBytes(of: Int32(clamping: size), toByteOffset: 4 * index, as: Int32.self)
      }
    }
    if let quantization = spec.quantization {
      result.scale_count = UInt32(quantization.scales.count)
      result.zero_point = quantization.zeroPoint
      result.scale = scale
    }
    if case .constant(let tensor) = value.location {
      result.data = UnsafeRawPointer(tensor.storage.base + tensor.byteOffset)
    }
    return result
  }

  /// The delegate's nodes, read from its bytes. Throws if their number is wrong.
  func nodes(of delegate: Program.Delegate) throws(ProgramError) -> [ds_node] {
    let size = MemoryLayout<ds_node>.stride
    guard delegate.processed.count == delegate.nodeCount * size else {
      throw ProgramError(
        program: program.name, place: "delegate \(delegate.backend)",
        reason: "its \(delegate.processed.count) bytes do not hold \(delegate.nodeCount) nodes of \(size) bytes")
    }
    return delegate.processed.withUnsafeBytes { bytes in
      (0..<delegate.nodeCount).map { bytes.loadUnaligned(fromByteOffset: $0 * size, as: ds_node.self) }
    }
  }

  /// The operator of a node, or why the executor refuses it.
  func load(_ node: ds_node, kernels: MethodOptions.Kernels, packed: Tensor?) -> Result<DelegateOperator, Refusal> {
    var options = xnx_options()
    options.kernels = kernels.cValue
    options.threads = threads.handle
    if let next = memory.next { (options.memory, options.memory_size) = (next.address, next.byteCount) }
    if let packed {
      options.packed = UnsafeRawPointer(packed.storage.base + packed.byteOffset)
      options.packed_size = packed.spec.byteCount
    }
    var handle: OpaquePointer?
    let status = withUnsafePointer(to: node) { node in
      values.withUnsafeBufferPointer { values in
        withUnsafePointer(to: options) { xnx_operator_create(node, values.baseAddress, values.count, $0, &handle) }
      }
    }
    guard status == .XNX_OK, let handle else { return .failure(Refusal(reason: status.explanation)) }
    return .success(DelegateOperator(handle, packed: packed, memory: memory))
  }

  /// Gives an operator of the same program the sizes that its values have here. Returns whether it could.
  func resize(_ delegated: DelegateOperator, _ node: ds_node) -> Bool {
    withUnsafePointer(to: node) { node in
      values.withUnsafeBufferPointer { values in
        xnx_operator_resize(delegated.handle, node, values.baseAddress, values.count) == .XNX_OK
      }
    }
  }

  struct Refusal: Error { let reason: String }
}

extension Program.Value {
  var isActivation: Bool { if case .arena = location { true } else { false } }
}
