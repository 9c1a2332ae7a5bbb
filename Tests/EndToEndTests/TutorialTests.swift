import Foundation
import Swiftlet
import TestSupport
import Testing

extension EndToEnd {
  /// `Examples/ResNet18Tutorial` as a user runs it.
  struct TutorialTests {
    private func tutorial(_ arguments: [String]) throws -> String {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appendingPathComponent("ResNet18Tutorial")
      process.arguments = arguments
      let output = Pipe()
      process.standardOutput = output
      try process.run()
      let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      #expect(process.terminationStatus == 0, "\(text)")
      return text
    }

    /// The top-1 of a line `float: 44.79 MB, top-1 93.60 %, …`.
    private func top1(_ model: String, _ text: String) throws -> Double {
      let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(model) && $0.contains("top-1") })
      let fields = line.split(separator: " ")
      return try #require(fields.firstIndex(of: "top-1").flatMap { Double(fields[$0 + 1]) })
    }

    @Test(.enabled(if: !_isDebugAssertConfiguration(), "too slow without optimization"))
    func runsOnTheShippedPhotosWithoutWeights() throws {
      let text = try tutorial([
        "--data", repositoryPath("models/efficientnet-lite0"), "--images", "20", "--runs", "2",
      ])
      for step in 1...9 { #expect(text.contains("\n\(step). "), "\(text)") }
      #expect(text.contains("0 nodes stay in float"))
      #expect(text.contains("largest difference of a logit: 0.0\n"))
      let counts = try #require(text.firstMatch(of: /runs (\d+) of (\d+) nodes/))
      #expect(counts.1 == counts.2)
    }

    /// The accuracy that PyTorch measures with the same weights and photos.
    @Test(
      .enabled(if: !_isDebugAssertConfiguration(), "too slow without optimization"),
      .enabled(if: sharedData("models/resnet18_imagenette.pt2") != nil, "../shared/data is absent"))
    func accuracyIsPyTorchs() throws {
      let weights = try #require(sharedData("models/resnet18_imagenette.pt2"))
      let text = try tutorial([
        "--weights", weights, "--data", try #require(sharedData("imagenette-sample")), "--runs", "2",
      ])
      let reference = try JSONSerialization.jsonObject(
        with: Data(contentsOf: URL(fileURLWithPath: try #require(sharedData("reference.json")))))
      let float = try #require(
        ((reference as? [String: Any])?["resnet18_imagenette"] as? [String: Any])?["float (PyTorch)"])
      let expected = try #require((float as? [String: Any])?["top1"] as? Double)
      #expect(try top1("float", text) == expected)
      #expect(abs(try top1("int8", text) - expected) <= 0.5)
    }
  }
}
