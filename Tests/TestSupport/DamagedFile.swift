import Foundation
import Synchronization
import TensorCore
import TorchFormats

/// A file that is damaged in many ways, to see that its reader gives an error or a valid result each time: no trap, no
/// hang, no memory out of proportion.
///
/// Run it in a process of its own (`#expect(processExitsWith:)`): memory is the process's, and a trap ends it. The
/// damaged file is then left in /dev/shm, or else in the temporary folder, in `swiftlet-damaged-PROCESS-NAME`.
public struct DamagedFile: Sendable {
  let name: String
  let content: [UInt8]
  let write: @Sendable ([UInt8], String) throws -> Void
  /// The path that the damaged file is read from.
  let path: String

  /// A whole file is damaged.
  public init(_ path: String) throws {
    name = URL(fileURLWithPath: path).lastPathComponent
    content = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    write = { bytes, path in try Data(bytes).write(to: URL(fileURLWithPath: path)) }
    self.path = try DamagedFile.damagedPath(name)
  }

  /// One entry of a zip archive is damaged and given a new checksum, so that the damage reaches the code behind it.
  public init(_ path: String, entry suffix: String) throws {
    let archive = try ZipArchive(path: path)
    let entries = try archive.entries.map { ($0.name, try archive.bytes(of: $0)) }
    guard let entry = entries.first(where: { $0.0.hasSuffix(suffix) }) else {
      throw FormatError(path: path, reason: "has no entry \(suffix)")
    }
    name = URL(fileURLWithPath: path).lastPathComponent + "-" + suffix.split(separator: "/").joined(separator: "-")
    content = entry.1
    write = { damaged, path in
      var writer = try ZipWriter(path: path)
      for (name, bytes) in entries { try writer.add(name, name == entry.0 ? damaged : bytes) }
      try writer.finish()
    }
    self.path = try DamagedFile.damagedPath(name)
  }

  private static func damagedPath(_ name: String) throws -> String {
    // In memory where that is possible: a disk's file system makes sure of each file that is replaced.
    let memory = URL(fileURLWithPath: "/dev/shm")
    let parent =
      FileManager.default.isWritableFile(atPath: memory.path) ? memory : FileManager.default.temporaryDirectory
    let folder = parent.appendingPathComponent(
      "swiftlet-damaged-\(ProcessInfo.processInfo.processIdentifier)-\(name)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder.appendingPathComponent(name).path
  }

  /// Seconds of processor time that one reading may take, so that a busy machine fails nothing.
  public static let timeLimit = 2.0
  /// Seconds that one reading may wait, for a hang that computes nothing.
  static let waitingLimit = 60.0
  /// Bytes beyond the file's size that the readings may take.
  public static let memoryLimit = 64 << 20

  /// Reads every damaged variant of the files, and the intact ones. `flips` single bytes are changed in all files
  /// together. Gives what went wrong: a reading of an intact file that throws, one that takes too long (then nothing
  /// more is read), or too much memory.
  public static func problems(
    _ files: [DamagedFile], flips: Int = 10_000, seed: UInt64 = 1, read: @escaping @Sendable (String) throws -> Void
  ) throws -> [String] {
    var generator = SeededGenerator(seed: seed)
    var problems: [String] = []
    for file in files {
      let damages = file.damages(flips: (flips + files.count - 1) / files.count, &generator)
      let found = try file.run(damages, read)
      problems += found.problems.map { "\(file.name): \($0)" }
      if found.hangs { return problems }
      try? FileManager.default.removeItem(at: URL(fileURLWithPath: file.path).deletingLastPathComponent())
    }
    return problems
  }

  // MARK: Damages

  private enum Damage: Sendable {
    case truncated(Int)
    case flipped(Int, UInt8)
    case field(Int, width: Int, UInt64)

    func apply(to bytes: [UInt8]) -> [UInt8] {
      switch self {
      case .truncated(let count): return Array(bytes[..<count])
      case .flipped(let offset, let mask):
        var bytes = bytes
        bytes[offset] ^= mask
        return bytes
      case .field(let offset, let width, let value):
        var bytes = bytes
        for i in 0..<width { bytes[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(i))) }
        return bytes
      }
    }
  }

  /// Values that lengths and offsets are set to, cut to the field's width: 0, 1, -1, the largest signed number, half of it.
  private static func extremes(width: Int) -> [UInt64] {
    let largest: UInt64 = width == 8 ? UInt64(Int64.max) : UInt64(Int32.max)
    return [0, 1, .max, largest, largest / 2]
  }

