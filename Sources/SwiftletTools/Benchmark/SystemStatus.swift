import Foundation
import Swiftlet

#if canImport(Glibc)
  import Glibc
#endif

/// The process's largest resident memory so far, in MiB (the kernel's `VmHWM`; `getrusage` would count the parent too).
package func peakResidentMegabytes() -> Double { memoryStatus("VmHWM") }

/// A figure of the kernel's status file, in MiB.
func memoryStatus(_ key: String) -> Double {
  guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
    let line = status.split(separator: "\n").first(where: { $0.hasPrefix(key + ":") }),
    let kilobytes = Double(line.filter(\.isNumber))
  else { return .nan }
  return kilobytes / 1024
}

/// Lets `peakResidentMegabytes` begin again at what is resident now, where the kernel allows it (proc(5), `clear_refs`).
func resetPeakResidentMemory() {
  guard let file = fopen("/proc/self/clear_refs", "w") else { return }
  fputs("5", file)
  fclose(file)
}

/// The system's one-minute load average for each processor; nil where it has none.
package func loadAverage() -> Double? {
  var average = 0.0
  let processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
  return getloadavg(&average, 1) == 1 && processors > 0 ? average / Double(processors) : nil
}
