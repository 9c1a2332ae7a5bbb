import XNNExecutor

#if canImport(Glibc)
  import Glibc
#endif

/// What this processor can do at most, measured in this process on the threads of a pool.
///
/// Arithmetic: the widest instructions of the set that the delegate's int8 kernels use (`vpdpbusd`; `vpmaddwd` and an
/// addition; or what the compiler makes of a loop) and fused multiply-adds of f32, on registers alone. Memory: reading a
/// buffer of four times the last cache. Each is the best of a few repetitions of some milliseconds.
public struct MachinePeak: Codable, Sendable {
  /// Whose instructions: `avx512vnni`, `avx2` or `portable`.
  public var instructionSet: String
  public var threads: Int
  /// Multiply-adds in a second, in units of 10⁹.
  public var int8: Double
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

  private static let repetitions = 5
  private static let shortest = Duration.milliseconds(4)

  /// Measures, in about a tenth of a second.
  public init(threads: ThreadPool) {
    self.threads = threads.threadCount
    instructionSet = String(cString: xnx_kernel_isa())
    int8 = MachinePeak.arithmetic(.XNX_PEAK_INT8, threads)
    float = MachinePeak.arithmetic(.XNX_PEAK_FLOAT, threads)
    let size = min(512 << 20, max(32 << 20, 4 * MachinePeak.lastCacheByteCount()))
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    defer { buffer.deallocate() }
    // Pages that were never written are all one page of zeros.
    buffer.initializeMemory(as: UInt8.self, repeating: 1)
    var best = 0.0
    for _ in 0..<MachinePeak.repetitions {
      best = max(best, MachinePeak.rate { xnx_peak_run(.XNX_PEAK_READ, buffer.baseAddress, size, threads.handle) }.rate)
    }
    read = best
  }

  private static func arithmetic(_ kind: xnx_peak, _ threads: ThreadPool) -> Double {
    var iterations = 1000
    var best = 0.0
    var repetition = 0
    while repetition < repetitions {
      let (rate, time) = rate { xnx_peak_run(kind, nil, iterations, threads.handle) }
      if time < shortest, iterations < 1 << 30 {
        iterations *= 2
      } else {
        best = max(best, rate)
        repetition += 1
      }
    }
    return best
  }

  /// Units of 10⁹ a second.
  private static func rate(_ work: () -> UInt64) -> (rate: Double, time: Duration) {
    let clock = ContinuousClock()
    let start = clock.now
    let amount = work()
    let time = clock.now - start
    return (Double(amount) * 1e-9 / max(time.seconds, 1e-9), time)
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
