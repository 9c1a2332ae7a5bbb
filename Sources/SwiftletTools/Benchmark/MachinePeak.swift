import Peak
import Processor
import Swiftlet

#if canImport(Glibc)
  import Glibc
#endif

/// What this processor can do at most, measured in this process on as many threads as asked for.
///
/// Arithmetic: the widest instructions of the set that the delegate's int8 kernels use (`vpdpbusd`; `vpmaddwd` and an
/// addition; or what the compiler makes of a loop) and fused multiply-adds of f32, on registers alone; the best of many
/// bursts of a fraction of a millisecond. Memory: reading a buffer of four times the last cache once, the fastest 4 MiB.
public struct MachinePeak: Codable, Sendable {
  /// Whose instructions: `avx512vnni`, `avx2` or `portable`.
  public var instructionSet: String
  /// Threads that measured.
  public var threads: Int
  /// Multiply-adds in a second, in units of 10⁹.
  public var int8: Double
  /// The same of f32.
  public var float: Double
  /// Bytes read in a second, in units of 10⁹.
  public var read: Double

  enum CodingKeys: String, CodingKey {
    case threads
    case instructionSet = "isa"
    case int8 = "int8_gmacs"
    case float = "f32_gmacs"
    case read = "read_gbs"
  }

  /// For each thread: a fraction of a millisecond, so that some of the repetitions are not interrupted.
  private static let iterations = 50_000
  private static let chunk = 4 << 20
  private static let (repetitions, duration) = (20, Duration.milliseconds(30))

  /// Measures, in about a fifth of a second.
  public init(threadCount: Int) {
    let pool = peak_threads_create(max(1, threadCount))
    defer { peak_threads_delete(pool) }
    threads = peak_threads_count(pool)
    instructionSet = String(cString: cpu_isa_name(peak_isa()))
    int8 = MachinePeak.arithmetic(.PEAK_INT8, pool)
    float = MachinePeak.arithmetic(.PEAK_FLOAT, pool)
    read = MachinePeak.memory(pool)
  }

  private static func arithmetic(_ kind: peak_kind, _ pool: OpaquePointer?) -> Double {
    let clock = ContinuousClock()
    let end = clock.now + duration
    var best = 0.0
    var repetition = 0
    while repetition < repetitions || clock.now < end {
      best = max(best, rate { peak_run(kind, nil, iterations, pool) })
      repetition += 1
    }
    return best
  }

  private static func memory(_ pool: OpaquePointer?) -> Double {
    let size = min(512 << 20, max(32 << 20, 4 * lastCacheByteCount()))
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    defer { buffer.deallocate() }
    // Pages that were never written are all one page of zeros.
    buffer.initializeMemory(as: UInt8.self, repeating: 1)
    return stride(from: 0, to: size / chunk * chunk, by: chunk).reduce(0) { best, offset in
      let part = UnsafeRawBufferPointer(rebasing: buffer[offset..<offset + chunk])
      return max(best, rate { peak_run(.PEAK_READ, part.baseAddress, part.count, pool) })
    }
  }

  /// Units of 10⁹ a second.
  private static func rate(_ work: () -> UInt64) -> Double {
    let clock = ContinuousClock()
    let start = clock.now
    let amount = work()
    return Double(amount) * 1e-9 / max((clock.now - start).seconds, 1e-9)
  }

  /// The largest cache that the kernel names; 32 MiB where it names none.
  private static func lastCacheByteCount() -> Int {
    let sizes = (0..<8).compactMap { index -> Int? in
      guard let file = fopen("/sys/devices/system/cpu/cpu0/cache/index\(index)/size", "r") else { return nil }
      defer { fclose(file) }
      guard let text = ThreadPool.readLine(file), let number = Int(text.prefix(while: \.isNumber)), number < 1 << 20
      else { return nil }
      return text.contains("M") ? number << 20 : number << 10
    }
    return sizes.max() ?? 32 << 20
  }
}
