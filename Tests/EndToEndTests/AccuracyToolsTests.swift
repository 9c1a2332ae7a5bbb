import Foundation
import PipelineTesting
import Swiftlet
import SwiftletTools
import TestSupport
import Testing

extension EndToEnd {
  /// `compare`, and the options of `quantize` that raise accuracy, as users run them.
  struct AccuracyToolsTests {
    private static func decode<T: Decodable>(_ type: T.Type, _ text: String) throws -> T {
      let decoder = JSONDecoder()
      decoder.nonConformingFloatDecodingStrategy = .convertFromString(
        positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
      return try decoder.decode(type, from: Data(text.utf8))
    }

    @Test func compareShowsTheWorstLayersAndWritesAPage() throws {
      let folder = try TemporaryFolder()
      let (data, int8, page) = (try CLI.noise(folder), folder.path("int8.pt2"), folder.path("report.html"))
      #expect(try CLI.swiftlet(["quantize", ResNet8.path, "-o", int8, "--calibrate", data]).status == 0)
      let arguments = ["compare", ResNet8.path, int8, "--data", data, "--limit", "2", "--threads", "1"]
      let table = try CLI.swiftlet(arguments + ["--html", page, "--top", "3"])
      #expect(table.status == 0, "\(table.errors)")
      #expect(table.output.contains("18 layers over 2 samples, lowest isolated SQNR (dB) first"))
      #expect(table.output.contains("… and 15 more") && table.output.contains("conv2d + relu"))
      let html = try String(contentsOfFile: page, encoding: .utf8)
      #expect(html.hasPrefix("<!DOCTYPE html>") && html.contains("<svg") && !html.contains("<script"))

      let json = try CLI.swiftlet(arguments + ["--json"])
      let comparison = try Self.decode(ModelComparison.self, json.output)
      #expect(comparison.layers.count == 18 && comparison.unmatched.isEmpty && comparison.samples == 2)
      #expect(comparison.layers.allSatisfy { $0.isQuantized && $0.isolated != nil && $0.cumulative.sqnr > 5 })
      let portable = try Self.decode(
        ModelComparison.self, CLI.swiftlet(arguments + ["--json", "--no-delegate"]).output)
      // int8 is the same on both; float differs in the order of summation.
      for (a, b) in zip(comparison.layers, portable.layers) {
        #expect(abs(a.cumulative.sqnr - b.cumulative.sqnr) < 0.5, "\(a.name)")
      }
    }

    @Test func compareOfAFileWithItselfHasNoError() throws {
      let folder = try TemporaryFolder()
      let result = try CLI.swiftlet(
        ["compare", ResNet8.path, ResNet8.path, "--data", CLI.noise(folder), "--limit", "1", "--json"])
      let comparison = try Self.decode(ModelComparison.self, result.output)
      #expect(!comparison.layers.isEmpty)
      #expect(comparison.layers.allSatisfy { $0.cumulative.sqnr == .infinity && $0.isolated?.sqnr == .infinity })
    }

    @Test func compareRefusesWhatItCannotCompare() throws {
      let folder = try TemporaryFolder()
      let (data, int8) = (try CLI.noise(folder), folder.path("int8.pt2"))
      #expect(try CLI.swiftlet(["quantize", ResNet8.path, "-o", int8, "--calibrate", data]).status == 0)
      let swapped = try CLI.swiftlet(["compare", int8, ResNet8.path, "--data", data])
      #expect(swapped.status == 1 && swapped.errors.contains("does not belong into a float graph"))
      #expect(swapped.errors.split(separator: "\n").count == 1 && swapped.output.isEmpty)
      let nowhere = try CLI.swiftlet([
        "compare", ResNet8.path, int8, "--data", data, "--html", "/no/such/folder/x.html",
      ])
      #expect(nowhere.status == 1 && nowhere.errors.contains("no folder"))
      #expect(try CLI.swiftlet(["compare", ResNet8.path, int8, "--data", data, "--sort", "size"]).status == 64)
      let help = try CLI.swiftlet(["compare", "--help"])
      #expect(help.output.contains("Example: swiftlet compare") && help.output.contains("--json"))
    }

    @Test func quantizeEqualizesCorrectsAndKeepsATarget() throws {
      let folder = try TemporaryFolder()
      let (data, int8) = (try CLI.noise(folder), folder.path("int8.pt2"))
      let arguments = ["quantize", ResNet8.path, "-o", int8, "--calibrate", data, "--threads", "1"]
      for method in BiasCorrection.allCases {
        let result = try CLI.swiftlet(
          arguments + ["--equalize", "--correct-bias", "--bias-correction", method.rawValue, "--headroom", "1.1"])
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("equalized 6 groups of layers"))
        #expect(result.output.contains("corrected the biases of 10 layers"))
        #expect(result.output.contains("not equalized: linear — 'linear' is a result of the model"))
        let compared = try Self.decode(
          ModelComparison.self,
          CLI.swiftlet(["compare", ResNet8.path, int8, "--data", data, "--limit", "4", "--json"]).output)
        // The comparison equalizes the float model alike: scaled channels would be far off otherwise.
        #expect(compared.layers.allSatisfy { $0.isolated.map { $0.sqnr > 15 } ?? false })
      }
      let target = try CLI.swiftlet(arguments + ["--target-drop", "100", "--eval", data])
      #expect(target.status == 0, "\(target.errors)")
      #expect(target.output.contains("layers in float") && target.output.contains("<- written"))
      #expect(target.output.contains("In float: no layer"))
      #expect(try CLI.swiftlet(arguments + ["--target-drop", "1"]).status == 64)
      #expect(try CLI.swiftlet(arguments + ["--headroom", "0.5"]).status == 64)
    }
  }

