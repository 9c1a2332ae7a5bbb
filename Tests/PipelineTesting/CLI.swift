import Foundation
import Swiftlet
import TestSupport

/// The executable as users run it.
package enum CLI {
  package struct Result {
    package let status: Int32
    package let output: String
    package let errors: String
  }

  /// The executable lies beside the test bundle.
  ///
  /// - Parameter environment: is added to this process's.
  package static func swiftlet(_ arguments: [String], environment: [String: String] = [:]) throws -> Result {
    let process = Process()
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
      .appendingPathComponent("swiftlet")
    process.arguments = arguments
    let (output, errors) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    // Neither stream of these commands exceeds a pipe's buffer, so they can be read one after the other.
    let text = output.fileHandleForReading.readDataToEndOfFile()
    let notes = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Result(
      status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
      errors: String(decoding: notes, as: UTF8.self))
  }

  /// A calibration file of noise for ResNet-8, with labels, in a folder of its own.
  package static func noise(_ folder: TemporaryFolder) throws -> String {
    let noise = NoiseDataset(shape: [8, 3, 32, 32], count: 1, scale: 255).input(0)
    let labels = Tensor((0..<8).map { Int64($0) }, shape: [8])
    try NumPyArchive.write(
      [("calibration", noise), ("val", noise), ("labels", labels)], to: folder.path("noise.npz"))
    return folder.path("noise.npz")
  }
}
