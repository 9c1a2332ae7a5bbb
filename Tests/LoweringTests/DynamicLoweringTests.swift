import NN
import Swiftlet
import TestSupport
import Testing

/// Attention over a sequence with a class token: products of activations, an expanded constant, a concatenation.
private final class Attention: Module {
  let (query, key, value) = (Linear(8, 8), Linear(8, 8), Linear(8, 8))
  let norm = LayerNorm([8])
  let head = Linear(8, 3)
  let token = Parameter([1, 1, 8], .uniform(bound: 1))

  override func forward(_ x: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let tokens = try x.parameter(token).expand([x.size(0), 1, 8])
    let y = try cat([tokens, norm(x)], dim: 1)
    let scores = try query(y).matmul(key(y).transpose(1, 2)).softmax(dim: -1)
    return try head((y + scores.matmul(value(y))).select(dim: 1, 0))
  }
}

/// Images through upsampling, padding, pooling, a strided slice, and a flattening of all but the channels.
private final class Images: Module {
  let (first, second) = (Conv2d(2, 6, kernelSize: 3, padding: 1), Conv2d(6, 6, kernelSize: 3, stride: 2, padding: 1))
  let pool = MaxPool2d(kernelSize: 3, stride: 2, padding: 1)
  let bias = Parameter([6, 1, 1], .uniform(bound: 1))

  override func forward(_ x: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    let y = try first(x).relu() + x.parameter(bias)
    let z = try pool(second(y.upsampleNearest2d(scaleFactors: [2, 2])).sigmoid())
    return try cat([z, z.pad([1, 0, 0, 1]).slice(dim: 2, start: 1).slice(dim: 3, start: 1)], dim: 0).permute([
      0, 2, 3, 1,
    ])
    .reshape([-1, 6])
  }
}

private final class Pooled: Module {
  override func forward(_ x: SymbolicTensor) throws(ExportError) -> SymbolicTensor {
    try x.adaptiveAvgPool2d([4, 4])
  }
}

@Suite struct DynamicLoweringTests {
  private static let (batch, length) = (Dim("batch", min: 1, max: 9), Dim("length", min: 1, max: 33))
  private static let side = Dim("side", min: 4, max: 40)

  private func attention(_ count: Int) throws -> ExportedProgram {
    try export(
      Attention(), [TensorSpec(.float32, [count, 5, 8])],
      dynamicShapes: [[0: DynamicLoweringTests.batch, 1: DynamicLoweringTests.length]])
  }

  private func images() throws -> ExportedProgram {
    try export(
      Images(), [TensorSpec(.float32, [2, 2, 6, 8])],
      dynamicShapes: [[0: DynamicLoweringTests.batch, 2: DynamicLoweringTests.side, 3: Dim("width", min: 4, max: 40)]])
  }

  private func noise(_ shape: Shape) -> Tensor {
    var generator = SeededGenerator(seed: UInt64(shape.elementCount))
    return Tensor((0..<shape.elementCount).map { _ in Float.random(in: -2...2, using: &generator) }, shape: shape)
  }

  private func expectAsInterpreted(_ program: ExportedProgram, _ shapes: [Shape]) throws {
    for partitioner in [XNNPACKPartitioner(), nil] as [XNNPACKPartitioner?] {
      let method = try Method(lower(program, partitioner: partitioner), threads: ThreadPool(threadCount: 1))
      for shape in shapes {
        let input = noise(shape)
        let expected = try Interpreter(program.resized(inputShapes: [shape])).run([input])[0]
        let output = try method.run([input])[0]
        #expect(output.shape == expected.shape)
        for (a, b) in zip(output.elements(as: Float.self), expected.elements(as: Float.self)) {
          #expect(abs(a - b) <= 1e-5, "\(shape)")
        }
      }
    }
  }

  /// Also exported with a batch of 1, where the token needs no expanding.
  @Test(arguments: [1, 3]) func attentionRunsAtEverySize(_ example: Int) throws {
    try expectAsInterpreted(attention(example), [[1, 1, 8], [9, 33, 8], [2, 5, 8], [1, 7, 8], [4, 1, 8]])
  }

  @Test func imagesRunAtEverySize() throws {
    try expectAsInterpreted(images(), [[1, 2, 4, 4], [9, 2, 40, 39], [2, 2, 6, 8], [1, 2, 7, 5], [3, 2, 5, 40]])
  }

  @Test func differentLoweringsAreRefused() throws {
    let program = try export(
      Pooled(), [TensorSpec(.float32, [1, 2, 8, 8])], dynamicShapes: [[2: DynamicLoweringTests.side]])
    let error = #expect(throws: GraphError.self) { try lower(program, partitioner: XNNPACKPartitioner()) }
    let text = error?.description ?? ""
    #expect(text.contains("adaptive_avg_pool2d") && text.contains("s0 = ") && text.contains("in different ways"))
    // At the example's size alone it can be.
    var fixed = program
    fixed.dynamicShapes = nil
    #expect(try lower(fixed, partitioner: XNNPACKPartitioner()).dynamicSizes == nil)
  }

  /// The sizes of one golden input are twice those of the other.
  @Test(arguments: ["dynamic_batch", "dynamic_derived"]) func goldenProgramsRunAtEverySize(_ name: String) throws {
    let archive = try NumPyArchive(path: goldenPath("formats", "dynamic_shapes.npz"))
    let method = try Method(
      lower(PT2Archive.read(goldenPath("formats", "\(name).pt2")), partitioner: XNNPACKPartitioner()),
      threads: ThreadPool(threadCount: 1))
    for size in [7, 1, 3, 2] {
      func arrays(_ kind: String) throws -> [Tensor] {
        try archive.names.filter { $0.hasPrefix("\(name)_\(size)_\(kind)") }.sorted().map {
          try archive.tensor($0).aligned()
        }
      }
      for (output, expected) in zip(try method.run(arrays("in")), try arrays("out")) {
        #expect(output.shape == expected.shape)
        for (a, b) in zip(output.elements(as: Float.self), expected.elements(as: Float.self)) {
          #expect(abs(a - b) <= 1e-5)
        }
      }
    }
    if name == "dynamic_derived" {
      var shapes = method.program.inputs.map { method.program.values[$0].spec.shape.dimensions }
      shapes[1][0] += 1
      #expect { try method.resize(inputShapes: shapes.map { Shape($0) }) } throws: { "\($0)".contains("2*") }
    }
  }
}