  /// The same on trained models and real samples.
  @Suite(.enabled(if: ZooModel.isAvailable, "needs the shared models"))
  struct AccuracyToolsZooTests {
    @Test(arguments: ["resnet8_cifar10", "resnet20_cifar10", "mobilenet_v1_vww", "ds_cnn_kws", "autoencoder_ad"])
    func filesThatPyTorchWroteAreMatchedWhole(_ name: String) throws {
      let model = ZooModel.named(name)
      let upstream = try PT2Archive.read(model.path("_int8_torchao.pt2"))
      let comparison = try compareLayers(
        float: model.program(), quantized: upstream, data: model.dataset(.calibration).limited(to: 2))
      #expect(comparison.unmatched.isEmpty)
      #expect(comparison.layers.count > 10)
      for layer in comparison.layers {
        #expect(layer.isQuantized && layer.cumulative.sqnr > 10 && layer.cumulative.sqnr < 70, "\(layer.name)")
        #expect(try #require(layer.isolated).sqnr > 20, "\(layer.name)")
      }
    }

    /// Equalization must not push weights below the smallest scale, nor clip what the float model does not.
    @Test(arguments: ["resnet8_cifar10", "mobilenet_v1_vww", "ds_cnn_kws", "squeezenet1_1_imagenet"])
    func equalizingNeverCostsADecibel(_ name: String) throws {
      let model = ZooModel.named(name)
      let (float, data) = (try model.program(), try model.dataset(.calibration).limited(to: 20))
      func sqnr(_ options: QuantizationOptions) throws -> Double {
        let int8 = try quantize(float, data, options: options).program
        return try #require(compareLayers(float: float, quantized: int8, data: data).layers.last).cumulative.sqnr
      }
      let (plain, equalized) = (try sqnr(.init()), try sqnr(.init(equalize: true)))
      print("\(name): SQNR of the result \(plain) dB, equalized \(equalized) dB")
      #expect(equalized > plain - 1)
    }

    @Test func mobileNetV2IsWithinHalfAPointWhenEqualized() throws {
      let model = ZooModel.named("mobilenet_v2_imagenet")
      let int8 = try quantize(
        model.program(), model.dataset(.calibration), recipe: model.preprocess(), options: .init(equalize: true)
      )
      let result = try evaluate(load(int8.program), on: model.dataset(.evaluation))
      print("mobilenet_v2_imagenet, equalized: top-1 \(result.top1 ?? .nan)")
      // Float: 81.33.
      #expect(try #require(result.top1) >= 80.83)
    }

    /// The first 100 windows do not show what the model meets: five normal recordings do.
    @Test func autoencoderIsWithinAHundredthWithFiveRecordings() throws {
      let model = ZooModel.named("autoencoder_ad")
      func auc(_ limit: Int, _ options: QuantizationOptions = .init()) throws -> Double {
        let int8 = try quantize(model.program(), model.dataset(.calibration).limited(to: limit), options: options)
        return try #require(evaluate(load(int8.program), on: model.dataset(.evaluation)).auc)
      }
      // Float: 0.8825.
      #expect(try auc(100) < 0.80)
      #expect(try auc(980) >= 0.8725)
      #expect(try auc(100, .init(headroom: 1.5)) >= 0.8725)
    }
  }
}
