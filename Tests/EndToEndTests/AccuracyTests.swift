import Foundation
import PipelineTesting
import Swiftlet
import TestSupport
import Testing

extension EndToEnd {
  /// Accuracy of our int8 models against `reference.json`.
  @Suite(.enabled(if: ZooModel.isAvailable, "needs the shared models"))
  struct AccuracyTests {
    struct Score: Decodable {
      var top1: Double?
      var auc: Double?
      var n: Int?
    }

    private static func reference(_ model: ZooModel, _ key: String) throws -> Score {
      struct Entry: Decodable {
        let scores: [String: Score]
        init(from decoder: any Decoder) throws {
          let container = try decoder.container(keyedBy: Key.self)
          var scores: [String: Score] = [:]
          for key in container.allKeys where key.stringValue.contains("PyTorch") {
            scores[key.stringValue] = try container.decode(Score.self, forKey: key)
          }
          self.scores = scores
        }
      }
      guard let path = sharedData("reference.json") else { throw UsageError("no reference.json") }
      let all = try JSONDecoder().decode([String: Entry].self, from: Data(contentsOf: URL(fileURLWithPath: path)))
      guard let score = all[model.name]?.scores[key] else { throw UsageError("no \(key) of \(model.name)") }
      return score
    }

    struct Key: CodingKey {
      let stringValue: String
      var intValue: Int? { nil }
      init?(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }

    @Test(arguments: ZooModel.all)
    func int8IsNoWorseThanPT2E(_ model: ZooModel) async throws {
      let method = try load(await QuantizedZoo.shared.program(model))
      let result = try evaluate(method, on: model.dataset(.evaluation))
      let upstream = try Self.reference(model, "PT2E int8, Q/DQ in PyTorch")
      if let auc = upstream.auc {
        print("\(model.name): AUC \(result.auc ?? .nan), PT2E \(auc)")
        // One of the recordings may move past one of another class.
        #expect(try #require(result.auc) >= auc - 1.0 / Double(result.images))
      } else {
        print("\(model.name): top-1 \(result.top1 ?? .nan), PT2E \(upstream.top1 ?? .nan)")
        let slack = 100 / Double(result.images) + 0.01
        #expect(try #require(result.top1) >= #require(upstream.top1) - slack)
      }
    }

    @Test func efficientNetLite0IsWithinOnePointOfFloat() async throws {
      let model = ZooModel.named("efficientnet_lite0_imagenet")
      let method = try load(await QuantizedZoo.shared.program(model))
      let result = try evaluate(method, on: model.dataset(.evaluation))
      let float = try Self.reference(model, "float (PyTorch)")
      #expect(try #require(result.top1) >= #require(float.top1) - 1)
    }
  }
}