  /// At most so many fields are set to each extreme.
  private static let fieldLimit = 200

  private func damages(flips: Int, _ generator: inout SeededGenerator) -> [Damage] {
    var damages = stride(from: 0, to: content.count, by: 997).map { Damage.truncated($0) }
    damages += stride(from: 0, to: min(content.count, 20_000), by: 61).map { .truncated($0) }
    for index in 0..<flips {
      // Half of them near either end, where a byte does the most.
      var range = 0..<content.count
      if index % 4 == 0 { range = 0..<min(512, content.count) }
      if index % 4 == 1 { range = max(0, content.count - 1024)..<content.count }
      damages.append(.flipped(Int.random(in: range, using: &generator), UInt8.random(in: 1...255, using: &generator)))
    }
    for width in [4, 8] {
      let offsets = fields(width: width)
      let step = max(1, offsets.count / DamagedFile.fieldLimit)
      for offset in stride(from: 0, to: offsets.count, by: step).map({ offsets[$0] }) {
        damages += DamagedFile.extremes(width: width).map { .field(offset, width: width, $0) }
      }
    }
    return damages
  }

  /// Where a little-endian number lies that could be a length or an offset in the file. Aligned or not.
  private func fields(width: Int) -> [Int] {
    guard content.count >= width else { return [] }
    return (0...content.count - width).filter { offset in
      let value = content[offset..<offset + width].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      return value > 0 && value <= UInt64(content.count)
    }
  }

  // MARK: Running

  /// What the reading thread is at.
  private final class Progress: Sendable {
    struct State {
      var damage = "intact"
      var started = Date()
      var processorTime = DamagedFile.processorTime()
      var isDone = false
      var isAbandoned = false
      var problems: [String] = []
    }
    let state = Mutex(State())

    /// False once nobody waits any more.
    func begin(_ damage: String) -> Bool {
      state.withLock {
        $0.damage = damage
        $0.started = Date()
        $0.processorTime = DamagedFile.processorTime()
        return !$0.isAbandoned
      }
    }
  }

  private func run(
    _ damages: [Damage], _ read: @escaping @Sendable (String) throws -> Void
  ) throws -> (problems: [String], hangs: Bool) {
    let progress = Progress()
    let thread = Thread { [self] in
      do {
        try write(content, path)
        try read(path)
      } catch {
        progress.state.withLock { $0.problems.append("intact: \(error)") }
      }
      let before = DamagedFile.peakMemory()
      for damage in damages {
        guard progress.begin("\(damage)") else { return }
        do {
          try write(damage.apply(to: content), path)
          try read(path)
        } catch {}
      }
      let growth = DamagedFile.peakMemory() - before
      progress.state.withLock {
        if growth > content.count + DamagedFile.memoryLimit { $0.problems.append("takes \(growth) bytes of memory") }
        $0.isDone = true
      }
    }
    thread.stackSize = 1 << 20
    thread.start()
    while true {
      Thread.sleep(forTimeInterval: 0.005)
      let state = progress.state.withLock { state in
        let isSlow =
          DamagedFile.processorTime() - state.processorTime > DamagedFile.timeLimit
          || Date().timeIntervalSince(state.started) > DamagedFile.waitingLimit
        state.isAbandoned = !state.isDone && isSlow
        return state
      }
      if state.isDone { return (state.problems, false) }
      if state.isAbandoned {
        return (state.problems + ["takes more than \(DamagedFile.timeLimit) s: \(state.damage)"], true)
      }
    }
  }

  /// Seconds that all threads of this process have computed.
  private static func processorTime() -> Double { Double(clock()) / Double(CLOCKS_PER_SEC) }

  /// The most address space that this process has taken, bytes: also what was allocated and never touched.
  private static func peakMemory() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmPeak:") } ?? ""
    return 1024 * (Int(line.filter(\.isNumber)) ?? 0)
  }
}

/// Reads every byte of tensors, as a later use would.
public func touch(_ tensors: some Sequence<Tensor>) {
  var sum: UInt8 = 0
  for tensor in tensors {
    precondition(tensor.byteOffset >= 0 && tensor.byteOffset + tensor.spec.byteCount <= tensor.storage.byteCount)
    tensor.withUnsafeBytes { bytes in for byte in bytes { sum &+= byte } }
  }
  withExtendedLifetime(sum) {}
}
