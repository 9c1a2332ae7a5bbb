import Foundation
import NN
import Swiftlet
import TestSupport
import Testing

/// Every layer against what PyTorch exports and computes: `Tests/Golden/layers/generate.py`.
struct LayerTests {
  /// Calls attention as a part of a model: with the inputs at these positions.
  private final class Attention: Module {
    let attention: MultiheadAttention
    private let inputs: [Int]
    private let needWeights: Bool

    init(_ inputs: [Int], batchFirst: Bool, needWeights: Bool, bias: Bool = true) {
      attention = MultiheadAttention(12, 3, bias: bias, batchFirst: batchFirst)
      self.inputs = inputs
      self.needWeights = needWeights
    }

    override func forward(_ inputs: [SymbolicTensor]) throws(ExportError) -> [SymbolicTensor] {
      let x = self.inputs.map { inputs[$0] }
      let (output, weights) = try attention(x[0], x[1], x[2], needWeights: needWeights)
      return [output] + (weights.map { [$0] } ?? [])
    }
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let shapes: [Shape]
    let make: @Sendable () -> Module

    init(_ name: String, _ shapes: [Shape], _ make: @escaping @Sendable () -> Module) {
      self.name = name
      self.shapes = shapes
      self.make = make
    }

    var testDescription: String { name }
  }

  static let cases: [Case] = [
    Case("linear", [[2, 3, 6]]) { Linear(6, 4) },
    Case("linear_no_bias", [[2, 6]]) { Linear(6, 4, bias: false) },
    Case("conv1d", [[2, 4, 9]]) { Conv1d(4, 6, kernelSize: 3, stride: 2, padding: 1, groups: 2) },
    Case("conv2d", [[2, 4, 9, 8]]) {
      Conv2d(4, 6, kernelSize: Pair(3, 5), stride: Pair(2, 1), padding: Pair(1, 2))
    },
    Case("conv2d_dilated", [[1, 4, 9, 8]]) {
      Conv2d(4, 4, kernelSize: 3, padding: 2, dilation: 2, groups: 4, bias: false)
    },
    Case("conv_transpose2d", [[2, 4, 5, 4]]) {
      ConvTranspose2d(4, 6, kernelSize: 3, stride: 2, padding: 1, outputPadding: 1, groups: 2)
    },
    Case("batch_norm1d", [[3, 4]]) { BatchNorm1d(4) },
    Case("batch_norm1d_length", [[3, 4, 5]]) { BatchNorm1d(4, eps: 1e-3) },
    Case("batch_norm2d", [[2, 4, 3, 3]]) { BatchNorm2d(4, affine: false) },
    Case("layer_norm", [[2, 3, 4]]) { LayerNorm([3, 4]) },
    Case("layer_norm_plain", [[2, 3, 4]]) { LayerNorm([4], eps: 1e-6, elementwiseAffine: false) },
    Case("group_norm", [[2, 4, 3, 3]]) { GroupNorm(2, 4) },
    Case("embedding", [[2, 3]]) { Embedding(10, 4) },
    Case("relu", [[2, 5]]) { ReLU() },
    Case("relu6", [[2, 5]]) { ReLU6(inplace: true) },
    Case("hardswish", [[2, 5]]) { Hardswish(inplace: true) },
    Case("hardsigmoid", [[2, 5]]) { Hardsigmoid() },
    Case("silu", [[2, 5]]) { SiLU(inplace: true) },
    Case("gelu", [[2, 5]]) { GELU() },
    Case("gelu_tanh", [[2, 5]]) { GELU(approximate: "tanh") },
    Case("sigmoid", [[2, 5]]) { Sigmoid() },
    Case("tanh", [[2, 5]]) { Tanh() },
    Case("softmax", [[2, 5, 3]]) { Softmax(dim: 1) },
    Case("max_pool2d", [[1, 2, 9, 8]]) { MaxPool2d(kernelSize: 3, stride: 2, padding: 1, ceilMode: true) },
    Case("avg_pool2d", [[1, 2, 9, 8]]) {
      AvgPool2d(kernelSize: Pair(3, 2), padding: Pair(1, 0), countIncludePad: false)
    },
    Case("adaptive_avg_pool2d", [[1, 2, 9, 8]]) { AdaptiveAvgPool2d(Pair(3, 2)) },
    Case("dropout", [[2, 5]]) { Dropout(0.2) },
    Case("flatten", [[2, 3, 4]]) { Flatten() },
    Case("sequential", [[2, 5]]) { Sequential([Linear(5, 4), ReLU(), Linear(4, 3)]) },
    Case("attention_self", [[2, 5, 12]]) { Attention([0, 0, 0], batchFirst: true, needWeights: true) },
    Case("attention_fast", [[2, 5, 12]]) { Attention([0, 0, 0], batchFirst: true, needWeights: false) },
    Case("attention_memory", [[5, 2, 12], [7, 2, 12]]) {
      Attention([0, 1, 1], batchFirst: false, needWeights: true)
    },
    Case("attention_three", [[2, 5, 12], [2, 7, 12], [2, 7, 12]]) {
      Attention([0, 1, 2], batchFirst: true, needWeights: true, bias: false)
    },
    Case("lstm", [[5, 2, 4]]) { LSTM(4, 6, numLayers: 2) },
    Case("lstm_bidirectional", [[2, 5, 4]]) { LSTM(4, 6, batchFirst: true, bidirectional: true) },
    Case("gru", [[5, 2, 4]]) { GRU(4, 6, bias: false) },
    Case("gru_bidirectional", [[5, 2, 4]]) { GRU(4, 6, numLayers: 2, bidirectional: true) },
  ]

  /// The golden graphs by name.
  static let golden: [String: [String]] = {
    let text = (try? String(contentsOfFile: goldenPath("layers", "layers.txt"), encoding: .utf8)) ?? ""
    var result: [String: [String]] = [:]
    var name = ""
    for line in text.split(separator: "\n").map(String.init) {
      if line.hasPrefix("== ") { name = String(line.dropFirst(3)) } else { result[name, default: []].append(line) }
    }
    return result
  }()

  @Test func everyGoldenGraphHasItsCase() { #expect(Set(Self.golden.keys) == Set(Self.cases.map(\.name))) }

  @Test(arguments: cases)
  func layerEqualsPyTorchs(_ layer: Case) throws {
    let golden = try #require(Self.golden[layer.name])
    let module = layer.make()
    try module.loadStateDict(drawnStateDict(of: module, seed: 1, gain: 1))
    var generator = MersenneTwister(seed: 2)
    let inputs = layer.shapes.map { shape in
      layer.name == "embedding"
        ? Tensor((0..<shape.elementCount).map { Int64($0) }, shape: shape)
        : Tensor(generator.uniform(shape.elementCount).map { ($0 - 0.5) * 4 }, shape: shape)
    }
    let program = try export(module, inputs)
    let difference = firstDifference(GraphText(program).lines, golden)
    #expect(difference == nil, "\(difference ?? "")")

    let expected = try NumPyArchive(path: goldenPath("layers", "layers.npz")).tensor(layer.name)
      .elements(as: Float.self)
    let output = try Interpreter(program).run(inputs).flatMap { $0.elements(as: Float.self) }
    #expect(output.count == expected.count)
    let range = max(1, expected.max()! - expected.min()!)
    let error = zip(output, expected).map { abs($0 - $1) }.max() ?? .infinity
    #expect(error <= 1e-5 * range, "largest difference \(error)")
  }
}
