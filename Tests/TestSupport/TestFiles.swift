import Foundation

/// The repository's folder, two above this file's.
private let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()

/// A file of the repository, by its path from the root.
public func repositoryPath(_ path: String) -> String { repository.appendingPathComponent(path).path }

/// A file of `Tests/Golden/TOPIC/`.
public func goldenPath(_ topic: String, _ file: String) -> String { repositoryPath("Tests/Golden/\(topic)/\(file)") }

/// Data that is too large for the repository, in `shared/data` beside it; nil where it is absent.
public func sharedData(_ path: String) -> String? {
  let full = repository.deletingLastPathComponent().appendingPathComponent("shared/data").appendingPathComponent(path)
  return FileManager.default.fileExists(atPath: full.path) ? full.path : nil
}

/// An empty folder that disappears with this object.
public final class TemporaryFolder: Sendable {
  private let url: URL

  public init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  /// A path inside the folder; the folder itself for an empty name.
  public func path(_ name: String) -> String { name.isEmpty ? url.path : url.appendingPathComponent(name).path }
}

/// Repeatable random numbers (SplitMix64).
public struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
