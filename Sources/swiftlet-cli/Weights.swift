import ArgumentParser
import Foundation
import Swiftlet
import SwiftletTools

struct Weights: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List a file's tensors, or convert them to safetensors or NumPy.",
    discussion: """
      Reads .pth and .pt (torch.save), .safetensors, .npz, .npy and .pt2, told apart by their content. Nothing in a file \
      is executed.

      Example: swiftlet weights model.pth -o model.safetensors
      """)

  struct Report: Codable {
    struct Entry: Codable {
      var name: String
      var dtype: String
      var shape: [Int]
      var bytes: Int
    }
    var file: String
    var format: StateDict.FileFormat
    var container: String?
    var tensors: [Entry]
    var bytes: Int
    var others: [StateDict.OtherValue]
    var metadata: [String: String]
    var output: String?
    var outputBytes: Int?
  }

  @Argument(help: "A file with tensors.")
  var model: String

  @Option(name: .shortAndLong, help: ArgumentHelp("The .safetensors or .npz to write.", valueName: "file"))
  var output: String?

  @Option(help: "Key of the state dict in a checkpoint (default: state_dict, model and similar ones).")
  var key: String?

  @Flag(help: "Convert float16, bfloat16 and float64 to float32.")
  var widen = false

  @Flag(help: "Check the checksums of all tensors.")
  var verify = false

  @OptionGroup(title: "Output") var format: OutputOptions

  func validate() throws {
    guard output.map({ $0.hasSuffix(".safetensors") || $0.hasSuffix(".npz") }) ?? true else {
      throw ValidationError("--output must end in .safetensors or .npz")
    }
  }

  func run() throws {
    try reportingErrors {
      if let output { try checkFolder(of: output) }
      var dict = try StateDict.read(model, key: key, verifyingChecksums: verify)
      if widen { for (name, tensor) in dict.entries { dict[name] = tensor.widened() } }
      if let output { try dict.write(to: output) }
      let report = Report(
        file: model, format: try StateDict.format(of: model), container: dict.container,
        tensors: dict.entries.map {
          .init(
            name: $0.name, dtype: $0.tensor.dataType.rawValue, shape: $0.tensor.shape.dimensions,
            bytes: $0.tensor.spec.byteCount)
        },
        bytes: dict.byteCount, others: dict.others, metadata: dict.metadata, output: output,
        outputBytes: output.map(fileSize))
      if format.json { return try Terminal.printJSON(report) }
      printTable(report)
    }
  }

  private func printTable(_ report: Report) {
    let rows = report.tensors.map { [$0.name, $0.dtype, "\($0.shape)", String($0.bytes)] }
    if !rows.isEmpty { print(Terminal.table([["tensor", "dtype", "shape", "bytes"]] + rows) + "\n") }
    let place = report.container.map { " under '\($0)'" } ?? ""
    print(
      "\(report.file): \(report.format.rawValue), \(report.tensors.count) tensors\(place), \(Terminal.bytes(report.bytes))"
    )
    for (key, value) in report.metadata.sorted(by: { $0.key < $1.key }) { print("  metadata  \(key): \(value)") }
    for other in report.others { print("  not a weight  \(other.name): \(other.text)") }
    if let output, let bytes = report.outputBytes { print("\(output): \(Terminal.bytes(bytes))") }
  }
}
