import Foundation

/// A path below the repository's root.
public func repositoryPath(_ path: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent(path).path
}

/// A path below the data that lies beside a checkout, too large to ship; nil when it is absent.
public func sharedData(_ path: String) -> String? {
  let full = repositoryPath("../shared/data/" + path)
  return FileManager.default.fileExists(atPath: full) ? full : nil
}

/// A file below Tests/Golden/.
public func goldenPath(_ topic: String, _ file: String) -> String { repositoryPath("Tests/Golden/\(topic)/\(file)") }

/// A folder that goes with the last reference to it.
public final class TemporaryFolder: Sendable {
  private let url: URL

  public init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  /// A path inside; the folder itself for an empty name.
  public func path(_ name: String) -> String { name.isEmpty ? url.path : url.appendingPathComponent(name).path }
}
