import ProgramFormat
import XNNExecutor

#if canImport(Glibc)
  import Glibc
#endif

/// Threads that a method's delegates run on.
///
/// The delegate's own kernels use threads that nothing waits for while they are not running; a method that finds them
/// taken by another runs on its caller's thread. XNNPACK's float operators and convolutions use a pthreadpool, which
/// serializes its users. Both may be used from any thread, hence `@unchecked Sendable`.
public final class ThreadPool: @unchecked Sendable {
  let handle: OpaquePointer?
  /// The caller's thread included.
  public let threadCount: Int

  /// - Parameter threadCount: at least 1; 1 runs on the caller's thread.
  public init(threadCount: Int) throws(ProgramError) {
    self.threadCount = max(1, threadCount)
    var handle: OpaquePointer?
    let status = xnx_threads_create(self.threadCount, &handle)
    guard status == .XNX_OK else {
      throw ProgramError(program: "thread pool", reason: "\(self.threadCount) threads: \(status.explanation)")
    }
    self.handle = handle
  }

  deinit { xnx_threads_delete(handle) }

  /// Processors that share no core, among those this process may run on.
  public static let physicalCoreCount: Int = {
    let allowed = allowedProcessors()
    return max(1, Set(allowed.map { siblings(of: $0) ?? "cpu\($0)" }).count)
  }()

  /// The processors this process may run on, from `Cpus_allowed_list: 0-3,8` of the kernel's status file.
  private static func allowedProcessors() -> [Int] {
    guard let file = fopen("/proc/self/status", "r") else { return [] }
    defer { fclose(file) }
    let key = "Cpus_allowed_list:"
    while let line = readLine(file) {
      guard line.hasPrefix(key) else { continue }
      return line.dropFirst(key.count).split(separator: ",").flatMap { field -> [Int] in
        let ends = field.split(separator: "-").compactMap { Int($0.filter(\.isNumber)) }
        guard let first = ends.first, let last = ends.last, first <= last, last < 65_536 else { return [] }
        return Array(first...last)
      }
    }
    return []
  }

  /// The next line of a file of the kernel's, at most 4 kB of it.
  package static func readLine(_ file: UnsafeMutablePointer<FILE>) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    guard fgets(&buffer, Int32(buffer.count), file) != nil else { return nil }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// The list of processors on the same core, as the kernel writes it; nil where the kernel does not tell.
  private static func siblings(of cpu: Int) -> String? {
    guard let file = fopen("/sys/devices/system/cpu/cpu\(cpu)/topology/thread_siblings_list", "r") else { return nil }
    defer { fclose(file) }
    return readLine(file)
  }
}

extension xnx_status {
  var explanation: String {
    switch self {
    case .XNX_OK: "no error"
    case .XNX_OUT_OF_MEMORY: "out of memory"
    case .XNX_UNSUPPORTED: "XNNPACK does not support the operator with these parameters"
    case .XNX_INVALID_NODE: "the node contradicts its tensors"
    case .XNX_LIBRARY_UNAVAILABLE: "XNNPACK does not support this processor"
    }
  }
}
