import ArgumentParser
import Foundation
import Swiftlet

@main
struct SwiftletCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swiftlet",
    abstract: "Quantize a PyTorch model to int8, lower it to XNNPACK, run and measure it.",
    discussion: """
      Results go to stdout, progress to stderr. Exit status 0, 1 (failed) or 64 (usage).

      Example: swiftlet quantize model.pt2 -o model_int8.pt2 --calibrate photos
      """,
    version: "0.1.0",
    subcommands: [
      Demo.self, Export.self, Inspect.self, Quantize.self, Compare.self, Lower.self, Run.self, Eval.self, Bench.self,
      Weights.self,
    ])
}

/// Options that every command which runs a model takes.
struct RuntimeOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Threads that delegated operators run on (default: physical cores).", valueName: "n"))
  var threads: Int = ThreadPool.physicalCoreCount

  @Flag(help: "Run everything on the portable interpreter, calibration included.")
  var noDelegate = false

  @Option(help: "Whose kernels run convolutions: auto, xnnpack or native (default: auto).")
  var kernels: MethodOptions.Kernels = .auto

  @Option(help: ArgumentHelp("Keep packed weights in this folder, and take them from there.", valueName: "folder"))
  var weightsCache: String?

  /// Lowers and loads a program as these options say.
  func load(_ program: ExportedProgram, from path: String) throws -> Method {
    try loadMethod(
      program, from: path, delegate: !noDelegate, threads: threads, kernels: kernels,
      cache: weightsCache.map(WeightsCache.init(folder:)))
  }

  func validate() throws { try RuntimeOptions.check(threads: threads) }

  static func check(threads: Int) throws {
    guard (1...1024).contains(threads) else { throw ValidationError("--threads must be from 1 to 1024") }
    if threads > ThreadPool.physicalCoreCount {
      Terminal.note(
        "note: \(threads) threads share \(ThreadPool.physicalCoreCount) cores; waiting threads spin, which can be far slower"
      )
    }
  }
}

extension MethodOptions.Kernels: ExpressibleByArgument {}

struct OutputOptions: ParsableArguments {
  @Flag(help: "Print the result as JSON.")
  var json = false
}

/// Images need a recipe almost always; says so when there is none.
func noteMissingRecipe(_ recipe: Preprocess, for input: String) {
  guard recipe == Preprocess(), !input.hasSuffix(".npz"), !input.hasSuffix(".npy") else { return }
  Terminal.note("note: no preprocessing found, images are taken as they are; see --preprocess")
}

/// Fails before long work when a file could not be written in the end.
func checkFolder(of path: String) throws {
  let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
  var isFolder: ObjCBool = false
  guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
    throw UsageError("\(path): there is no folder \(folder)")
  }
}

/// Runs a command's body; an error becomes one line on stderr and exit status 1.
func reportingErrors(_ body: () throws -> Void) throws {
  do { try body() } catch let error as ExitCode { throw error } catch let error as ValidationError { throw error } catch
  {
    Terminal.note("swiftlet: error: \(error)")
    throw ExitCode.failure
  }
}
