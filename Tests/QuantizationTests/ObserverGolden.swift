import Foundation
import PipelineTesting
import TensorCore
import Testing

@testable import Quantization

/// Tests/Golden/observers/observers.json: value streams and what torchao's observers make of them.
struct ObserverGolden: Decodable {
  let cases: [ObserverCase]

  static let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Golden/observers/observers.json")

  static func load(_ url: URL = url) throws -> [ObserverCase] {
    try JSONDecoder().decode(ObserverGolden.self, from: Data(contentsOf: url)).cases
  }
}

struct ObserverCase: Decodable, Sendable, CustomTestStringConvertible {
  /// A short stream as float32 bit patterns, or the recipe of a long one.
  struct Batch: Decodable, Sendable {
    var bits: [UInt32]?
    var shape: [Int]?
    var seed: UInt64?
    var count: Int?
    var kind: String?
    var scale: Float?
    var offset: Float?
  }

  /// Float values as bit patterns.
  struct Expected: Decodable, Sendable {
    var min: [UInt32]
    var max: [UInt32]
    var scales: [UInt32]
    var zeroPoints: [Int32]
    /// Of a histogram: Σ counts[i] · (7919 i mod 101 + 1), in order.
    var checksum: Double?
  }

  var name: String
  var observer: String
  var scheme: QuantizationScheme
  var quantMin: Int
  var quantMax: Int
  var eps: Float
  var axis: Int?
  var batches: [Batch]
  var expected: Expected

  var testDescription: String { name }

  func target() throws -> QuantizationTarget {
    try QuantizationTarget(scheme: scheme, quantMin: quantMin, quantMax: quantMax, eps: eps)
  }
}

extension ObserverCase.Batch {
  /// The values; `generated` in generate.py is the other half of this contract.
  func values() -> [Float] {
    if let bits { return bits.map(Float.init(bitPattern:)) }
    guard var state = seed, let count, let kind, let scale, let offset else { return [] }
    func uniform() -> Float {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(state >> 40) * 0x1p-24
    }
    return (0..<count).map { _ in
      let (u0, u1, u2, u3) = (uniform(), uniform(), uniform(), uniform())
      let bell = u0 + u1 + u2 + u3 - 2
      let value: Float =
        switch kind {
        case "uniform": u0
        case "bell": bell
        case "relu": max(bell, 0)
        case "relu6": min(max(bell * 8, 0), 6)
        case "cubed": bell * bell * bell
        case "steps": (u0 * 8).rounded(.down)
        default: u1 < 0.01 ? u0 : 0
        }
      return value * scale + offset
    }
  }

  func tensor() -> Tensor {
    let values = values()
    return Tensor(values, shape: Shape(shape ?? [values.count]))
  }
}
