import Foundation
import TensorCore
import Testing

@testable import Vision

@Suite struct PreprocessTests {
  @Test func tensorsAreThoseOfPyTorch() throws {
    let cases = try VisionGolden.load().preprocess
    #expect(cases.count == 10)
    for golden in cases {
      let tensor = try Preprocess(json: Data(golden.recipe.utf8)).tensor(from: golden.source.image)
      #expect(tensor.spec == TensorSpec(.float32, Shape(golden.shape)), "\(golden.recipe)")
      #expect(tensor.withUnsafeBytes { Data($0) } == golden.result, "\(golden.recipe)")
    }
  }

  @Test func readsAFileAndIgnoresOtherKeys() throws {
    let text = """
      {"resize": 256, "crop": 224, "interpolation": "bicubic", "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3],
       "channels": "bgr", "scale": 0.5, "npz": "a.npz", "note": "ignored"}
      """
    let expected = try Preprocess(
      resize: 256, crop: 224, interpolation: .bicubic, mean: [0.1, 0.2, 0.3], std: [1, 2, 3], channels: .bgr, scale: 0.5
    )
    try withTemporaryFolder { folder in
      let path = folder.appendingPathComponent("a.preprocess.json").path
      try Data(text.utf8).write(to: URL(fileURLWithPath: path))
      #expect(try Preprocess(jsonPath: path) == expected)
    }
    #expect(try Preprocess(json: Data("{}".utf8)) == Preprocess())
  }

  @Test func jsonRoundTripIsDeterministic() throws {
    let recipe = try Preprocess(resize: 256, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], scale: 1 / 255)
    #expect(try Preprocess(json: recipe.jsonData) == recipe)
    #expect(recipe.jsonData == recipe.jsonData)
    let keys = ["mean", "resize", "scale", "std"]
    let text = String(decoding: recipe.jsonData, as: UTF8.self)
    let places = keys.compactMap { text.range(of: "\"\($0)\"")?.lowerBound }
    #expect(places.count == keys.count && places == places.sorted())
  }

  @Test(arguments: [
    (#"{"resize": 0}"#, "resize"), (#"{"crop": 100000}"#, "crop"), (#"{"crop": -3}"#, "crop"),
    (#"{"mean": [1, 2]}"#, "mean"), (#"{"std": [1, 0, 1]}"#, "std"), (#"{"std": [1, 1e-60, 1]}"#, "std"),
    (#"{"scale": 1e300}"#, "scale"), (#"{"interpolation": "lanczos"}"#, "interpolation"),
    (#"{"channels": "rbg"}"#, "channels"),
  ])
  func refusedValuesNameTheKey(text: String, key: String) {
    #expect {
      try Preprocess(json: Data(text.utf8))
    } throws: { error in
      guard case .invalid(key, _)? = error as? PreprocessError else { return false }
      return true
    }
  }

  @Test(arguments: ["", "[]", "{", #"{"crop": "7"}"#, #"{"mean": 3}"#, #"{"crop": 7.5}"#])
  func malformedFilesNameTheFile(text: String) {
    #expect {
      try Preprocess(json: Data(text.utf8), name: "here")
    } throws: { error in
      "\(error)".hasPrefix("here: invalid preprocessing: ")
    }
  }

  @Test func arraysAreScaledInFloat() throws {
    let recipe = try Preprocess(scale: 1 / 255)
    let factor = Float(1.0 / 255)
    let bytes = try recipe.tensor(fromArray: Tensor([0, 1, 128, 255] as [UInt8], shape: [1, 2, 2]))
    #expect(bytes.spec == TensorSpec(.float32, [1, 2, 2]))
    #expect(bytes.elements(as: Float.self) == [0, factor, 128 * factor, 255 * factor])
    let floats: [Float] = [-1, 0.1, 3e38]
    let array = Tensor(floats, shape: [3])
    #expect(try recipe.tensor(fromArray: array).elements() == floats.map { $0 * factor })
    #expect(try Preprocess().tensor(fromArray: array).elements() == floats)
    #expect(throws: PreprocessError.unsupportedArray(.int64)) {
      try recipe.tensor(fromArray: Tensor([1] as [Int64], shape: [1]))
    }
  }

  @Test func unalignedArraysAreRead() throws {
    let floats: [Float] = [1.5, -2.25]
    let bytes = [0] + floats.withUnsafeBytes { Array($0) }
    let whole = Tensor(bytes, shape: [9])
    let array = Tensor(TensorSpec(.float32, [2]), storage: whole.storage, byteOffset: 1)
    #expect(try Preprocess().tensor(fromArray: array).elements() == floats)
  }
}
