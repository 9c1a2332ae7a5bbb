import Foundation

/// A file written under a temporary name in its folder, which replaces its target when it is complete.
///
/// Dropped before `commit()` it leaves nothing behind.
package final class AtomicFile {
  package let path: String
  /// Bytes given to `write` so far.
  package private(set) var byteCount = 0
  private let temporaryPath: String
  private var descriptor: Int32
  private var buffer: [UInt8] = []
  private static let bufferSize = 1 << 18

  /// Throws when the folder does not exist or cannot be written to.
  package init(_ path: String) throws(FormatError) {
    let path = try AtomicFile.target(path)
    self.path = path
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    temporaryPath = folder + ".swiftlet-" + String(UInt64.random(in: 0 ... .max), radix: 36)
    descriptor = open(temporaryPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw AtomicFile.error(path, "create") }
    buffer.reserveCapacity(AtomicFile.bufferSize)
  }

  /// Where a path leads: a link is followed, so that it stays a link; what is there must be a regular file.
  private static func target(_ path: String) throws(FormatError) -> String {
    var status = stat()
    guard stat(path, &status) == 0 else { return path }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw FormatError(path: path, reason: "exists and is not a regular file")
    }
    guard let resolved = realpath(path, nil) else { throw error(path, "resolve") }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  deinit {
    guard descriptor >= 0 else { return }
    close(descriptor)
    unlink(temporaryPath)
  }

  package func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
    byteCount += bytes.count
    if buffer.count + bytes.count > AtomicFile.bufferSize { try flush() }
    if bytes.count > AtomicFile.bufferSize { try send(bytes) } else { buffer.append(contentsOf: bytes) }
  }

  package func write(_ bytes: [UInt8]) throws(FormatError) {
    try withBytes(of: bytes) { pointer throws(FormatError) in try write(pointer) }
  }

  /// Puts the file in its place. Throws, and leaves the target as it was, when that fails.
  package func commit() throws(FormatError) {
    try flush()
    let status = close(descriptor)
    descriptor = -1
    guard status == 0, rename(temporaryPath, path) == 0 else {
      let error = AtomicFile.error(path, "write")
      unlink(temporaryPath)
      throw error
    }
  }

  private func flush() throws(FormatError) {
    let pending = buffer
    try withBytes(of: pending) { pointer throws(FormatError) in try send(pointer) }
    buffer.removeAll(keepingCapacity: true)
  }

  private func send(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = Foundation.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw AtomicFile.error(path, "write") }
      rest = rest.dropFirst(count)
    }
  }

  private static func error(_ path: String, _ verb: String) -> FormatError {
    FormatError(path: path, reason: "cannot \(verb): \(String(cString: strerror(errno)))")
  }
}

/// `Array.withUnsafeBytes` with a typed error.
func withBytes<R>(
  of array: [UInt8], _ body: (UnsafeRawBufferPointer) throws(FormatError) -> R
) throws(FormatError) -> R {
  let result = array.withUnsafeBytes { pointer in
    Result { () throws(FormatError) in try body(pointer) }
  }
  return try result.get()
}
