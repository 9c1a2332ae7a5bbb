#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Bytes that tensors share: allocated by us, or a whole file mapped read-only.
///
/// Written only while the tensor that owns it is being built (`Tensor.init(unsafeUninitialized:)`), read-only after that;
/// hence `@unchecked Sendable`.
package final class Storage: @unchecked Sendable {
  /// 64-byte aligned when allocated. Readable for `byteCount` + `padding` bytes.
  package let base: UnsafeMutableRawPointer
  package let byteCount: Int
  /// Whether the bytes are a file's, mapped, and not a copy.
  package let isMapped: Bool
  /// What is to be unmapped in the end; nil where memory is C's allocator's.
  private let mapping: UnsafeMutableRawBufferPointer?

  /// Readable bytes that follow the data, for vector loads past the end (XNN_EXTRA_BYTES is 16).
  package static let padding = 64

  package init(byteCount: Int) {
    self.base = .allocate(byteCount: byteCount + Storage.padding, alignment: 64)
    self.byteCount = byteCount
    self.isMapped = false
    self.mapping = nil
    (base + byteCount).initializeMemory(as: UInt8.self, repeating: 0, count: Storage.padding)
  }

  /// Becomes the owner of memory that C's allocator gave, readable for `byteCount` + `padding` bytes.
  package init(adopting base: UnsafeMutableRawPointer, byteCount: Int) {
    self.base = base
    self.byteCount = byteCount
    self.isMapped = false
    self.mapping = nil
  }

  /// Reserves addresses for zeros, which take memory where they are written to. Whole huge pages of the first
  /// `filledByteCount` bytes, which are going to be written, come from the system at once: a fault for each small page
  /// costs more than writing it. Nil where there are no addresses.
  package init?(reserving byteCount: Int, filledByteCount: Int) {
    let size = byteCount + Storage.padding + Storage.hugePage
    guard byteCount >= 0, let raw = mmap(nil, size, PROT_READ | PROT_WRITE, Storage.reserved, -1, 0), raw != MAP_FAILED
    else { return nil }
    let start = UInt(bitPattern: raw)
    let aligned = (start + UInt(Storage.hugePage) - 1) / UInt(Storage.hugePage) * UInt(Storage.hugePage)
    self.base = raw + Int(aligned - start)
    self.byteCount = byteCount
    self.isMapped = false
    self.mapping = UnsafeMutableRawBufferPointer(start: raw, count: size)
    let huge = min(filledByteCount, byteCount) / Storage.hugePage * Storage.hugePage
    if huge > 0 { madvise(base, huge, MADV_HUGEPAGE) }
  }

  private static let hugePage = 2 << 20
  private static let reserved = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE

  /// Maps a file read-only. Throws a `FileError` that names the path if it cannot be opened or mapped.
  package init(mapping path: String) throws(FileError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError(path: path, errno: errno, doing: "open") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileError(path: path, errno: errno, doing: "read") }
    guard status.st_mode & S_IFMT == S_IFREG else { throw FileError(path: path, reason: "is not a regular file") }
    guard status.st_size > 0 else { throw FileError(path: path, reason: "is empty") }
    let size = Int(status.st_size)
    guard let address = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED else {
      throw FileError(path: path, errno: errno, doing: "map")
    }
    self.base = address
    self.byteCount = size
    self.isMapped = true
    self.mapping = UnsafeMutableRawBufferPointer(start: address, count: size)
  }

  deinit {
    if let mapping { munmap(mapping.baseAddress, mapping.count) } else { base.deallocate() }
  }

  /// Tells the system that a range of a mapped file is not needed for now, so that it takes no memory: whole pages inside
  /// it are read from the file again when someone looks at them. Nothing happens to other storage.
  package func releasePages(_ range: Range<Int>) {
    guard isMapped, range.lowerBound >= 0, range.upperBound <= byteCount else { return }
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let first = (range.lowerBound + page - 1) / page * page
    let last = range.upperBound / page * page
    if first < last { madvise(base + first, last - first, MADV_DONTNEED) }
  }

  package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: byteCount) }
}

/// A file that cannot be read or written.
public struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The file.
  public let path: String
  /// What is wrong with it.
  public let reason: String

  package init(path: String, reason: String) {
    self.path = path
    self.reason = reason
  }

  init(path: String, errno code: Int32, doing verb: String) {
    self.init(path: path, reason: "cannot \(verb): \(String(cString: strerror(code)))")
  }

  public var description: String { "\(path): \(reason)" }
}
