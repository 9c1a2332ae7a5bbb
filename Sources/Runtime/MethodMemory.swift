import ProgramFormat
import TensorCore

#if canImport(Glibc)
  import Glibc
#endif

/// Bytes that a method owns, aligned to 64.
final class MethodBuffer {
  let base: UnsafeMutableRawPointer
  let byteCount: Int
  private let storage: Storage

  /// - Parameter filledByteCount: how many of them, at the beginning, are going to be written soon.
  init(byteCount: Int, filledByteCount: Int) {
    self.byteCount = max(64, byteCount)
    let isLarge = self.byteCount >= MethodBuffer.large
    storage =
      (isLarge ? Storage(reserving: self.byteCount, filledByteCount: filledByteCount) : nil)
      ?? Storage(byteCount: self.byteCount)
    base = storage.base
  }

  /// From here on there are huge pages to be had.
  private static let large = 2 << 20

  subscript(offset: Int, count: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: base + offset, count: count)
  }
}

/// A method's memory, laid out for a program at its present sizes. Buffers that are large enough serve other sizes too.
final class MethodMemory {
  let arena: MethodBuffer
  let scratch: MethodBuffer
  /// Where the tensors of the steps lie.
  let addresses: UnsafeMutablePointer<UnsafeMutableRawPointer>

  /// - Parameters:
  ///   - arenaCapacity: at least the program's `arenaByteCount`.
  ///   - other: memory of the same program at other sizes, whose buffers are taken where they are large enough.
  init(_ loaded: MethodLoader, of program: Program, arenaCapacity: Int, reusing other: MethodMemory?) {
    func buffer(_ known: MethodBuffer?, _ byteCount: Int, filled: Int) -> MethodBuffer {
      if let known, known.byteCount >= byteCount { return known }
      return MethodBuffer(byteCount: byteCount, filledByteCount: filled)
    }
    arena = buffer(other?.arena, arenaCapacity, filled: program.arenaByteCount)
    scratch = buffer(other?.scratch, loaded.scratchByteCount, filled: loaded.scratchByteCount)
    addresses = .allocate(capacity: max(1, loaded.slots.count))
    for (index, value) in loaded.slots.enumerated() {
      let address: UnsafeMutableRawPointer
      switch program.values[value].location {
      case .arena(let offset): address = arena.base + offset
      case .constant(let tensor):
        let tensor = loaded.constants[value] ?? tensor
        address = tensor.storage.base + tensor.byteOffset
      }
      (addresses + index).initialize(to: address)
    }
  }

  deinit { addresses.deallocate() }

  /// Nil where the machine does not say.
  private static var installed: Int? {
    let bytes = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
    return bytes > 0 ? bytes : nil
  }

  /// An allocation that fails ends the process, so what a file asks for is compared with the machine first.
  static func check(_ program: Program, _ scratchByteCount: Int) throws(ProgramError) {
    let needed = program.arenaByteCount.addingReportingOverflow(scratchByteCount)
    guard let installed, needed.overflow || needed.partialValue > installed else { return }
    throw ProgramError(
      program: program.name,
      reason: "needs \(program.arenaByteCount) bytes for activations and \(scratchByteCount) for scratch memory;"
        + " the machine has \(installed) bytes")
  }

  /// Whether so many bytes may be set aside before they are needed.
  static func isReasonable(_ byteCount: Int) -> Bool { installed.map { byteCount <= $0 / 2 } ?? true }
}
