import Synchronization

/// The samples that were skipped, in the order in which they were met first, each once: data that is gone through many
/// times is named once.
public final class SkippedSamples: Sendable {
  private let state = Mutex<(samples: [SkippedSample], names: Set<String>)>(([], []))

  /// Nothing was skipped yet.
  public init() {}

  /// The samples so far.
  public var samples: [SkippedSample] { state.withLock { $0.samples } }
  /// How many they are.
  public var count: Int { samples.count }

  func add(_ skipped: [SkippedSample]) {
    state.withLock { state in
      for sample in skipped where state.names.insert(sample.name).inserted { state.samples.append(sample) }
    }
  }
}

/// A sample that could not be read.
public struct SkippedSample: Codable, Hashable, Sendable {
  /// A file's path, or the sample's number.
  public var name: String
  /// Why it could not be read.
  public var reason: String

  /// A sample by its name.
  public init(name: String, reason: String) {
    self.name = name
    self.reason = reason
  }

  init(_ name: String, _ error: any Error) {
    let text = "\(error)"
    // Errors of files begin with the path.
    self.init(name: name, reason: text.hasPrefix(name + ": ") ? String(text.dropFirst(name.count + 2)) : text)
  }
}
