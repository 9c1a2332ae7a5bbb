import ArgumentParser
import Swiftlet

/// How the commands that go through many samples read them.
struct LoadingOptions: ParsableArguments {
  @Flag(help: "Skip images that cannot be read and list them, instead of failing at the first.")
  var skipCorrupt = false

  @Option(
    help: ArgumentHelp(
      "Threads that decode images ahead, 0 for none (default: as many as cores are left by --threads).", valueName: "n")
  )
  var workers: Int?

  func validate() throws {
    guard workers.map({ (0...256).contains($0) }) ?? true else {
      throw ValidationError("--workers must be from 0 to 256")
    }
  }

  var options: DataLoader.Options {
    DataLoader.Options(workerCount: workers, onError: skipCorrupt ? .skip(SkippedSamples()) : .fail)
  }

  static func printSkipped(_ skipped: [SkippedSample]) {
    guard !skipped.isEmpty else { return }
    print("skipped \(skipped.count) sample\(skipped.count == 1 ? "" : "s") that cannot be read:")
    for sample in skipped { print("  \(sample.name): \(sample.reason)") }
  }
}
