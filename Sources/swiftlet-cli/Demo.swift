import ArgumentParser
import Foundation
import Swiftlet
import SwiftletTools

struct Demo: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The whole flow on a real model: quantize, save, load, lower, run, measure.",
    discussion: "Example: swiftlet demo --models models")

  struct Report: Codable {
    struct Variant: Codable {
      var model: String
      var evaluation: Evaluation
      /// Percent of photos on which the best class is the float model's.
      var agreementWithFloat: Double
      var fileBytes: Int
      var bench: BenchmarkReport
    }
    var float: Variant
    var int8: Variant
    var calibrationSamplesPerSecond: Double
    var resavedFileIsIdentical: Bool
  }

  @Option(help: ArgumentHelp("The folder that contains efficientnet-lite0/.", valueName: "folder"))
  var models = "models"

  @Option(help: "Timed inferences of each of the two models.")
  var runs = 30

  @OptionGroup var runtime: RuntimeOptions
  @OptionGroup var output: OutputOptions

  private var folder: String { models + "/efficientnet-lite0" }

  func validate() throws {
    guard (1...1_000_000).contains(runs) else { throw ValidationError("--runs must be from 1 to 1000000") }
  }

  func run() throws {
    try reportingErrors {
      let floatPath = folder + "/efficientnet_lite0.pt2"
      let workspace = FileManager.default.temporaryDirectory.appendingPathComponent(
        "swiftlet-demo-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: workspace, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(at: workspace) }
      let int8Path = workspace.appendingPathComponent("efficientnet_lite0_int8.pt2").path

      let program = try PT2Archive.read(floatPath)
      let (mapped, copied) = program.stateByteCounts
      say(
        "1. Read \(floatPath), \(Terminal.bytes(fileSize(floatPath))): \(Terminal.bytes(mapped)) of weights memory-mapped,"
          + " \(Terminal.bytes(copied)) stored in another order and copied.")
      let recipe = try findPreprocess(nil, model: floatPath, program)
      let rate = try quantizeModel(program, recipe, to: int8Path)
      let isIdentical = try resave(int8Path, workspace.appendingPathComponent("again.pt2").path)
      say(
        "3. Saved, \(Terminal.bytes(fileSize(int8Path))); loaded and saved again: \(isIdentical ? "identical bytes" : "the bytes DIFFER")."
      )

      let int8 = try load(PT2Archive.read(int8Path))
      say("4. Lowered. " + delegationReport(int8))
      let report = try measure(load(program), int8, recipe, floatPath, int8Path, rate, isIdentical)
      if output.json { return try Terminal.printJSON(report) }
      printTable(report)
      try printTop5(int8, recipe)
    }
  }

  private func say(_ text: String) {
    if output.json { Terminal.note(text) } else { print(text) }
  }

  private func load(_ program: ExportedProgram) throws -> Method {
    try Method(
      lower(program, partitioner: runtime.noDelegate ? nil : XNNPACKPartitioner()),
      threads: ThreadPool(threadCount: runtime.threads))
  }

  /// Returns calibration samples a second.
  private func quantizeModel(_ program: ExportedProgram, _ recipe: Preprocess, to path: String) throws -> Double {
    let photos = try openDataset(folder + "/calibration", role: .calibration, preprocess: recipe)
    let bar = ProgressBar("calibrating")
    let result = try quantize(
      program, photos, recipe: recipe, threads: runtime.threads, delegate: !runtime.noDelegate, progress: bar.update)
    try PT2Archive.write(result.program, to: path)
    let rate = Terminal.number(result.samplesPerSecond, 1)
    say("2. Prepared with XNNPACKQuantizer, calibrated on \(photos.count) photos (\(rate) a second), converted.")
    return result.samplesPerSecond
  }

  private func resave(_ path: String, _ again: String) throws -> Bool {
    try PT2Archive.write(PT2Archive.read(path), to: again)
    return try Data(contentsOf: URL(fileURLWithPath: path)) == Data(contentsOf: URL(fileURLWithPath: again))
  }

  private func measure(
    _ float: Method, _ int8: Method, _ recipe: Preprocess, _ floatPath: String, _ int8Path: String, _ rate: Double,
    _ isIdentical: Bool
  ) throws -> Report {
    let photos = try openDataset(folder + "/val", role: .evaluation, preprocess: recipe)
    func best(_ method: Method, _ title: String) throws -> (Evaluation, [Int]) {
      var classes: [Int] = []
      let bar = ProgressBar(title)
      let evaluation = try evaluate(method, on: photos, progress: bar.update) { _, logits in
        classes.append(topK(logits, 1)[0].index)
      }
      return (evaluation, classes)
    }
    let (floatResult, floatClasses) = try best(float, "float")
    let (int8Result, int8Classes) = try best(int8, "int8 ")
    let agreement = zip(floatClasses, int8Classes).count { $0 == $1 }
    return Self.Report(
      float: .init(
        model: floatPath, evaluation: floatResult, agreementWithFloat: 100, fileBytes: fileSize(floatPath),
        bench: try benchInOwnProcess(floatPath)),
      int8: .init(
        model: int8Path, evaluation: int8Result,
        agreementWithFloat: 100 * Double(agreement) / Double(max(1, photos.count)), fileBytes: fileSize(int8Path),
        bench: try benchInOwnProcess(int8Path)),
      calibrationSamplesPerSecond: rate, resavedFileIsIdentical: isIdentical)
  }

  /// A process of its own for each variant, so that load time and peak memory are the variant's alone.
  private func benchInOwnProcess(_ path: String) throws -> BenchmarkReport {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    process.arguments =
      ["bench", path, "--json", "--runs", "\(runs)", "--threads", "\(runtime.threads)"]
      + (runtime.noDelegate ? ["--no-delegate"] : [])
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw UsageError("bench of \(path) failed") }
    return try JSONDecoder().decode(BenchmarkReport.self, from: data)
  }

  private func printTable(_ report: Report) {
    print("5. Measured on \(report.float.evaluation.images) labelled photos, \(runtime.threads) threads:\n")
    let both = [report.float, report.int8]
    func row(_ title: String, _ cell: (Report.Variant) -> String) -> [String] { [title] + both.map(cell) }
    print(
      Terminal.table([
        ["", "float", "int8"],
        row("top-1", { Terminal.number($0.evaluation.top1 ?? .nan, 1) + " %" }),
        row("top-5", { Terminal.number($0.evaluation.top5 ?? .nan, 1) + " %" }),
        row("agreement with float", { Terminal.number($0.agreementWithFloat, 1) + " %" }),
        row("file size", { Terminal.bytes($0.fileBytes) }),
        row("load time", { Terminal.number($0.bench.load, 1) + " ms" }),
        row("p50 latency", { Terminal.number($0.bench.p50) + " ms" }),
        row("p90 latency", { Terminal.number($0.bench.p90) + " ms" }),
        row("peak memory", { Terminal.number($0.bench.peakMemory, 1) + " MB" }),
      ]))
  }

  private func printTop5(_ method: Method, _ recipe: Preprocess) throws {
    let photos = try ImageFolder(path: folder + "/val", classes: nil)
    let sample = photos.samples[0]
    let logits = try method.run([recipe.tensor(from: Image(contentsOf: sample.path))])[0].elements(as: Float.self)
    print("\n\(sample.path) (\(photos.classNames[sample.label] ?? "class \(sample.label)")), int8:")
    let probabilities = softmax(logits)
    for entry in topK(logits, 5) {
      let percent = Terminal.number(100 * Double(probabilities[entry.index]), 1)
      print("  \(percent) %  \(photos.classNames[entry.index] ?? "class \(entry.index)")")
    }
  }
}
