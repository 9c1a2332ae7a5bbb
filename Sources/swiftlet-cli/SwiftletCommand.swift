import ArgumentParser
import Foundation
import Swiftlet

@main
struct SwiftletCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swiftlet",
    abstract: "Quantize a PyTorch model to int8, lower it to XNNPACK, run and measure it.",
    discussion: """
      Results go to stdout, progress and errors to stderr. The exit status is 0 for success, 1 for failure, and 64 for \
      wrong usage.

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
  @Option(
    name: .customLong("threads"),
    help: ArgumentHelp("Number of threads (default: one for each physical core).", valueName: "n"))
  var threadCount: Int?

  var threads: Int { threadCount ?? ThreadPool.physicalCoreCount }

  @Flag(help: "Run everything on portable kernels, without XNNPACK; calibration too.")
  var noDelegate = false

  @Option(help: "Whose kernels run convolutions and linear layers.")
  var kernels: MethodOptions.Kernels = .auto

  @Option(
    help: ArgumentHelp(
      "Keep packed weights in this folder, so that the model loads faster the next time.", valueName: "folder"))
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
        "note: \(threads) threads on \(ThreadPool.physicalCoreCount) cores can be far slower, since waiting threads spin"
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
  Terminal.note("note: the model has no preprocessing; images are used as they are (--preprocess gives one)")
}

/// Fails before long work when a file could not be written in the end.
func checkFolder(of path: String) throws {
  let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
  var isFolder: ObjCBool = false
  guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
    throw UsageError("\(path): cannot be written: there is no folder \(folder)")
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
